"""Series for the history tests, and what must be stored of them."""

from dataclasses import dataclass, field

from hypothesis import strategies as st
from sqlalchemy import Engine, delete, func, select

from ingestor.domain.batch import Arrived, Batch
from ingestor.domain.machine import Machine, Stream
from ingestor.history.retention import Pruning
from ingestor.history.series_hours import SeriesHours
from ingestor.storage.series_rows import CLOSE_DELAY
from ingestor.storage.store import Store
from schemas.contract.messages import Sample, Vitals
from schemas.database import tables
from schemas.database.series.stored_series import read_roll_ups, read_samples
from schemas.fleet.history import HOUR
from schemas.series.sample_block import SeriesSample, make_block
from schemas.series.summary_block import sum_up_block

START = 1_700_000_000_000 // HOUR * HOUR
TABLES = ("series_sample", "series_due", "series_hour", "series_rollup")
SERIES = st.dictionaries(
    st.sampled_from(["disk_used_percent", "network_received_bytes"]),
    st.dictionaries(
        st.sampled_from(["/data", "/", "eth0"]),
        st.one_of(st.none(), st.integers(0, 10**12), st.integers(0, 1000).map(lambda tenths: tenths / 10)),
        min_size=1,
    ),
    min_size=1,
)
Readings = dict[str, dict[str, float | None]]


def with_series(machine_id: int, at: int, seq: int, series: Readings, *, late: int = 0) -> Arrived:
    """A sample of this time that arrives `late` milliseconds later."""
    sample = Sample(seq=seq, sampled_at=at, vitals=Vitals(cpu_percent=1.0), series=series)
    return Arrived(Machine(machine_id, "home", "attic"), Stream("a", 1, created_at=0), sample, at + late, 0)


@dataclass
class SeriesKeeper:
    """An ingestor's work on series, and everything that was ever stored through it."""

    engine: Engine
    now: int = START
    everything: dict[tuple[int, int], Arrived] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        """As after a crash: what was only in memory is gone."""
        self.store = Store(self.engine, name="ingestor", dead_letter_max=100)
        self.hours, self.pruning = SeriesHours(self.store), Pruning(self.store)

    def empty(self) -> None:
        with self.engine.begin() as connection:
            for name in TABLES:
                connection.execute(delete(tables.metadata.tables[name]))

    def write(self, *samples: Arrived) -> None:
        self.store.write(Batch(samples=list(samples)))
        self.everything |= {(each.machine.id, each.sample.seq): each for each in samples}

    def tend(self, *, hours: float = 0) -> None:
        """Let time pass, and do all that is due then."""
        self.now += round(hours * HOUR)
        while self.hours.step(self.now) or self.pruning.step(self.now):
            pass

    def finish(self) -> None:
        """Close every hour, whenever it is due."""
        while self.hours.step(self.now + 1000 * HOUR + CLOSE_DELAY):
            pass

    def count(self, name: str) -> int:
        with self.engine.connect() as connection:
            return connection.scalar(select(func.count()).select_from(tables.metadata.tables[name])) or 0

    def check(self) -> None:
        """What is read equals what was sent, and roll-ups are those of all readings."""
        for machine_id in {key[0] for key in self.everything}:
            sent = [each for each in self.everything.values() if each.machine.id == machine_id]
            rows = [SeriesSample(each.sample.sampled_at, 1, each.sample.seq, each.sample.series) for each in sent]
            expected = list(make_block(rows).samples())
            assert read_samples(self.engine, machine_id, start=0, end=2**62) == expected

    def check_roll_ups(self) -> None:
        hours: dict[tuple[int, int], list[SeriesSample]] = {}
        for (machine_id, seq), each in self.everything.items():
            at = each.sample.sampled_at
            row = SeriesSample(at, 1, seq, each.sample.series)
            hours.setdefault((machine_id, at // HOUR * HOUR), []).append(row)
        for (machine_id, at), rows in hours.items():
            found = read_roll_ups(self.engine, machine_id, start=at, end=at)
            expected = sum_up_block(make_block(rows))
            assert found.get(at, {}).keys() == expected.keys()
            for place, summary in expected.items():
                stored = found[at][place]
                assert (stored.number, stored.minimum, stored.maximum) == summary[:2] + summary[3:]
                assert abs(stored.average - summary.average) <= 2e-4 * abs(summary.average) + 1e-9
