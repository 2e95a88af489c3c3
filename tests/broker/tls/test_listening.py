"""TLS from both ends: what the embedded broker serves, and that no client ever does without."""

import asyncio
import datetime
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from brokers import PASSWORD, RawClient, RunningBroker, broker_of_kind, connect_packet, embedded_broker
from certificates import NOW, certificates
from servers import free_port
from waiting import wait_until

from broker.access.policy import Principal, Role
from broker.access.principals import MemoryDirectory
from broker.client.mqtt import Mqtt
from broker.client.transport import Backoff, Connected, Disconnected, Event
from broker.embedded.server import EmbeddedBroker
from broker.tls.certificate_watch import CertificateWatch
from broker.tls.certificates import SERVER_DAYS, CertificateFiles
from broker.tls.listening import listening_context, valid_until
from runtime.errors import UserError
from runtime.settings.address import ServerAddress
from runtime.settings.broker import BrokerSettings

ATTIC = Principal(Role.MACHINE, "home", "attic")
CELLAR = Principal(Role.MACHINE, "home", "cellar")
SECRETS = {ATTIC: PASSWORD, CELLAR: PASSWORD}


@pytest.fixture
def files(tmp_path: Path) -> CertificateFiles:
    return certificates(tmp_path / "tls")


@pytest.fixture
def broker(files: CertificateFiles) -> Iterator[RunningBroker]:
    with embedded_broker(
        SECRETS, certificate=files.certificate, private_key=files.key, connect_seconds=1.0, max_connections=10
    ) as running:
        yield running


def client(
    port: int, ca_file: Path | None, principal: Principal = ATTIC, *, host: str = "127.0.0.1", tls: bool = True
) -> Mqtt:
    """A client that trusts this authority, and does not try again for a minute."""
    return Mqtt(
        ServerAddress(host=host, port=port, tls=tls),
        username=principal.username,
        password=PASSWORD,
        ca_file=ca_file,
        backoff=Backoff(60, 60),
    )


def first_event(port: int, ca_file: Path | None, *, host: str = "127.0.0.1", tls: bool = True) -> Event:
    """What a client that trusts this authority first hears."""
    transport = client(port, ca_file, host=host, tls=tls)
    try:
        return wait_until(lambda: transport.receive(1, 0.05), what="an event")[0]
    finally:
        transport.close()


def refused_because(event: Event) -> str:
    assert isinstance(event, Disconnected)
    assert not event.refused, "the credentials have not been looked at"
    return event.reason


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_a_client_that_trusts_the_authority_connects_by_name_and_by_address(
    broker: RunningBroker, files: CertificateFiles, host: str
) -> None:
    assert first_event(broker.port, files.authority, host=host) == Connected()


def test_a_client_that_trusts_another_authority_does_not_connect(broker: RunningBroker, tmp_path: Path) -> None:
    other = certificates(tmp_path / "other")
    assert "certificate verify failed" in refused_because(first_event(broker.port, other.authority))
    assert broker.counters.get("connects", 0) == 0


def test_a_client_that_trusts_the_systems_authorities_does_not_connect(broker: RunningBroker) -> None:
    assert "certificate verify failed" in refused_because(first_event(broker.port, None))


def test_a_client_that_asked_for_another_name_does_not_connect(tmp_path: Path) -> None:
    files = certificates(tmp_path, "fleet.example.org", "192.0.2.7")
    with embedded_broker(SECRETS, certificate=files.certificate, private_key=files.key) as broker:
        for host in ("127.0.0.1", "localhost"):
            assert "certificate verify failed" in refused_because(first_event(broker.port, files.authority, host=host))


def test_a_client_does_not_connect_to_a_certificate_that_has_run_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = certificates(tmp_path, now=NOW - datetime.timedelta(days=398))
    monkeypatch.setattr("broker.tls.listening.valid_until", lambda _: NOW + datetime.timedelta(days=1))
    with embedded_broker(SECRETS, certificate=files.certificate, private_key=files.key) as broker:
        assert "certificate has expired" in refused_because(first_event(broker.port, files.authority))


def test_a_broker_does_not_start_with_a_certificate_that_has_run_out(tmp_path: Path) -> None:
    files = certificates(tmp_path, now=NOW - datetime.timedelta(days=398))
    with pytest.raises(UserError, match=r"expired on .* dashfleet tls --renew"):
        listening_context(BrokerSettings.model_validate(_served(files, tmp_path)))


def test_a_renewed_certificate_is_served_without_a_restart(
    files: CertificateFiles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("broker.embedded.server.CHECK_SECONDS", 0.05)
    other = certificates(tmp_path / "other")
    with embedded_broker(SECRETS, certificate=files.certificate, private_key=files.key) as broker:
        refused_because(first_event(broker.port, other.authority))
        files.key.write_bytes(other.key.read_bytes())  # half of a renewal: the old pair is served on
        time.sleep(0.3)
        assert first_event(broker.port, files.authority) == Connected()
        files.certificate.write_bytes(other.certificate.read_bytes())
        wait_until(lambda: first_event(broker.port, other.authority) == Connected(), what="the new certificate")


@pytest.mark.parametrize("kind", ["mosquitto", "nats"])
def test_other_brokers_serve_a_renewed_certificate_without_a_restart(
    files: CertificateFiles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.setattr(f"broker.external.{kind}_process.CHECK_SECONDS", 0.05)
    other = certificates(tmp_path / "other")
    directory = MemoryDirectory(SECRETS)
    served = {"certificate": files.certificate, "private_key": files.key}
    with (
        broker_of_kind(kind, directory, tmp_path, **served) as broker,
        closing(client(broker.port, files.authority, CELLAR)) as stays,
    ):
        assert wait_until(lambda: stays.receive(1, 0.05), what="an event")[0] == Connected()
        refused_because(first_event(broker.port, other.authority))
        (tmp_path / "first.pem").write_bytes(files.certificate.read_bytes())
        files.key.write_bytes(other.key.read_bytes())
        files.certificate.write_bytes(other.certificate.read_bytes())
        wait_until(lambda: first_event(broker.port, other.authority) == Connected(), what="the new certificate")
        assert stays.tls is not None
        assert stays.tls.certificate_end == int(valid_until(tmp_path / "first.pem").timestamp() * 1000)
        assert [event for event in stays.receive(10, 0.3) if isinstance(event, Disconnected)] == []


@pytest.mark.parametrize(("days", "words"), [(20, "expires in 19 days"), (-1, "has expired")])
def test_the_end_of_a_certificate_is_logged_once_a_day(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, days: int, words: str
) -> None:
    made = certificates(tmp_path, now=NOW - datetime.timedelta(days=SERVER_DAYS - days, seconds=60))
    watch = CertificateWatch(BrokerSettings.model_validate(_served(made, tmp_path)))
    for _ in range(3):
        watch.check(NOW)
    assert [words in message for message in caplog.messages] == [True]
    watch.check(NOW + datetime.timedelta(days=1))
    assert len(caplog.messages) == 2
    caplog.clear()
    fresh = CertificateWatch(BrokerSettings.model_validate(_served(certificates(tmp_path / "new"), tmp_path)))
    assert not fresh.check(NOW)
    assert caplog.messages == []


def _served(files: CertificateFiles, data: Path) -> dict[str, object]:
    pair = {"certificate": files.certificate, "private_key": files.key}
    return {"data": data, "database": "sqlite:///x", **pair}


def test_tls_to_a_port_without_it_and_the_reverse_name_the_cause(
    broker: RunningBroker, files: CertificateFiles
) -> None:
    assert "a port with TLS, for mqtts://?" in refused_because(first_event(broker.port, None, tls=False))
    with embedded_broker(SECRETS) as plain:
        reason = refused_because(first_event(plain.port, files.authority))
    assert "is it a port without TLS, for mqtt://?" in reason


def test_a_client_says_nothing_in_the_clear_to_a_server_without_tls(files: CertificateFiles) -> None:
    heard = b""
    with socket.create_server(("127.0.0.1", 0)) as plain:

        def listen() -> None:
            nonlocal heard
            taken, _ = plain.accept()
            with taken:
                heard = taken.recv(1 << 16)
                taken.sendall(b"\x20\x02\x00\x00")  # a broker's yes

        thread = threading.Thread(target=listen)
        thread.start()
        refused_because(first_event(plain.getsockname()[1], files.authority))
        thread.join()
    assert heard[0] == 0x16, "the start of a TLS handshake"
    assert PASSWORD.encode() not in heard
    assert ATTIC.username.encode() not in heard


def test_a_plain_client_gets_no_answer_from_a_broker_with_tls(broker: RunningBroker) -> None:
    with RawClient(broker.port) as plain:
        plain.send(connect_packet("home.attic"))
        assert plain.is_gone()
    assert broker.counters.get("connects", 0) == 0


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_tls_1_2_and_1_3_are_spoken(broker: RunningBroker, files: CertificateFiles, version: ssl.TLSVersion) -> None:
    context = ssl.create_default_context(cafile=files.authority)
    context.minimum_version = context.maximum_version = version
    with (
        socket.create_connection(("127.0.0.1", broker.port), 10) as raw,
        context.wrap_socket(raw, server_hostname="127.0.0.1") as client,
    ):
        client.sendall(connect_packet("home.attic"))
        assert client.recv(4) == b"\x20\x02\x00\x00"


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion")
def test_an_older_tls_is_not(broker: RunningBroker, files: CertificateFiles) -> None:
    context = ssl.create_default_context(cafile=files.authority)
    context.set_ciphers("DEFAULT:@SECLEVEL=0")
    context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
    with (
        socket.create_connection(("127.0.0.1", broker.port), 10) as raw,
        pytest.raises(ssl.SSLError),
        context.wrap_socket(raw, server_hostname="127.0.0.1"),
    ):
        pytest.fail("it was spoken")


def test_who_starts_no_handshake_is_cut_in_time(broker: RunningBroker) -> None:
    started = time.monotonic()
    with RawClient(broker.port) as silent:
        assert silent.is_gone()
    assert 0.8 < time.monotonic() - started < 5


def test_a_stop_does_not_wait_for_those_in_the_middle_of_a_handshake(files: CertificateFiles) -> None:
    with (
        embedded_broker(SECRETS, certificate=files.certificate, private_key=files.key, connect_seconds=60.0) as broker,
        RawClient(broker.port) as silent,
    ):
        assert first_event(broker.port, files.authority) == Connected()
        started = time.monotonic()
        broker.stop()
        assert time.monotonic() - started < 30, "before the handshake's own time is over"
        assert silent.is_gone()


def test_handshakes_count_as_connections(files: CertificateFiles) -> None:
    with (
        embedded_broker(SECRETS, certificate=files.certificate, private_key=files.key, max_connections=2) as broker,
        RawClient(broker.port),
        RawClient(broker.port),
        RawClient(broker.port) as third,
    ):
        assert third.is_gone()
        assert broker.counters["too_many_connections"] == 1


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"certificate": "server.pem"}, "belong together"),
        ({"private_key": "server.key"}, "belong together"),
        ({"certificate": "server.pem", "private_key": "ca.key"}, "does not belong to the certificate"),
        ({"certificate": "server.key", "private_key": "server.key"}, "are not a certificate and its key in PEM"),
        ({"certificate": "missing", "private_key": "server.key"}, "cannot read .*missing: No such file"),
        ({"certificate": "server.pem", "private_key": "missing"}, "cannot read .*missing: No such file"),
        ({"certificate": "server.pem", "private_key": "server.pem"}, "can be read by others"),
    ],
)
def test_files_that_cannot_serve_stop_the_start_with_a_sentence(
    files: CertificateFiles, fields: dict[str, str], sentence: str
) -> None:
    settings = BrokerSettings(
        data=Path(),
        database="sqlite://",
        port=free_port(),
        **{name: files.directory / value for name, value in fields.items()},
    )
    with pytest.raises(UserError, match=sentence):
        asyncio.run(EmbeddedBroker(settings, MemoryDirectory()).start())
