"""What the last `dashfleet up` recorded for later commands."""

from pathlib import Path

import pytest

from runtime.state_directory import StateDirectory


def test_a_broker_of_its_own_listens_where_up_had_it(tmp_path: Path) -> None:
    state = StateDirectory(tmp_path)
    assert state.listener == {}
    state.remember(server="mqtt://127.0.0.1:1999", machine="attic")
    assert state.listener == {"port": 1999}


def test_a_broker_of_its_own_has_the_address_and_the_certificate_that_up_had(tmp_path: Path) -> None:
    state = StateDirectory(tmp_path)
    state.remember(server="mqtts://[fd00::5]:8884", machine="attic")
    assert state.listener == {"port": 8884}
    certificate, key = state.tls / "server.pem", state.tls / "server.key"
    state.tls.mkdir()
    certificate.touch()
    assert state.listener == {"port": 8884, "bind": "fd00::5", "certificate": certificate, "private_key": key}


@pytest.mark.parametrize(
    "written", ["", "[]", '{"server": 7}', '{"server": "mqtt://h:none"}', '{"server": "mqtt://h"}']
)
def test_a_record_that_cannot_be_read_is_as_none(tmp_path: Path, written: str) -> None:
    (tmp_path / "up.json").write_text(written)
    assert StateDirectory(tmp_path).listener == {}
