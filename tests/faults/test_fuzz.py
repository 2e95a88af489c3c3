"""Anything may arrive on any topic: nobody crashes, nobody grows, and what is good still passes."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from faults.fleet import Fleet, running_fleet
from faults.fuzz import messages
from faults.oracle import assert_clean, say
from faults.processes import Process
from faults.scale import SCALE
from sqlalchemy import func, select
from waiting import wait_until

from broker.client.mqtt import Mqtt
from runtime.settings.address import ServerAddress
from schemas.database import tables

SEED = 20_240_101
GROWTH_MEBIBYTES = 50
AT_ONCE = 500


@pytest.mark.timeout(3600)
def test_whatever_arrives_crashes_nobody_and_what_is_good_still_passes(tmp_path: Path) -> None:
    with running_fleet(tmp_path, broker="mosquitto") as fleet:
        living = fleet.add_machine("living", interval_seconds=0.2)
        fleet.start()
        fleet.add_machine("reporting")
        del fleet.machines["reporting"]  # it has a place in the fleet, and nothing but what is made up comes from it
        fleet.flows(more=5)
        parts = (fleet.ingestor, living.process)
        pids = [part.pid for part in parts]
        with publisher(fleet) as client:
            publish(fleet, client, seed=SEED, count=2000)  # until the caches are warm
            before = [memory(part) for part in parts]
            publish(fleet, client, seed=SEED + 1, count=SCALE.fuzzed)
            grown = [memory(part) - start for part, start in zip(parts, before, strict=True)]
        rejected, received = dead_letters(fleet), wait_for_count(fleet)
        say(
            f"{SCALE.fuzzed} payloads from seed {SEED}: 0 crashes; the ingestor took {received} messages "
            f"and grew by {grown[0]:.1f} MiB, the agent by {grown[1]:.1f} MiB; {rejected} dead letters are kept"
        )
        assert [part.pid for part in parts if part.running] == pids
        assert max(grown) < GROWTH_MEBIBYTES
        assert received >= SCALE.fuzzed / 4  # the other topics are the agent's, or nobody's
        assert 0 < rejected <= 10_000 + AT_ONCE
        assert b"Traceback" not in fleet.ingestor.output
        assert b"Traceback" not in living.process.output
        fleet.settle()
        assert_clean(fleet, what="fuzz")


@contextmanager
def publisher(fleet: Fleet) -> Iterator[Mqtt]:
    client = Mqtt(ServerAddress(host="127.0.0.1", port=fleet.port, tls=False), username="fuzz", password="none")
    try:
        wait_until(lambda: client.receive(1, 0.1) and client.connected, what="the publisher connected")
        yield client
    finally:
        client.close()


def publish(fleet: Fleet, client: Mqtt, *, seed: int, count: int) -> None:
    """Publish so many, never far ahead of the ingestor, and wait until it has dealt with all that concerns it."""
    for number, message in enumerate(messages(seed, count, reporting="reporting", living="living")):
        assert client.publish(message)
        if number % AT_ONCE == 0:
            assert client.flush(30)
            client.receive(AT_ONCE, 0)
    assert client.flush(30)
    fleet.settle(seconds=600)  # samples behind all that: the queue to the ingestor is in order


def memory(part: Process) -> float:
    """The resident memory of a process, in MiB."""
    found = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{part.pid}/status").read_text())
    assert found is not None
    return int(found[1]) / 1024


def dead_letters(fleet: Fleet) -> int:
    with fleet.engine.connect() as connection:
        return int(connection.scalar(select(func.count()).select_from(tables.dead_letter)) or 0)


def wait_for_count(fleet: Fleet) -> int:
    """How many messages the ingestor has received, from the next heartbeat in its row."""
    beat = heartbeat(fleet)[0]
    return wait_until(lambda: heartbeat(fleet)[1] if heartbeat(fleet)[0] > beat else 0, seconds=60, what="a heartbeat")


def heartbeat(fleet: Fleet) -> tuple[int, int]:
    with fleet.engine.connect() as connection:
        row = connection.execute(select(tables.ingestor.c.beat_at, tables.ingestor.c.counters)).one()
    return int(row.beat_at), int(row.counters.get("received", 0))  # none in the first row
