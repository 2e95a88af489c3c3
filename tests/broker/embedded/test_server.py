"""The embedded broker's life: where it listens, how it starts and stops, how a revoked client leaves."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import tomllib
from importlib.metadata import version
from pathlib import Path

import pytest
from brokers import PASSWORD, RawClient, connect_packet, embedded_broker
from servers import free_port, listens
from waiting import wait_until

from broker.access.policy import Principal, Role
from broker.access.principals import MemoryDirectory
from broker.embedded.server import BrokerError, EmbeddedBroker
from runtime.settings.broker import BrokerSettings
from schemas.contract import topics

ATTIC = Principal(Role.MACHINE, "home", "attic")
INGESTOR = Principal(Role.INGESTOR, "", "ingestor")
SECRETS = {ATTIC: PASSWORD, INGESTOR: PASSWORD}
STATUS = topics.STATUS.at(org="home", machine="attic")
ROOT = Path(__file__).parents[3]

CHILD = """
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from broker.embedded.server import BrokerError, run
from broker.access.principals import MemoryDirectory
from runtime.settings.broker import BrokerSettings

directory = TemporaryDirectory()
settings = BrokerSettings(data=Path(directory.name), database="sqlite://", port=int(sys.argv[1]))
try:
    run(settings, MemoryDirectory(), lambda: print("ready", flush=True))
except BrokerError as error:
    sys.exit(str(error))
print("stopped", flush=True)
"""


def settings(**fields: object) -> BrokerSettings:
    return BrokerSettings.model_validate({"data": Path(), "database": "sqlite://", "port": free_port(), **fields})


def start_error(wrong: BrokerSettings) -> str:
    with pytest.raises(BrokerError) as caught:
        asyncio.run(EmbeddedBroker(wrong, MemoryDirectory()).start())
    return str(caught.value)


def test_the_installed_amqtt_is_the_pinned_one_as_private_parts_of_it_are_overridden() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert f"amqtt=={version('amqtt')}" in project["optional-dependencies"]["server"]
    assert version("amqtt") == "0.12.1", "read broker/embedded/broker.py against the new version before moving the pin"


def test_a_taken_port_is_a_sentence_that_says_what_to_do() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        assert start_error(settings(port=port)) == (
            f"port {port} on 127.0.0.1 is taken: stop what listens there, or choose another with --port"
        )


def test_a_start_that_failed_leaves_nothing_listening() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        start_error(settings(port=port))
    assert not listens(port)


@pytest.mark.parametrize("bind", ["0.0.0.0", "::", "192.0.2.1"])  # noqa: S104 - refused
def test_it_does_not_listen_beyond_loopback_without_tls(bind: str) -> None:
    wrong = settings(bind=bind)
    assert f"does not listen on {bind} without TLS" in start_error(wrong)
    assert not listens(wrong.port)


def test_it_does_so_when_told_that_it_may() -> None:
    assert "cannot listen on port" in start_error(settings(bind="192.0.2.1", insecure=True)), "not an address of ours"


def test_it_listens_on_an_address_not_on_a_name_that_may_mean_another_tomorrow() -> None:
    assert start_error(settings(bind="localhost")) == ("bind must be an IP address such as 127.0.0.1, not 'localhost'")


def test_it_listens_on_ipv6_loopback_too() -> None:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("this machine has no IPv6")
    with embedded_broker(SECRETS, bind="::1") as broker, socket.create_connection(("::1", broker.port), 10) as client:
        client.sendall(connect_packet("home.attic"))
        assert client.recv(4) == b"\x20\x02\x00\x00"


def test_after_a_stop_the_port_is_free_and_it_starts_again_empty() -> None:
    with embedded_broker(SECRETS) as broker:
        with RawClient(broker.port) as attic:
            attic.connect("home.attic")
            attic.publish(STATUS, b"online", retain=True)
        broker.stop()
        assert not listens(broker.port)
        broker.start()
        with RawClient(broker.port) as ingestor:
            ingestor.connect("_ingestor")
            assert ingestor.subscribe(STATUS) == [1]
            ingestor.ping()
            assert ingestor.nothing_waits()


def test_a_stop_ends_every_connection_at_once_whatever_state_it_is_in() -> None:
    with embedded_broker(SECRETS) as broker:
        silent, half, connected = (RawClient(broker.port) for _ in range(3))
        half.send(connect_packet("home.attic")[:10])
        connected.connect("home.attic")
        started = time.monotonic()
        broker.stop()
        assert time.monotonic() - started < 3
        for client in (silent, half, connected):
            with client:
                assert client.is_gone()


def test_a_stop_sends_no_wills_as_the_clients_are_well() -> None:
    with embedded_broker(SECRETS) as broker, RawClient(broker.port) as ingestor, RawClient(broker.port) as attic:
        ingestor.connect("_ingestor")
        ingestor.subscribe(STATUS)
        attic.connect("home.attic", will=(STATUS, b"lost", 1, True))
        broker.stop()
        assert ingestor.is_gone()
        assert ingestor.nothing_waits()


def test_stopping_twice_is_stopping_once() -> None:
    async def scenario() -> None:
        broker = EmbeddedBroker(settings(), MemoryDirectory())
        await broker.stop()
        await broker.start()
        await broker.stop()
        await broker.stop()

    asyncio.run(scenario())


@pytest.mark.skipif(os.name != "posix", reason="signals")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_run_tells_when_it_listens_and_returns_on_a_signal(number: signal.Signals) -> None:
    port = free_port()
    child = subprocess.Popen([sys.executable, "-c", CHILD, str(port)], cwd=ROOT, stdout=subprocess.PIPE)
    try:
        assert child.stdout is not None
        assert child.stdout.readline() == b"ready\n"
        with RawClient(port) as half_open:
            child.send_signal(number)
            assert half_open.is_gone()
        assert child.stdout.read() == b"stopped\n"
        assert child.wait(10) == 0
    finally:
        child.kill()
        child.communicate()


def test_run_says_why_it_cannot_start_and_nothing_else() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        done = subprocess.run(
            [sys.executable, "-c", CHILD, str(port)], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
        )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"port {port} on 127.0.0.1 is taken: stop what listens there, or choose another with --port\n"


def test_who_is_revoked_leaves_within_seconds_and_does_not_come_back() -> None:
    directory = MemoryDirectory(SECRETS)
    with embedded_broker({}, directory=directory, refresh_seconds=1.0) as broker, RawClient(broker.port) as attic:
        assert attic.connect("home.attic") == 0
        started = time.monotonic()
        directory.revoke("home.attic")
        assert attic.is_gone()
        assert time.monotonic() - started < 5
        with RawClient(broker.port) as again:
            assert again.connect("home.attic") == 5


def test_who_gets_another_secret_leaves_and_comes_back_with_it() -> None:
    directory = MemoryDirectory(SECRETS)
    with embedded_broker({}, directory=directory) as broker, RawClient(broker.port) as attic:
        attic.connect("home.attic")
        directory.add(ATTIC, "another")
        assert attic.is_gone()
        with RawClient(broker.port) as again:
            assert again.connect("home.attic", PASSWORD) == 5
        with RawClient(broker.port) as again:
            assert again.connect("home.attic", "another") == 0


def test_the_others_stay_when_somebody_is_revoked() -> None:
    directory = MemoryDirectory(SECRETS)
    with (
        embedded_broker({}, directory=directory) as broker,
        RawClient(broker.port) as attic,
        RawClient(broker.port) as ingestor,
    ):
        attic.connect("home.attic")
        ingestor.connect("_ingestor")
        directory.revoke("home.attic")
        assert attic.is_gone()
        ingestor.ping()
        assert broker.clients == {"_ingestor"}


def test_a_directory_that_fails_once_is_asked_again() -> None:
    class Fragile(MemoryDirectory):
        failures = 0

        def refresh(self) -> frozenset[str]:
            if self.failures:
                self.failures -= 1
                raise RuntimeError("made up")
            return super().refresh()

    directory = Fragile(SECRETS)
    with embedded_broker({}, directory=directory) as broker, RawClient(broker.port) as attic:
        attic.connect("home.attic")
        directory.failures = 2
        wait_until(lambda: not directory.failures, what="both failures")
        directory.revoke("home.attic")
        assert attic.is_gone()


def test_a_slow_directory_does_not_hold_up_the_clients() -> None:
    asked, answer = threading.Event(), threading.Event()

    class Slow(MemoryDirectory):
        def refresh(self) -> frozenset[str]:
            if self._seen:
                asked.set()
                answer.wait(30)
            return super().refresh()

    with embedded_broker({}, directory=Slow(SECRETS), refresh_seconds=0.01) as broker, RawClient(broker.port) as attic:
        asked.wait(30)
        assert attic.connect("home.attic") == 0
        attic.ping()
        answer.set()


def test_a_small_packet_never_waits_for_the_acknowledgement_of_the_one_before() -> None:
    with embedded_broker(SECRETS) as broker, RawClient(broker.port) as client:
        client.connect(ATTIC.username)
        guard = broker.broker._core
        assert guard is not None
        sockets = [
            connection._writer.transport.get_extra_info("socket")
            for connection in broker.call(lambda: list(guard._tasks))
        ]
        assert [found.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) for found in sockets] == [1]
