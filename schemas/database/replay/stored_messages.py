"""The stored history of an organisation as messages in order of time: samples, presence and alerts.

Invariants:
- Memory does not grow with the period: one window is read at a time, which is shorter for many machines. Times of
  which nothing is stored cost nothing.
- What happened at one moment comes machine by machine, the presence before the samples, and these before the alerts.
- Every query is restricted to the machines of one organisation.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Final

from sqlalchemy import Engine, or_, select

from schemas.database.queries.fetch import fetch_all, fetch_first, fetch_scalar, fetch_where_in
from schemas.database.queries.machines import select_machines
from schemas.database.replay.machine_past import MachinePast, StoredMessage
from schemas.database.replay.stored_samples import read_stored_samples, read_streams
from schemas.database.replay.stored_times import first_stored
from schemas.database.tables import alert, machine, transition
from schemas.fleet.history import HOUR, MINUTE

WHOLE_HOURS_MAX: Final = 20
"""Machines whose history is read hour by hour; the time read at once is in proportion shorter for more of them."""

_CHANGED, _SAMPLED, _BEGAN, _ENDED = range(4)
_Entry = tuple[int, str, int, int, int, MachinePast, Any]
"""Time, machine, kind, two numbers that order what has the same, and the machine and row that they are of."""


@dataclass(frozen=True, slots=True)
class StoredPeriod:
    """Machines of an organisation (none named: all) from `start` until before `end`, in milliseconds UTC."""

    org: str
    machines: tuple[str, ...]
    start: int
    end: int


def chosen_machines(engine: Engine, period: StoredPeriod) -> dict[int, str]:
    """Return the names of the machines of a period by key, in order."""
    query = select_machines(period.org, machine.c.id, machine.c.name).order_by(machine.c.name)
    rows = fetch_all(engine, query)
    return {row.id: row.name for row in rows if not period.machines or row.name in period.machines}


def read_messages(engine: Engine, period: StoredPeriod) -> Iterator[StoredMessage]:
    """Yield the messages of a period, after those of the state in which it begins."""
    pasts = _pasts(engine, period)
    keys = list(pasts)
    for key, past in pasts.items():
        info = fetch_scalar(engine, select(machine.c.info).where(machine.c.id == key))
        yield from past.begin(period.start, info)
    open_ = select(alert).where(alert.c.started_at < period.start, alert.c.past.is_(False))
    open_ = open_.where(or_(alert.c.ended_at.is_(None), alert.c.ended_at >= period.start)).order_by(alert.c.started_at)
    for row in fetch_where_in(engine, open_, alert.c.machine_id, keys):
        yield from pasts[row.machine_id].alert_began(row, period.start)
    for start, end in windows(period, len(keys), partial(_first_from, engine, keys, period.end)):
        for at, _, kind, _, _, past, row in sorted(_entries(engine, pasts, start, end), key=lambda entry: entry[:5]):
            if kind == _SAMPLED:
                yield from past.sampled(row)
            elif kind == _CHANGED:
                yield from past.changed(row)
            elif kind == _BEGAN:
                yield from past.alert_began(row, at)
            else:
                yield from past.alert_ended(row)


def begin_with_data(engine: Engine, period: StoredPeriod) -> StoredPeriod:
    """Return the period from the first hour on in which something is stored; the same one if nothing is."""
    first = first_stored(engine, list(chosen_machines(engine, period)), period.start, period.end)
    return period if first is None else replace(period, start=max(period.start, first - first % HOUR))


def windows(period: StoredPeriod, machines: int, first_from: Callable[[int], int | None]) -> Iterator[tuple[int, int]]:
    """Yield the times that are read at once, in order: whole hours of the clock, or equal parts of them.

    `first_from` returns the first time from another one on at which something is stored; None: nothing is.
    """
    width = HOUR
    while width > MINUTE and width * machines > HOUR * WHOLE_HOURS_MAX:
        width = max(MINUTE, width // 2)
    start = first_from(period.start)
    while start is not None:
        end = min((start // width + 1) * width, period.end)
        yield start, end
        start = first_from(end)


def _first_from(engine: Engine, keys: Sequence[int], end: int, start: int) -> int | None:
    return first_stored(engine, keys, start, end)


def _pasts(engine: Engine, period: StoredPeriod) -> dict[int, MachinePast]:
    names = chosen_machines(engine, period)
    columns = (machine.c.id, machine.c.name, machine.c.hostname, machine.c.agent_version, machine.c.labels)
    query = select(*columns).order_by(machine.c.name)
    found = {}
    for row in fetch_where_in(engine, query, machine.c.id, list(names)):
        found[row.id] = past = MachinePast(row, read_streams(engine, row.id))
        before = select(transition).where(transition.c.machine_id == row.id, transition.c.at < period.start)
        last = fetch_first(engine, before.order_by(transition.c.at.desc(), transition.c.id.desc()).limit(1))
        if last is not None:
            past.take(last)
    return found


def _entries(engine: Engine, pasts: dict[int, MachinePast], start: int, end: int) -> Iterator[_Entry]:
    for key, past in pasts.items():
        for sample in read_stored_samples(engine, key, start=start, end=end, streams=past.streams):
            yield sample.at, past.row.name, _SAMPLED, sample.stream_number, sample.seq, past, sample
    yield from _events(engine, pasts, start, end)


def _events(engine: Engine, pasts: dict[int, MachinePast], start: int, end: int) -> Iterator[_Entry]:
    keys: Sequence[int] = list(pasts)
    changes = select(transition).where(transition.c.at >= start, transition.c.at < end)
    for row in fetch_where_in(engine, changes, transition.c.machine_id, keys):
        past = pasts[row.machine_id]
        yield row.at, past.row.name, _CHANGED, row.id, 0, past, row
    began = select(alert).where(alert.c.started_at >= start, alert.c.started_at < end, alert.c.past.is_(False))
    for row in fetch_where_in(engine, began, alert.c.machine_id, keys):
        past = pasts[row.machine_id]
        yield row.started_at, past.row.name, _BEGAN, row.id, 0, past, row
    ended = select(alert).where(alert.c.ended_at >= start, alert.c.ended_at < end)
    for row in fetch_where_in(engine, ended, alert.c.machine_id, keys):
        past = pasts[row.machine_id]
        yield row.ended_at, past.row.name, _ENDED, row.id, 0, past, row
