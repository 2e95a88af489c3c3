"""Roll-ups and pruning, broken off anywhere: the history is what summing up from scratch gives."""

import os
import random
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from faults.disks import Image, copy_database, image, mounted
from faults.fleet import ORG, SECRET, Fleet, running_fleet
from faults.oracle import assert_clean, outbox_of, say
from faults.scale import IS_WHOLE, SCALE
from rollups import Keeper, arrived
from sqlalchemy import ColumnElement, Engine, Table, func, select, update
from waiting import wait_until

from broker.access.policy import Principal, Role
from ingestor.admin.access import add_principal
from ingestor.domain.batch import Arrived
from ingestor.domain.machine import Machine, Stream
from runtime.urls import sqlite_url
from schemas.contract.messages import VITALS, Sample, Vitals
from schemas.database import tables
from schemas.database.engine import open_engine
from schemas.fleet.history import HOUR, MINUTE, Retention
from schemas.fleet.ranges import Ranges

AWAY = ("barn", "cellar", "mill")
"""Machines of which only history is there."""

KEPT_HOURS = 2
MINUTES_KEPT_HOURS = 30
"""Longer than the samples, also where those go by the day (`ingestor.history.partitions`)."""

PRUNED_HOURS = 24 * SCALE.history_breaks // 2
WINDOW_HOURS = PRUNED_HOURS + KEPT_HOURS + MINUTES_KEPT_HOURS
"""So old is the oldest sample."""

SAMPLES_EACH = 1000
STACKS = [("embedded", "sqlite")] * IS_WHOLE + [("mosquitto", "postgresql")]
STAGES = ("rolling up minutes", "rolling up hours", "pruning samples", "pruning minutes")


class History:
    """History of days ago, in the store of a fleet with live machines; its ingestor rolls it up and prunes it."""

    def __init__(self, fleet: Fleet) -> None:
        self.now = time.time_ns() // 1_000_000
        self.fleet = fleet
        self.chance = random.Random(7)  # noqa: S311 - a repeatable one
        self.kept = float(KEPT_HOURS + PRUNED_HOURS)
        for name in AWAY:
            add_principal(fleet.engine, Principal(Role.MACHINE, ORG, name), SECRET, now=lambda: self.now)
        self._keep()
        self.keys = keys_of(fleet.engine, AWAY)
        self.keeper = Keeper(fleet.engine, now=self.now)

    def prepare(self, stage: str) -> Callable[[], int]:
        """Make work of this kind, while no ingestor runs. Returns what counts how much of it is left."""
        if stage.startswith("rolling up"):
            self._write_more()
            hurry(self.fleet.engine)
            length = MINUTE if stage.endswith("minutes") else HOUR
            due = (tables.dirty.c.length == length) & (tables.dirty.c.due_at <= self.now)
            return lambda: self._count(tables.dirty, due)
        self.keeper.finish()
        self._shorten()
        if stage == "pruning samples":
            at = tables.sample.c.sampled_at + tables.sample.c.clock_offset_milliseconds
            return lambda: self._count(tables.sample, at < self.now - self.kept * HOUR)
        return lambda: self._count(
            tables.minute, tables.minute.c.at < self.now - (self.kept + MINUTES_KEPT_HOURS) * HOUR
        )

    def _write_more(self) -> None:
        self.keeper.restart()  # the ingestor has rolled up since what this one had marked
        seq = len(self.keeper.everything)
        for some in range(seq, seq + SAMPLES_EACH, 200):
            self.keeper.write(
                *(
                    arrived(
                        self.chance.choice(self.keys),
                        self.now - self.chance.randrange(2 * MINUTE, WINDOW_HOURS * HOUR),
                        number,
                        offset=self.chance.choice((0, 0, 7 * MINUTE)),
                        cpu=self.chance.randrange(10_000) / 100,
                        extra=self.chance.choice((None, self.chance.uniform(0, 3000))),
                    )
                    for number in range(some + 1, some + 201)
                )
            )

    def _shorten(self) -> None:
        self.kept -= PRUNED_HOURS / (SCALE.history_breaks / 2)
        self._keep()

    def _keep(self) -> None:
        samples, minutes = (int(hours * 3600) for hours in (self.kept, self.kept + MINUTES_KEPT_HOURS))
        retention = Retention(samples_seconds=samples, minutes_seconds=minutes).model_dump()
        with self.fleet.engine.begin() as connection:
            connection.execute(update(tables.org).values(retention=retention))

    def _count(self, table: Table, condition: ColumnElement[bool]) -> int:
        query = select(func.count()).select_from(table).where(table.c.machine_id.in_(self.keys), condition)
        with self.fleet.engine.connect() as connection:
            return connection.scalar(query) or 0

    def check(self, engine: Engine) -> str:
        """Finish what is begun in this store; then it must be what all that was ever stored gives. Returns figures."""
        judged = Keeper(engine, now=self.now, everything=[*self.keeper.everything, *live_samples(engine, self.keys)])
        judged.finish()
        while judged.pruning.step(self.now):
            pass
        pruned_before = minutes_pruned_before(engine)
        minutes = judged.stored("minute")
        assert not [key for key, at in minutes if at < pruned_before.get(key, 0)]
        judged.check("minute", MINUTE, since=max(pruned_before.values(), default=0))
        judged.check("hour", HOUR)
        hours = judged.stored("hour")
        return f"{len(hours)} hours and {len(minutes)} minutes are those of {len(judged.everything)} samples"


def keys_of(engine: Engine, names: tuple[str, ...]) -> list[int]:
    query = select(tables.machine.c.id).where(tables.machine.c.name.in_(names))
    with engine.connect() as connection:
        return list(connection.scalars(query))


def hurry(engine: Engine) -> None:
    """Do not wait until an hour's roll-up is due."""
    with engine.begin() as connection:
        connection.execute(update(tables.dirty).where(tables.dirty.c.length == HOUR).values(due_at=0))


def minutes_pruned_before(engine: Engine) -> dict[int, int]:
    with engine.connect() as connection:
        rows = connection.execute(select(tables.pruned.c.machine_id, tables.pruned.c.minutes_before))
        return {row.machine_id: row.minutes_before for row in rows}


def live_samples(engine: Engine, away: list[int]) -> list[Arrived]:
    """What the store has from the machines that run. It is young, so nothing of it was pruned."""
    table = tables.sample
    with engine.connect() as connection:
        rows = connection.execute(select(table).where(table.c.machine_id.not_in(away))).all()
    found = []
    for row in rows:
        vitals = Vitals(**{name: getattr(row, name) for name in VITALS})
        sample = Sample(seq=row.seq, sampled_at=row.sampled_at, vitals=vitals)
        machine, stream = Machine(row.machine_id, ORG, ""), Stream("", row.stream_number, created_at=0)
        found.append(
            Arrived(machine, stream, sample, row.sampled_at + row.delay_milliseconds, row.clock_offset_milliseconds)
        )
    return found


def break_off(history: History, stage: str, how: Callable[[], None]) -> bool:
    """Let the ingestor do some work of a kind, and break it off. Returns whether some was left."""
    left = history.prepare(stage)
    before = left()
    assert before, f"nothing is left for {stage}"
    history.fleet.ingestor.start()
    wait_until(lambda: left() < before, seconds=30, what=stage)
    time.sleep(history.chance.uniform(0, 0.05))  # any moment of its work
    amidst = left() > 0
    how()
    return amidst


@pytest.mark.timeout(3600)
@pytest.mark.parametrize(("broker", "database"), STACKS)
def test_kills_in_rolling_up_and_pruning_cost_nothing(tmp_path: Path, broker: str, database: str) -> None:
    with running_fleet(tmp_path, broker=broker, database=database) as fleet:
        history = History(fleet)
        fleet.add_machine("alpha")
        fleet.start()
        fleet.flows()
        fleet.ingestor.kill()
        amidst = [break_off(history, STAGES[i % len(STAGES)], fleet.ingestor.kill) for i in range(SCALE.history_breaks)]
        fleet.ingestor.start()
        fleet.settle()
        assert_clean(fleet, what=f"kills in rolling up and pruning, {broker} and {database}")
        fleet.ingestor.stop()
        say(f"{len(amidst)} kills, {sum(amidst)} with work left: {history.check(fleet.engine)}")


@pytest.mark.timeout(3600)
def test_power_cuts_in_rolling_up_and_pruning_leave_a_store_that_opens_and_goes_on(tmp_path: Path) -> None:
    with image(tmp_path, megabytes=96) as disk, running_fleet(disk.mount) as fleet:
        history = History(fleet)
        fleet.add_machine("alpha", data=tmp_path / "alpha")
        fleet.start()
        fleet.flows()
        fleet.ingestor.kill()
        for i in range(SCALE.history_breaks):
            figures = ""

            def cut() -> None:
                nonlocal figures
                figures = look_after_a_cut(history, disk, tmp_path)

            stage = STAGES[i % len(STAGES)]
            amidst = break_off(history, stage, cut)
            fleet.ingestor.kill()
            say(f"power cut in {stage}{'' if amidst else ', as it was done'}: {figures}")
        fleet.ingestor.start()
        fleet.settle()
        assert_clean(fleet, what="power cuts of the server")
        fleet.ingestor.kill()
        history.check(fleet.engine)


def look_after_a_cut(history: History, disk: Image, directory: Path) -> str:
    """Cut the power, and go on from what is on the disk. What an agent no longer holds must be there."""
    machine = history.fleet.machines["alpha"]
    stopped = (history.fleet.ingestor.pid, machine.process.pid)
    for pid in stopped:
        os.kill(pid, signal.SIGSTOP)
    kept_in = tempfile.mkdtemp(dir=directory)
    try:
        disk.cut_power(directory / "after.img")
        kept = [copy_database(path, Path(kept_in, path.parent.name)) for path in (machine.cold, machine.hot)]
        accepted, dropped, waiting = outbox_of(*kept)
    finally:
        for pid in stopped:
            os.kill(pid, signal.SIGCONT)
    with mounted(directory / "after.img", directory / "after") as after, opened(after / "fleet.db") as engine:
        with engine.connect() as connection:
            assert connection.exec_driver_sql("PRAGMA integrity_check").scalar_one() == "ok"
            rows = connection.execute(select(tables.stream.c.name, tables.stream.c.stored))
            stored = {row.name: Ranges.parse(row.stored) for row in rows}
        for stream, last in accepted.items():
            gone = {seq for seq in range(1, last + 1) if (stream, seq) not in waiting}
            assert not [seq for seq in gone if seq not in stored.get(stream, Ranges())]
        assert dropped == 0
        return history.check(engine)


@contextmanager
def opened(file: Path) -> Iterator[Engine]:
    engine = open_engine(sqlite_url(file))
    try:
        yield engine
    finally:
        engine.dispose()
