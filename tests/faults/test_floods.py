"""One machine floods the server: the samples of another stay new, memory comes back, and nobody else loses anything."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from faults.fleet import ORG, READER, SECRET, Fleet, running_fleet
from faults.oracle import assert_clean, say
from faults.processes import Process
from faults.scale import IS_WHOLE, SCALE
from faults.watch import AGE_SECONDS, GROWTH_MEBIBYTES, OTHER, Watch
from waiting import wait_until

from broker.access.policy import Principal, Role
from broker.client.mqtt import Mqtt
from broker.client.transport import Disconnected
from ingestor.admin.access import add_principal
from runtime.settings.address import ServerAddress
from schemas.contract import topics
from schemas.database.queries.dead_letters import list_dead_letters

RETURN_SECONDS = 60.0
FLOODING = "flooding"
SCRIPT = Path(__file__).parent / "probe" / "flood_process.py"

WHERE = [("embedded", "sqlite"), ("embedded", "postgresql"), ("guarded", "sqlite"), ("guarded", "postgresql")]
"""Broker and database; `guarded`: Mosquitto as `dashfleet mosquitto` runs it."""


@contextmanager
def flood(fleet: Fleet, kind: str) -> Iterator[None]:
    """Meanwhile one machine floods the broker."""
    argv = [sys.executable, str(SCRIPT), str(fleet.port), FLOODING, kind]
    process = Process(f"flood of {kind}", argv, ready="ready: ", log=fleet.directory / f"flood-{kind}.log")
    process.start()
    try:
        yield
        assert process.running, process.output[-2000:]
    finally:
        process.kill()


@contextmanager
def reader(fleet: Fleet) -> Iterator[Mqtt]:
    """A client that reads what all machines publish, at QoS 1: Mosquitto bounds the bytes that wait only for these."""
    client = Mqtt(
        ServerAddress(host="127.0.0.1", port=fleet.port, tls=False),
        username=READER.username,
        password=SECRET,
        subscriptions=[(topics.TELEMETRY.filter(org=ORG), 1), (topics.STATUS.filter(org=ORG), 1)],
    )
    try:
        wait_until(lambda: client.receive(1, 0.1) and client.connected, what="the reader connected")
        yield client
    finally:
        client.close()


def read_on(client: Mqtt) -> bool:
    """Read what waits for a client, which the broker keeps until then; return True."""
    client.receive(1000, 0.05)
    return True


@pytest.mark.timeout(1200)
@pytest.mark.parametrize(("broker", "database"), WHERE if IS_WHOLE else WHERE[:1])
def test_a_flood_delays_nobody_takes_no_memory_for_good_and_costs_nobody_else_anything(
    tmp_path: Path, broker: str, database: str
) -> None:
    with running_fleet(tmp_path, broker=broker, database=database) as fleet:
        add_principal(fleet.engine, Principal(Role.MACHINE, ORG, FLOODING), SECRET, now=lambda: 1)
        fleet.add_machine(OTHER, interval_seconds=0.5)
        fleet.start()
        fleet.flows(more=5)
        with reader(fleet) as client:
            watch, disconnections = Watch(fleet), 0
            for kind in ("backfills", "bytes"):
                with flood(fleet, kind):
                    until = time.monotonic() + SCALE.flood
                    while time.monotonic() < until:
                        events = client.receive(1000, 0.1)
                        disconnections += sum(isinstance(each, Disconnected) for each in events)
                        watch.look()
                during = watch.grown(watch.highest)
                say(
                    f"{SCALE.flood:.0f} s of {kind}, {broker}, {database}: newest sample of the other machine at most "
                    f"{watch.oldest_seconds:.1f} s old; memory grew by at most {during} MiB"
                )
                wait_until(
                    lambda: read_on(client) and max(watch.grown(watch.memory()).values()) < GROWTH_MEBIBYTES / 2,
                    seconds=RETURN_SECONDS,
                    what="memory returned",
                )
                say(f"afterwards it is {watch.grown(watch.memory())} MiB above its start")
                assert watch.oldest_seconds < AGE_SECONDS
                assert max(during.values()) < GROWTH_MEBIBYTES
                assert disconnections == 0
        fleet.settle()
        assert fleet.look()[FLOODING]["ledger"]["stored"] > 0, "the flood arrived"
        letters = list_dead_letters(fleet.engine, limit=10)
        assert {(each["machine"], each["reason"]) for each in letters} == {(FLOODING, "not-json")}
        ledger = fleet.look()[OTHER]["ledger"]
        assert ledger["dropped"] == ledger["lost"] == 0
        noisy = {incident["details"]["machine"] for incident in fleet.incidents() if incident["kind"] == "noisy"}
        assert noisy <= {FLOODING}
        assert_clean(fleet, what=f"floods on {broker}, {database}")
