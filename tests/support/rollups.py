"""Samples for the history tests, and what their roll-ups must be, worked out from scratch."""

import math
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import strategies as st
from sqlalchemy import Engine, delete, func, select

from ingestor.domain.batch import Arrived, Batch
from ingestor.domain.machine import Machine, Stream
from ingestor.history.retention import Pruning
from ingestor.history.rollup import HOUR_DELAY, Rollup
from ingestor.storage.store import Store
from schemas.contract.messages import VITALS, Sample, Vitals
from schemas.database import tables
from schemas.fleet.history import DAY, HOUR, MINUTE

START = 1_700_000_000_000 // HOUR * HOUR
READINGS = st.integers(0, 10_000).map(lambda hundredths: hundredths / 100)
"""As fine as they are stored."""

CLOCKS = st.sampled_from((0, 0, 0, -30 * HOUR, 30 * HOUR, 500 * DAY))
"""How far machines' clocks are behind."""

Step = tuple[str, int, float, int]
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("write"), st.integers(0, 20 * 24 * 12), READINGS, CLOCKS),
        st.tuples(st.just("pass"), st.integers(1, 24 * 8), st.just(0.0), st.just(0)),
        st.tuples(st.just("crash"), st.just(0), st.just(0.0), st.just(0)),
    ),
    max_size=30,
)
"""What happens to a store: a sample so many times five minutes after the start, so many hours, or a new beginning."""

NAMES = ("cpu_percent", "network_sent_bytes")


def arrived(
    machine_id: int, at: int, seq: int, *, offset: int = 0, cpu: float | None = 1.0, extra: float | None = None
) -> Arrived:
    """A sample of this time by the server's clock, on a machine whose clock is wrong by `offset`."""
    vitals = Vitals(cpu_percent=cpu, network_sent_bytes=seq)
    extras: dict[str, float | None] = {} if extra is None else {"fan_rpm": extra}
    sample = Sample(seq=seq, sampled_at=at - offset, vitals=vitals, extra=extras)
    return Arrived(Machine(machine_id, "home", "attic"), Stream("a", 1, created_at=0), sample, at, offset)


@dataclass
class Keeper:
    """An ingestor's database work, and everything that was ever stored through it."""

    engine: Engine
    now: int = START
    everything: list[Arrived] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        """As after a crash: what was only in memory is gone."""
        self.store = Store(self.engine, name="ingestor", dead_letter_max=100)
        self.rollup, self.pruning = Rollup(self.store), Pruning(self.store)

    def write(self, *samples: Arrived) -> None:
        self.store.write(Batch(samples=list(samples)))
        self.everything += samples

    def step(self) -> bool:
        """Roll up, or else prune, a little; whether there may be more to do."""
        return self.rollup.step(self.now) or self.pruning.step(self.now)

    def finish(self) -> None:
        """Go on until nothing is left to be rolled up, however late it is due."""
        later = self.now + 1000 * HOUR
        for _ in range(2):
            while self.rollup.step(later):
                pass
            later += HOUR_DELAY

    def stored(self, name: str) -> dict[tuple[int, int], dict[str, Any]]:
        table = tables.metadata.tables[name]
        with self.engine.connect() as connection:
            return {(row["machine_id"], row["at"]): dict(row) for row in connection.execute(select(table)).mappings()}

    def check(self, name: str, length: int, *, since: int = 0) -> None:
        """What is stored is what summing up everything from scratch gives."""
        expected: dict[tuple[int, int], list[Arrived]] = {}
        for one in self.everything:
            at = (one.sample.sampled_at + one.clock_offset) // length * length
            if at >= since:
                expected.setdefault((one.machine.id, at), []).append(one)
        found = {key: row for key, row in self.stored(name).items() if key[1] >= since}
        assert set(found) == set(expected)
        for key, samples in expected.items():
            assert found[key]["samples"] == len(samples), key
            for vital in VITALS:
                _same(found[key], vital, [getattr(one.sample.vitals, vital) for one in samples])
            extras = [reading for one in samples if (reading := one.sample.extra.get("fan_rpm")) is not None]
            summary = (found[key]["extra"] or {}).get("fan_rpm")
            assert (summary is None) == (not extras)
            if extras:
                assert summary == pytest.approx(
                    [len(extras), min(extras), math.fsum(extras) / len(extras), max(extras)]
                )


def tend(keeper: Keeper, *, hours: float = 0) -> None:
    """Let time pass, and do all that is to be done, then and in the next hour."""
    keeper.now += round(hours * HOUR)
    for wait in (0, HOUR_DELAY, HOUR):
        keeper.now += wait
        while keeper.step():
            pass


def count(keeper: Keeper, name: str) -> int:
    with keeper.engine.connect() as connection:
        return connection.scalar(select(func.count()).select_from(tables.metadata.tables[name])) or 0


def follow(engine: Engine, steps: list[Step]) -> None:
    """Let all of this happen to a store without history; hours must be what summing up from scratch gives."""
    with engine.begin() as connection:
        for name in ("sample", "minute", "hour", "dirty", "pruned"):
            connection.execute(delete(tables.metadata.tables[name]))
    keeper = Keeper(engine)
    for seq, (act, number, cpu, offset) in enumerate(steps):
        if act == "write":
            keeper.write(arrived(1, START + number * 5 * MINUTE, seq + 1, offset=offset, cpu=cpu, extra=cpu))
        elif act == "pass":
            tend(keeper, hours=number)
        else:
            keeper.restart()
    tend(keeper)
    tend(keeper, hours=20 * 24)
    tend(keeper, hours=1)
    keeper.check("hour", HOUR, since=keeper.now - 399 * DAY)
    assert count(keeper, "dirty") == 0


def _same(row: dict[str, Any], vital: str, readings: list[float | None]) -> None:
    known = [reading for reading in readings if reading is not None]
    assert row[f"{vital}_count"] == len(known)
    found = (row[f"{vital}_min"], row[f"{vital}_avg"], row[f"{vital}_max"])
    if not known:
        assert found == (None, None, None)
        return
    assert (found[0], found[2]) == (min(known), max(known))
    assert found[1] == pytest.approx(math.fsum(known) / len(known))


LENGTHS = {"minute": MINUTE, "hour": HOUR}
