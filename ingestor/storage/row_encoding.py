"""Rows for the driver: tuples in the order of the columns named here, each value as it is stored.

These are the three tables that every report changes; bypassing SQLAlchemy's conversion of each value makes storing them
a third as expensive (`tests/bench/test_ingest.py`).
"""

import json
from collections.abc import Callable, Iterable
from operator import attrgetter
from typing import Any

from ingestor.domain.batch import Arrived
from ingestor.domain.machine import Machine, Stream
from ingestor.domain.presence import Presence
from schemas.contract.messages import VITALS
from schemas.database import tables
from schemas.database.columns import HUNDRED, Hundredths
from schemas.fleet.health import HealthStatus

Row = tuple[Any, ...]

Truth = Callable[[bool], int]
"""`int` for SQLite, whose driver takes twice as long for a bool; `bool` for PostgreSQL, which has that type."""

PRESENCE_FIELDS = ("reason", "since_at", "verified", "connected", "session", "interval_seconds", "last_seen_at")
STREAM_FIELDS = ("name", "number", "created_at", "highest_seq", "oldest_seq", "dropped", "late", "duplicate")

SAMPLE_COLUMNS = (
    *("machine_id", "sampled_at", "stream_number", "seq", "delay_milliseconds", "clock_offset_milliseconds"),
    *VITALS,
    "extra",
)
STATE_COLUMNS = (
    *("machine_id", "presence", *PRESENCE_FIELDS, "clock_offset_milliseconds", "sampled_at"),
    *VITALS,
    *("extra", "health_score", "health_status", "writer"),
)
STREAM_COLUMNS = ("machine_id", *STREAM_FIELDS, "stored", "rejected", "booted_at")

_readings = attrgetter(*VITALS)
_counts = attrgetter(*STREAM_FIELDS)
_PRESENCE = {each: each.value for each in Presence}
_STATUS = {each: each.value for each in HealthStatus}
"""Looked up here, which takes a third of the time of `value`."""
_IS_FRACTION = tuple(isinstance(tables.sample.c[name].type, Hundredths) for name in VITALS)


def sample_rows(samples: Iterable[Arrived]) -> list[Row]:
    """Return rows of SAMPLE_COLUMNS for the table `sample`."""
    return [
        (
            arrived.machine.id,
            arrived.sample.sampled_at,
            arrived.stream.number,
            arrived.sample.seq,
            arrived.received_at - arrived.sample.sampled_at,
            arrived.clock_offset,
            *[
                round(reading * HUNDRED) if fraction and reading is not None else reading
                for reading, fraction in zip(_readings(arrived.sample.vitals), _IS_FRACTION, strict=True)
            ],
            json.dumps(arrived.sample.extra) if arrived.sample.extra else None,
        )
        for arrived in samples
    ]


def state_rows(machines: Iterable[Machine], writer: int, truth: Truth) -> list[Row]:
    """Return rows of STATE_COLUMNS for the table `state`. `writer`: see `ingestor.storage.row_locks`."""
    return [
        (
            machine.id,
            _PRESENCE[state.presence],
            state.reason,
            state.since_at,
            truth(state.verified),
            truth(state.connected),
            state.session,
            state.interval_seconds,
            state.last_seen_at,
            machine.clock.milliseconds,
            latest.sampled_at,
            *_readings(latest.vitals),
            json.dumps(latest.extra) if latest.extra else "{}",
            latest.health.score,
            _STATUS[latest.health.status],
            writer,
        )
        for machine in machines
        for state, latest in ((machine.state, machine.latest),)
    ]


def stream_rows(streams: Iterable[tuple[Machine, Stream]]) -> list[Row]:
    """Return rows of STREAM_COLUMNS for the table `stream`."""
    return [
        (machine.id, *_counts(stream), str(stream.stored), str(stream.rejected), stream.boot.milliseconds)
        for machine, stream in streams
    ]
