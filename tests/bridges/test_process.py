"""`dashfleet homeassistant` as a process, between a broker of DashFleet and Home Assistant's Mosquitto."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest
from bridged import METRICS
from brokers import KINDS, PASSWORD, broker_of_kind
from clocks import Clock
from home_assistant import FakeHomeAssistant
from ingestion import Speaker
from servers import mosquitto, require_program
from waiting import wait_until

from bridges.homeassistant.run import bridge_principal
from broker.access.policy import Principal, Role
from broker.access.principals import MemoryDirectory
from broker.client.mqtt import Mqtt
from broker.client.transport import Message
from runtime.settings.address import ServerAddress
from schemas.contract import topics
from schemas.contract.org_config import OrgConfig
from schemas.contract.presence import PresenceMessage

ATTIC = "dashfleet_home_attic"
INGESTOR = Principal(Role.INGESTOR, "", "ingestor")
MACHINE = Principal(Role.MACHINE, "home", "attic")
READER = bridge_principal("home", buttons=False)
TO_PASSWORD = "of Home Assistant"


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """Home Assistant's broker, which asks for a password."""
    place = tmp_path_factory.mktemp("target")
    passwords = place / "passwords"
    for name in ("dashfleet", "homeassistant"):
        argv = [require_program("mosquitto_passwd", "mosquitto"), "-b", str(passwords), name, TO_PASSWORD]
        passwords.touch(mode=0o600)
        subprocess.run(argv, check=True, capture_output=True)
    with mosquitto(place, lines=f"allow_anonymous false\npassword_file {passwords}") as port:
        yield port


@contextmanager
def client(port: int, username: str, password: str, subscriptions: tuple[tuple[str, int], ...] = ()) -> Iterator[Mqtt]:
    address = ServerAddress(host="127.0.0.1", port=port, tls=False)
    transport = Mqtt(address, username=username, password=password, subscriptions=subscriptions)
    try:
        wait_until(lambda: transport.receive(1, 0.1) and transport.connected, seconds=30, what=f"{username} connected")
        yield transport
    finally:
        transport.close()


@contextmanager
def home_assistant(port: int) -> Iterator[FakeHomeAssistant]:
    with client(port, "homeassistant", TO_PASSWORD, FakeHomeAssistant.FOLLOWS) as transport:
        yield FakeHomeAssistant(transport)


@contextmanager
def bridge(source: int, target: int, data: Path, **environment: str) -> Iterator[subprocess.Popen[str]]:
    argv = [sys.executable, "-P", "-m", "dashfleet", "homeassistant", "--data", str(data)]
    argv += ["--server", f"mqtt://127.0.0.1:{source}", "--to", f"mqtt://127.0.0.1:{target}"]
    secrets = {
        "DASHFLEET_HOMEASSISTANT_PASSWORD": PASSWORD,
        "DASHFLEET_HOMEASSISTANT_TO_PASSWORD": TO_PASSWORD,
        "PYTHONPATH": str(Path(__file__).parents[2]),
    }
    known: Mapping[str, str] = {**os.environ, **secrets, **environment}
    process = subprocess.Popen(argv, env=known, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def shows(home: FakeHomeAssistant, key: str, state: str) -> None:
    """Wait until an entity has this state."""

    def current() -> bool:
        home.read(0.1)
        return ATTIC in home.devices and home.state(ATTIC, key) == state

    wait_until(current, seconds=60, what=f"{key} is {state}")


@pytest.mark.parametrize("kind", KINDS)
def test_a_machine_appears_and_is_unavailable_once_the_bridge_has_ended(
    kind: str, target: int, tmp_path: Path, clock: Clock
) -> None:
    directory = MemoryDirectory({INGESTOR: PASSWORD, MACHINE: PASSWORD, READER: PASSWORD})
    with (
        broker_of_kind(kind, directory, tmp_path) as source,
        client(source.port, INGESTOR.username, PASSWORD) as ingestor,
        client(source.port, MACHINE.username, PASSWORD) as attic,
        home_assistant(target) as home,
    ):
        speaker = Speaker(clock)
        presence = PresenceMessage(presence="online", since=1, display_name="attic.example")
        topic = topics.PRESENCE.at(org="home", machine="attic")
        ingestor.publish(Message(topics.ORG_CONFIG.at(org="home"), OrgConfig().encode(), 1, retain=True))
        ingestor.publish(Message(topic, presence.encode(), 1, retain=True))
        attic.publish(speaker.info(metrics=METRICS))
        assert ingestor.flush(30)
        assert attic.flush(30)
        with bridge(source.port, target, tmp_path) as process:
            shows(home, "connectivity", "ON")
            attic.publish(speaker.telemetry(1))
            shows(home, "vitals_cpu_percent", "unknown")
            assert attic.flush(30)
            ingestor.publish(Message(topic, b"", 1, retain=True))
            assert ingestor.flush(30)

            def is_gone() -> bool:
                home.read(0.1)
                return not home.devices

            wait_until(is_gone, seconds=30, what="the device is removed")
            ingestor.publish(Message(topic, presence.encode(), 1, retain=True))
            attic.publish(speaker.info(metrics=METRICS))
            assert ingestor.flush(30)
            assert attic.flush(30)
            shows(home, "connectivity", "ON")
            process.send_signal(signal.SIGTERM)
            assert process.wait(30) == 0
        shows(home, "connectivity", "unavailable")


def test_a_wrong_password_at_home_assistants_broker_ends_the_bridge_with_a_sentence(
    target: int, tmp_path: Path
) -> None:
    directory = MemoryDirectory({READER: PASSWORD})
    with (
        broker_of_kind("embedded", directory, tmp_path) as source,
        bridge(source.port, target, tmp_path, DASHFLEET_HOMEASSISTANT_TO_PASSWORD="wrong") as process,
    ):
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 2
    assert errors.splitlines()[-1].startswith("dashfleet: Home Assistant's broker rejected the user name or the pass")
