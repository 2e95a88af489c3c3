"""A backup while everything publishes and stores as fast as it can: it is one moment of the fleet, and nobody waits."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from bench.year import Extent, generate
from faults.fleet import ORG, SECRET, Fleet, running_fleet
from faults.oracle import say
from faults.processes import Process
from faults.scale import SCALE
from sqlalchemy import Engine, select, text
from waiting import wait_until

from broker.access.policy import Principal, Role
from ingestor.admin.access import add_principal
from runtime.urls import sqlite_url
from schemas.database import tables
from schemas.database.engine import open_engine
from schemas.fleet.history import HOUR
from schemas.fleet.ranges import Ranges

PUBLISHERS = tuple(f"press-{number}" for number in range(8))
PROGRAM = Path(__file__).parent / "probe" / "publishers_process.py"
DASHFLEET = (sys.executable, "-m", "dashfleet")
STACKS = [("embedded", "sqlite"), ("mosquitto", "postgresql")]
UNLIMITED = {f"DASHFLEET_INGESTOR_{of}_MESSAGES_PER_MINUTE": "1000000" for of in ("MACHINE", "ORG")}


@dataclass(frozen=True, slots=True)
class Stored:
    """What a database has of one organisation: by machine and stream, the samples' columns by their number."""

    samples: dict[tuple[str, str], dict[int, tuple[Any, ...]]]
    ledgers: dict[tuple[str, str], str]


@pytest.mark.timeout(3600)
@pytest.mark.parametrize(("broker", "database"), STACKS)
def test_a_backup_at_full_ingest_is_one_moment_of_the_fleet(tmp_path: Path, broker: str, database: str) -> None:
    with running_fleet(tmp_path, broker=broker, database=database) as fleet, elsewhere(fleet) as (url, restored):
        generate(
            fleet.engine, Extent(*SCALE.backed_up), directory=tmp_path, until=time.time_ns() // 10**6 // HOUR * HOUR
        )
        fleet.add_machine("alpha")
        for name in PUBLISHERS:  # before the start: a running broker looks once a second for who is new
            add_principal(fleet.engine, Principal(Role.MACHINE, ORG, name), SECRET, now=lambda: time.time_ns() // 10**6)
        fleet.ingestor.environment |= UNLIMITED
        fleet.start()
        with publishing(fleet):
            fleet.flows(more=2000)
            before, file = fleet.stored(), tmp_path / "fleet.backup"
            with subprocess.Popen([*DASHFLEET, "backup", str(file), "--database", fleet.url]) as backing_up:
                pace = watch(fleet, backing_up)
            fleet.flows(more=500)
        fleet.ingestor.stop()
        data = str(tmp_path / "restored")
        subprocess.run([*DASHFLEET, "restore", str(file), "--data", data, "--database", url], check=True)
        figures = compare(stored_in(fleet.engine), stored_in(restored), before)
        assert_the_ledger_says_so(restored, url)
        say(f"{broker} and {database}: backed up {file.stat().st_size >> 20} MiB; {pace}; {figures}")
        ingestor = fleet.ingestor_on(url)
        ingestor.start()
        try:
            heard = highest(restored, "alpha")
            wait_until(lambda: highest(restored, "alpha") > heard, what="the restored fleet going on")
        finally:
            ingestor.stop()


@contextmanager
def elsewhere(fleet: Fleet) -> Iterator[tuple[str, Engine]]:
    """The URL of a database of the same kind that is not there yet, or is empty, and an engine for it."""
    if fleet.database is None:
        directory = fleet.directory / "elsewhere"
        directory.mkdir()
        url = sqlite_url(directory / "fleet.db")
    else:
        with fleet.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(text("CREATE DATABASE elsewhere"))
        url = fleet.engine.url.set(database="elsewhere").render_as_string()
    engine = open_engine(url, read_only=True)
    try:
        yield url, engine
    finally:
        engine.dispose()


@contextmanager
def publishing(fleet: Fleet) -> Iterator[None]:
    """Meanwhile machines publish as fast as the broker takes it."""
    argv = [sys.executable, str(PROGRAM), str(fleet.port), *PUBLISHERS]
    process = Process("publishers", argv, ready="ready: ", log=fleet.directory / "publishers.log")
    process.start()
    try:
        yield
    finally:
        assert process.running, process.output
        process.kill()


def watch(fleet: Fleet, backing_up: subprocess.Popen[bytes]) -> str:
    """Until the backup is made, see that samples are stored on and on. Returns figures."""
    started = moved = time.monotonic()
    first = last = fleet.progress()
    longest = 0.0
    while backing_up.poll() is None:
        now, progress = time.monotonic(), fleet.progress()
        if progress > last:
            longest, moved, last = max(longest, now - moved), now, progress
        time.sleep(0.02)
    took = time.monotonic() - started
    assert backing_up.returncode == 0
    assert last > first
    return f"meanwhile, {took:.1f} s, {(last - first) / took:.0f} samples/s stored, nothing for {longest:.1f} s at most"


def stored_in(engine: Engine) -> Stored:
    """All that a database has of the organisation that publishes."""
    sample, stream, machine = tables.sample, tables.stream, tables.machine
    ours = machine.c.org_id.in_(select(tables.org.c.id).where(tables.org.c.name == ORG))
    samples: dict[tuple[str, str], dict[int, tuple[Any, ...]]] = {}
    ledgers: dict[tuple[str, str], str] = {}
    with engine.connect() as connection:
        streams = connection.execute(select(machine.c.name.label("machine"), stream).join(machine).where(ours)).all()
        for row in streams:
            of = (sample.c.machine_id == row.machine_id) & (sample.c.stream_number == row.number)
            key = (row.machine, row.name)
            ledgers[key] = row.stored
            samples[key] = {found.seq: tuple(found) for found in connection.execute(select(sample).where(of))}
    return Stored(samples, ledgers)


def compare(live: Stored, restored: Stored, before: dict[str, dict[str, Ranges]]) -> str:
    """What was restored must be all that was stored until one moment, and nothing else. Returns figures."""
    arrival = {column.name: index for index, column in enumerate(tables.sample.c)}

    def arrived(sample: tuple[Any, ...]) -> int:
        return int(sample[arrival["sampled_at"]] + sample[arrival["delay_milliseconds"]])

    moment = max(arrived(sample) for samples in restored.samples.values() for sample in samples.values())
    for key, samples in live.samples.items():
        found = restored.samples.get(key, {})
        assert found.items() <= samples.items(), f"{key}: something that was never stored"
        until_then = {seq for seq, sample in samples.items() if arrived(sample) < moment}
        assert until_then <= found.keys(), f"{key}: something from before the backup's moment is missing"
        ledger = Ranges((seq, seq) for seq in found)
        assert restored.ledgers.get(key, "") == str(ledger), f"{key}: its ledger says something else than its samples"
        for first, last in before.get(key[0], {}).get(key[1], Ranges()):
            assert ledger.within(first, last) == last - first + 1, f"{key}: what was there before is missing"
    counts = [sum(map(len, of.samples.values())) for of in (restored, live)]
    assert 0 < counts[0] < counts[1]
    return f"{counts[0]:,} of its {counts[1]:,} samples are in it, exactly those until one moment"


def assert_the_ledger_says_so(restored: Engine, url: str) -> None:
    """What `dashfleet ledger` prints of the restored fleet adds up to its rows."""
    argv = [*DASHFLEET, "ledger", "--json", "--database", url]
    told = json.loads(subprocess.run(argv, check=True, stdout=subprocess.PIPE).stdout)
    ledgers = {row["machine"]: row["ledger"] for row in told if row["org"] == ORG}
    for (machine, _), samples in stored_in(restored).samples.items():
        ledger = ledgers[machine]
        assert ledger["stored"] == len(samples)
        parts = (ledger["stored"], ledger["waiting"], ledger["dropped"], ledger["lost"])
        assert ledger["expected"] == sum(parts)


def highest(engine: Engine, name: str) -> int:
    """The highest number that was heard of from a machine."""
    query = select(tables.stream.c.highest_seq).join(tables.machine).where(tables.machine.c.name == name)
    with engine.connect() as connection:
        return max(connection.scalars(query), default=0)
