from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from broker.tls.certificates import create
from dashboard.page.install_command import BrokerAddress
from runtime.errors import SettingsError
from runtime.settings.dashboard import DashboardSettings
from runtime.settings.loading import load

URLS: dict[str, Any] = {"database": "sqlite://", "auth_database": "sqlite://"}


def broker_address(**given: Any) -> BrokerAddress:  # noqa: ANN401
    return BrokerAddress.of(DashboardSettings(data=Path(), **URLS, **given))


def test_loopback_is_no_address_for_a_machine() -> None:
    found = broker_address()
    assert not found.is_known
    assert "--server mqtts://SERVER --ca-file ca.pem" in found.install_command


def test_the_certificate_of_a_broker_that_listens_names_it_for_machines(tmp_path: Path) -> None:
    settings = DashboardSettings(data=tmp_path, **URLS, server="mqtts://127.0.0.1:8883")
    assert not BrokerAddress.of(settings).is_known
    create(tmp_path / "tls", ["fleet.example.org", "10.0.0.5"], now=datetime.now(UTC))
    assert BrokerAddress.of(settings).server == "mqtts://fleet.example.org:8883"
    plain = DashboardSettings(data=tmp_path, **URLS, server="mqtt://127.0.0.1:1883")
    assert not BrokerAddress.of(plain).is_known
    told = DashboardSettings(data=tmp_path, **URLS, server=settings.server, machines_server="mqtts://told.example")
    assert BrokerAddress.of(told).server == "mqtts://told.example"


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"server": "mqtts://broker.example:8883"}, "--server mqtts://broker.example:8883 && dashfleet agent"),
        ({"machines_server": "mqtts://fleet.example"}, "--server mqtts://fleet.example && dashfleet agent"),
        ({"server": "mqtt://10.0.0.5:1883"}, "--server mqtt://10.0.0.5:1883 && dashfleet agent"),
    ],
)
def test_the_line_says_where_the_broker_is_for_machines(given: dict[str, str], words: str) -> None:
    found = broker_address(**given)
    assert found.is_known
    assert words in found.install_command


def test_an_authority_of_our_own_is_to_be_trusted() -> None:
    assert "--ca-file ca.pem" in BrokerAddress("mqtts://fleet.example", Path("tls/ca.pem")).install_command
    assert "--ca-file" not in BrokerAddress("mqtt://10.0.0.5", Path("tls/ca.pem")).install_command


def test_an_address_for_machines_that_is_none_stops_the_start() -> None:
    with pytest.raises(SettingsError, match="machines_server"):
        load(DashboardSettings, Path(), {**URLS, "machines_server": "somewhere"})
