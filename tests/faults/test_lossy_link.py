"""A file of 20 MB on a link that loses every fifth packet and breaks five times: it arrives, beside live samples.

Whole with `make faults`; the short form is in tests/agent/actions/test_push_pull.py. Figures are printed, with `-s`.
"""

import ctypes
import hashlib
import os
import random
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from acting import Operator
from faults.fleet import ORG, SECRET, Fleet, Machine, running_fleet
from faults.network import Wire, wire
from sqlalchemy import func, select
from waiting import wait_until

from agent.orders.journal import create_before_keys
from agent.orders.trusted_keys import KEYS_FILE, write_keys
from broker.client.mqtt import Mqtt
from ingestor.admin.access import add_principal
from ingestor.admin.key_changes import add_key
from ingestor.files.server_files import FileLimits, ServerFiles
from runtime.clock import SystemClock
from runtime.settings.address import ServerAddress
from runtime.state_directory import StateDirectory
from schemas.contract.enrolment import EnrolledKey
from schemas.contract.messages import Signed
from schemas.contract.signing import public_key
from schemas.database import tables
from schemas.database.queries.commands import list_commands

WHOLE = os.environ.get("DASHFLEET_FAULTS") == "whole"
SIZE = 20 << 20
DISCONNECTS = 5
CURRENT_SECONDS = 5.0
"""Age that no newest sample exceeds while there is a connection."""

SECONDS = 3600.0
CLOCK = SystemClock()

pytestmark = [
    pytest.mark.timeout(7200),
    pytest.mark.skipif(not WHOLE, reason="the short form is in tests/agent/actions/test_push_pull.py"),
]


class Transfer:
    """A machine at the end of a bad link, the file that is pushed to it, and the operator who pushes it."""

    def __init__(self, directory: Path, fleet: Fleet, link: Wire) -> None:
        self.fleet, self.link = fleet, link
        self.operator = Operator(CLOCK, org=ORG)
        add_principal(fleet.engine, self.operator.principal, SECRET, now=CLOCK.now)
        add_key(fleet.engine, ORG, self.operator.seed, signer=None, name="first", expires_at=None, now=CLOCK.now)
        self.content = random.Random(4).randbytes(SIZE)  # noqa: S311 - made up
        (directory / "content").write_bytes(self.content)
        limits = FileLimits(64 << 20, 256 << 20, 2 << 30, days=7)
        files = ServerFiles(StateDirectory(fleet.directory).files, limits)
        self.sha256 = files.add(ORG, directory / "content")
        self.place = directory / "pushed"
        self.place.mkdir()
        self.machine = self._machine()

    def _machine(self) -> Machine:
        machine = self.fleet.add_machine(
            "attic",
            place=self.link.machine,
            interval_seconds=1.0,
            push_directories=[self.place],
            allowed_actions=["ping", "push"],
        )
        own = machine.data / "agent"
        create_before_keys(own, CLOCK)
        write_keys(own / KEYS_FILE, ORG, [EnrolledKey(public_key=public_key(self.operator.seed))])
        return machine

    def order(self) -> Signed:
        arguments = {"path": str(self.place / "file"), "sha256": self.sha256}
        return self.operator.order("push", "attic", arguments=arguments)

    def push(self) -> None:
        """Give the order, from the side of the server, where the broker listens."""
        message = self.operator.act(self.order())

        def publish() -> None:
            client = Mqtt(
                ServerAddress.parse(f"mqtt://127.0.0.1:{self.fleet.port}"),
                username=self.operator.principal.username,
                password=SECRET,
                subscriptions=[],
            )
            wait_until(lambda: client.receive(10, 0.1) is not None and client.connected, what="the connection")
            assert client.publish(message)
            assert client.flush(10)
            client.close()

        in_namespace(self.link.server.prefix[-1], publish)

    @property
    def fetched(self) -> int:
        """Bytes that have arrived."""
        parts = (self.machine.data / "agent" / "transfer").glob("*")
        return sum(part.stat().st_size for part in parts)

    @property
    def state(self) -> str:
        """State of the command; empty before the ingestor has the request."""
        return next((str(row["state"]) for row in list_commands(self.fleet.engine, limit=1)), "")

    def age(self) -> float:
        """Return the age of the newest stored sample, in seconds."""
        with self.fleet.engine.connect() as connection:
            return (CLOCK.now() - int(connection.scalar(select(func.max(tables.sample.c.sampled_at))) or 0)) / 1000


def in_namespace(name: str, work: Callable[[], None]) -> None:
    """Do something in a thread whose sockets are in a network namespace."""
    failed: list[BaseException] = []

    def run() -> None:
        try:
            descriptor = os.open(f"/run/netns/{name}", os.O_RDONLY)
            assert ctypes.CDLL(None, use_errno=True).setns(descriptor, 0) == 0
            os.close(descriptor)
            work()
        except BaseException as error:  # noqa: BLE001 - raised again by the caller
            failed.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    if failed:
        raise failed[0]


@pytest.fixture
def transfer(tmp_path: Path) -> Iterator[Transfer]:
    with wire() as link, running_fleet(tmp_path, broker="embedded", server=link.server) as fleet:
        made = Transfer(tmp_path, fleet, link)
        fleet.start()
        fleet.flows()
        yield made


def test_a_file_of_20_mb_arrives_intact_over_a_link_that_loses_packets_and_breaks_and_samples_stay_current(
    transfer: Transfer,
) -> None:
    link, ages, breaks = transfer.link, [], 0
    link.lose(20)
    transfer.push()
    began = time.monotonic()
    while transfer.state not in ("succeeded", "failed", "rejected"):
        assert time.monotonic() - began < SECONDS
        if breaks < DISCONNECTS and transfer.fetched > (breaks + 1) * SIZE / (DISCONNECTS + 1):
            session = transfer.fleet.session("attic")
            link.pull()
            time.sleep(2 * transfer.machine.settings.keep_alive_seconds)  # until both sides have noticed
            link.plug()
            transfer.fleet.wait_for_session("attic", above=session)
            wait_until(lambda: transfer.age() < CURRENT_SECONDS, what="a live sample")
            breaks += 1
        ages.append(transfer.age())
        time.sleep(0.1)
    took = time.monotonic() - began
    late, middle = sum(age > CURRENT_SECONDS for age in ages), sorted(ages)[len(ages) // 2]
    print(f"{SIZE >> 20} MiB in {took:.0f} s with {breaks} disconnects, {SIZE / took / 1024:.0f} KiB/s")
    print(f"newest sample: {middle:.1f} s old in the median, {max(ages):.1f} s at most, late in {late} of {len(ages)}")
    assert transfer.state == "succeeded"
    assert breaks == DISCONNECTS
    assert hashlib.sha256((transfer.place / "file").read_bytes()).hexdigest() == transfer.sha256
    assert max(ages) < CURRENT_SECONDS
