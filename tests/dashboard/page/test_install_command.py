from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes

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
    assert "--server mqtts://SERVER" in found.install_command


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
        ({"server": "mqtts://broker.example:8883"}, "--server mqtts://broker.example:8883"),
        ({"machines_server": "mqtts://fleet.example"}, "--server mqtts://fleet.example"),
        ({"server": "mqtt://10.0.0.5:1883"}, "--server mqtt://10.0.0.5:1883"),
    ],
)
def test_the_line_says_where_the_broker_is_for_machines(given: dict[str, str], words: str) -> None:
    found = broker_address(**given)
    assert found.is_known
    assert found.install_command.endswith(words)
    assert found.windows_command.endswith(words)


def test_the_line_has_the_fingerprint_of_an_authority_of_our_own(tmp_path: Path) -> None:
    files = create(tmp_path / "tls", ["fleet.example"], now=datetime.now(UTC))
    read = x509.load_pem_x509_certificate(files.authority.read_bytes())
    pinned = f"--ca-sha256 {read.fingerprint(hashes.SHA256()).hex()}"
    assert pinned in BrokerAddress("mqtts://fleet.example", files.authority).install_command
    assert "--ca-" not in BrokerAddress("mqtt://10.0.0.5", files.authority).install_command
    assert "--ca-" not in BrokerAddress("mqtts://fleet.example").install_command
    (several := tmp_path / "several.pem").write_bytes(files.authority.read_bytes() * 2)
    assert "--ca-file ca.pem" in BrokerAddress("mqtts://fleet.example", several).install_command


def test_the_address_of_the_dashboard_is_configured_or_the_one_in_the_browser() -> None:
    seen = broker_address(base_path="/fleet").seen_at("https://dash.example.org:8443/fleet/machine?id=x")
    assert seen.install_command.startswith("curl -fsSL https://dash.example.org:8443/fleet/install.sh | sudo sh")
    assert seen.is_dashboard_reachable
    told = broker_address(url_for_machines="https://fleet.example.org").seen_at("http://127.0.0.1:8501/")
    assert told.install_command.startswith("curl -fsSL https://fleet.example.org/install.sh ")
    hosts = broker_address(hosts=["*.example.org", "dash.example.org"], base_path="/fleet")
    assert hosts.dashboard == "https://dash.example.org/fleet"
    assert not broker_address().seen_at("http://127.0.0.1:8501/").is_dashboard_reachable


@pytest.mark.parametrize(
    "url", ["", "https://$(reboot)/", "https://a b/", "https://a;b/", "javascript:x", "https://a'b"]
)
def test_an_address_that_is_more_than_one_word_for_a_shell_does_not_get_into_the_line(url: str) -> None:
    assert broker_address().seen_at(url).dashboard == "https://DASHBOARD"


@pytest.mark.parametrize("url", ["fleet.example.org", "https://", "https://a b", "https://a/$(reboot)", "mqtts://a"])
def test_a_url_for_machines_that_is_none_stops_the_start(url: str) -> None:
    with pytest.raises(SettingsError, match="url_for_machines"):
        load(DashboardSettings, Path(), {**URLS, "url_for_machines": url})


def test_an_address_for_machines_that_is_none_stops_the_start() -> None:
    with pytest.raises(SettingsError, match="machines_server"):
        load(DashboardSettings, Path(), {**URLS, "machines_server": "somewhere"})
