"""What the embedded broker retains, when the power of its disk is cut."""

import os
import signal
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from brokers import RawClient
from faults.disks import Image, image, mounted
from faults.fleet import ORG, READER, SECRET, Fleet, running_fleet
from faults.oracle import say
from faults.scale import SCALE
from waiting import wait_until

from broker.access.policy import Principal, Role
from broker.embedded.retained import RetainedFile
from ingestor.admin.access import add_principal
from schemas.contract import topics

MACHINES = 5
AT_RISK_SECONDS = 2.0
"""Four times `WRITE_SECONDS`, for a busy machine."""

PLACE = Path("broker") / "retained.db"


class Statuses:
    """Machines that publish their retained status all the time, and what the broker has acknowledged."""

    def __init__(self, port: int) -> None:
        self.acknowledged: list[tuple[float, str, int]] = []
        """Time, topic and number."""
        self._port = port
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._publish, daemon=True)

    @contextmanager
    def publishing(self) -> Iterator[None]:
        self._thread.start()
        try:
            yield
        finally:
            self._stopping.set()
            self._thread.join(20)

    def at_least(self, at: float) -> dict[str, int]:
        """The number that each topic has retained if only the last AT_RISK_SECONDS before `at` were lost."""
        return {topic: number for when, topic, number in self.acknowledged if when < at - AT_RISK_SECONDS}

    def _publish(self) -> None:
        with ExitStack() as stack:
            clients = [stack.enter_context(RawClient(self._port)) for _ in range(MACHINES)]
            for number, client in enumerate(clients):
                assert client.connect(f"{ORG}.m{number}", SECRET) == 0
            count = 0
            while not self._stopping.wait(0.02):
                count += 1
                for number, client in enumerate(clients):
                    topic = topics.STATUS.at(org=ORG, machine=f"m{number}")
                    client.publish(topic, str(count).encode(), retain=True)
                    self.acknowledged.append((time.monotonic(), topic, count))


def cut(broker_pid: int, disk: Image, copy: Path) -> float:
    """Copy what a power cut now would leave; return the time."""
    os.kill(broker_pid, signal.SIGSTOP)
    try:
        at = time.monotonic()
        disk.cut_power(copy)
    finally:
        os.kill(broker_pid, signal.SIGCONT)
    return at


def retained(port: int) -> dict[str, int]:
    """What a new reader receives."""
    with RawClient(port) as client:
        assert client.connect(READER.username, SECRET) == 0
        assert client.subscribe(topics.STATUS.filter(org=ORG)) == [1]
        messages = [client.message() for _ in range(MACHINES)]
    return {message.topic: int(message.payload) for message in messages}


def add_machines(fleet: Fleet) -> None:
    for number in range(MACHINES):
        add_principal(fleet.engine, Principal(Role.MACHINE, ORG, f"m{number}"), SECRET, now=lambda: 1)


def test_a_power_cut_loses_at_most_the_last_moment_of_what_is_retained_and_the_broker_starts_with_the_rest(
    tmp_path: Path,
) -> None:
    lags = []
    with image(tmp_path) as disk, running_fleet(tmp_path) as fleet:
        add_machines(fleet)
        data = fleet.broker.argv.index("--data") + 1
        fleet.broker.argv[data] = str(disk.mount)
        fleet.broker.start()
        statuses = Statuses(fleet.port)
        with statuses.publishing():
            for number in range(SCALE.power_cuts):
                begun = time.monotonic()
                wait_until(lambda: statuses.at_least(time.monotonic()) and time.monotonic() > begun + 3, what="3 s")  # noqa: B023
                at = cut(fleet.broker.pid, disk, tmp_path / "after.img")
                with mounted(tmp_path / "after.img", tmp_path / "after") as after:
                    found = {topic: int(payload) for topic, payload, _, _ in RetainedFile(after / PLACE).read()}
                    assert not (after / PLACE).with_suffix(".damaged").exists()
                for topic, least in statuses.at_least(at).items():
                    assert found[topic] >= least, f"cut {number}: {topic}"
                newest = {topic: count for when, topic, count in statuses.acknowledged if when < at}
                lags.append(max(newest[topic] - found[topic] for topic in newest))
        fleet.broker.kill()
        with mounted(tmp_path / "after.img", tmp_path / "after") as after:
            fleet.broker.argv[data] = str(after)
            fleet.broker.start()
            assert retained(fleet.port) == found
            fleet.broker.stop()
        say(f"{SCALE.power_cuts} power cuts: at most {max(lags)} of about 50 statuses a second of a machine lost")
        fleet.broker.argv[data] = str(tmp_path)


def test_a_file_that_a_power_cut_damaged_is_moved_aside_and_the_broker_starts_without_it(tmp_path: Path) -> None:
    with running_fleet(tmp_path) as fleet:
        add_machines(fleet)
        file = tmp_path / PLACE
        file.parent.mkdir()
        RetainedFile(file).write([(topics.STATUS.at(org=ORG, machine="m0"), b"1", 1, f"{ORG}.m0")])
        with sqlite3.connect(file) as connection:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        file.write_bytes(file.read_bytes()[:100] + os.urandom(2000))
        file.chmod(0o600)
        fleet.broker.start()
        assert file.with_suffix(".damaged").exists()
        statuses = Statuses(fleet.port)
        with statuses.publishing():
            wait_until(lambda: len(statuses.acknowledged) >= MACHINES, what="statuses")
        assert set(retained(fleet.port)) == {topics.STATUS.at(org=ORG, machine=f"m{n}") for n in range(MACHINES)}
