"""The line about the broker's certificate beside the alerts."""

import datetime
from pathlib import Path

import pytest
from certificates import certificates

from broker.tls.certificates import SERVER_DAYS
from cli.certificate import note_certificates

NOW = datetime.datetime.now(datetime.UTC)


@pytest.mark.parametrize(("days", "words"), [(29, "expires on"), (-1, "expired on"), (31, ""), (None, "")], ids=str)
def test_a_certificate_is_named_from_30_days_before_its_end(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], days: int | None, words: str
) -> None:
    if days is not None:
        certificates(tmp_path / "tls", now=NOW - datetime.timedelta(days=SERVER_DAYS - days, seconds=-60))
    note_certificates(tmp_path, NOW)
    said = capsys.readouterr().err
    assert words in said
    assert bool(said) is bool(words)
    assert not said or (said.startswith("system: ") and str(tmp_path / "tls" / "server.pem") in said)


def test_a_certificate_that_is_configured_is_found(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    made = certificates(tmp_path / "elsewhere", now=NOW - datetime.timedelta(days=SERVER_DAYS))
    monkeypatch.setenv("DASHFLEET_MOSQUITTO_CERTIFICATE", str(made.certificate))
    note_certificates(tmp_path, NOW)
    assert str(made.certificate) in capsys.readouterr().err
