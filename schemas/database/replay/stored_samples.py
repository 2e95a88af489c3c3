"""The stored samples of a machine as the messages that carried them.

Invariants:
- Each sample that is stored is returned once, with the readings that are stored, whether its series are in a block or a
  row. A sample that was rolled up and deleted is not made up from averages.
- Samples are in order of time by the server's clock; those of one moment in order of their numbers.
"""

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from sqlalchemy import Engine, Row, func, select

from schemas.contract.messages import VITALS, Telemetry, Vitals
from schemas.database.queries.fetch import fetch_all, fetch_scalar
from schemas.database.queries.history import sampled_within
from schemas.database.series.stored_series import read_samples
from schemas.database.tables import pruned, sample, stream
from schemas.series.sample_block import Readings

_AT: Final = sample.c.sampled_at + sample.c.clock_offset_milliseconds


class StoredSample(NamedTuple):
    """A stored sample at the server's time `at`. `dropped`: number of samples that its stream has ever dropped."""

    at: int
    stream_number: int
    seq: int
    stream: str
    dropped: int
    row: Row[Any]
    series: Readings

    def telemetry(self, session: int) -> Telemetry:
        """Return it as the machine sent it.

        The session of a sample is not stored, nor is its `oldest_seq`: all that is stored from before was replayed
        before, so no smaller number is to come.
        """
        return Telemetry(
            seq=self.seq,
            sampled_at=self.row.sampled_at,
            vitals=Vitals(**{name: getattr(self.row, name) for name in VITALS}),
            extra=self.row.extra or {},
            series={metric: dict(devices) for metric, devices in self.series.items()},
            session=session,
            stream=self.stream,
            oldest_seq=self.seq,
            dropped=self.dropped,
        )


def read_streams(engine: Engine, machine_id: int) -> dict[int, tuple[str, int]]:
    """Return the streams of a machine by number: id, and number of samples that it dropped."""
    query = select(stream.c.number, stream.c.name, stream.c.dropped).where(stream.c.machine_id == machine_id)
    return {row.number: (row.name, row.dropped) for row in fetch_all(engine, query)}


def read_stored_samples(
    engine: Engine, machine_id: int, *, start: int, end: int, streams: Mapping[int, tuple[str, int]]
) -> list[StoredSample]:
    """Return the samples from `start` until before `end` (milliseconds, server's clock), in order.

    A stream that is no longer in `streams` is named by its number.
    """
    key = (sample.c.stream_number, sample.c.seq)
    query = (
        select(_AT.label("at"), *key, sample.c.sampled_at, sample.c.extra, *(sample.c[name] for name in VITALS))
        .where(sampled_within(machine_id, start, end), start <= _AT, end > _AT)
        .order_by(_AT, *key)
    )
    rows = fetch_all(engine, query)
    if not rows:
        return []
    series = {each.key: each.readings for each in read_samples(engine, machine_id, start=start, end=end)}
    found = []
    for row in rows:
        name, dropped = streams.get(row.stream_number, (f"{row.stream_number:016x}", 0))
        readings = series.get((row.stream_number, row.seq), {})
        found.append(StoredSample(row.at, row.stream_number, row.seq, name, dropped, row, readings))
    return found


def samples_kept_since(engine: Engine, machine_ids: list[int]) -> int:
    """Return the time since which the samples of all these machines are kept; 0 if none were deleted."""
    query = select(func.max(pruned.c.samples_before)).where(pruned.c.machine_id.in_(machine_ids))
    return fetch_scalar(engine, query) or 0
