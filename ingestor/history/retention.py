"""Deletes old samples, roll-ups and events, in small transactions, and returns the space.

Invariants:
- Samples and minutes are deleted only after they were rolled up; the limit is written in the same transaction (table
  `pruned`), so that nothing is rolled up twice.
- One step is one small transaction: a few hours of one machine, or some hundred rows. A machine without old rows costs
  none (`ingestor.history.due_machines`).
- The machines are looked at page by page, each page once in an hour, at its part of it: there is no burst at the start
  or at the full hour, and no step grows with the fleet.
- A machine's samples are found by its minutes, since all were rolled up before; reading them all would take seconds.
- A machine's minutes are never pruned further than its samples, and no limit ever moves back.
- Samples that are dated more than a day after their arrival are deleted, and no mark waits longer than a day: nothing
  is kept for ever. The arrival decides, not the current time, so a server whose clock was set back deletes nothing.
- On PostgreSQL samples are dropped by day (`ingestor.history.partitions`). Single rows are deleted only if they are
  still there a day later: another organisation keeps that day, or they belong to no day.
"""

import logging
from collections.abc import Callable, Collection, Iterator, Sequence
from functools import partial
from typing import Any, Final

from sqlalchemy import ColumnElement, Delete, Table, delete, func, select, tuple_, update
from sqlalchemy.engine import Connection
from sqlalchemy.exc import OperationalError

from ingestor.history import partitions
from ingestor.history.due_machines import Limits, Pages, find_due
from ingestor.history.series_retention import series_units
from ingestor.storage.bulk import dialect_insert
from ingestor.storage.store import Store
from schemas.database.sample_key import sampled_between
from schemas.database.tables import (
    alert,
    command,
    dead_letter,
    dirty,
    fact_change,
    hour,
    incident,
    minute,
    org,
    principal,
    pruned,
    request,
    retracted_alert,
    sample,
    token,
    transition,
)
from schemas.fleet.history import DAY, HOUR, MINUTE, Retention

SAMPLES_AT_ONCE: Final = 6 * HOUR
SAMPLES_MAX_AT_ONCE: Final = 20_000
"""Samples deleted in one step, unless one minute has more."""

MINUTES_AT_ONCE: Final = 72 * HOUR
ROWS_AT_ONCE: Final = 500
PAGES_AT_ONCE: Final = 200
FREE_SHARE: Final = 0.1
"""Share of a SQLite file's pages that stays free for new rows; the rest is returned to the file system."""

TOKENS_KEPT: Final = 30 * DAY
"""Time after their expiry for which `dashfleet token list` still shows tokens, in milliseconds."""

log = logging.getLogger(__name__)

Unit = Callable[[Connection], bool]
"""Deletes some rows; returns whether there are more of the same."""


class Pruning:
    """Plans the work of each hour, and does it step by step."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._sqlite = store.engine.dialect.name == "sqlite"
        self._insert: Any = dialect_insert(store.engine)
        self._todo: Iterator[Unit] = iter(())
        self._unit: Unit | None = None
        self._planned_for = -1
        self._page = 0
        self._pages: Pages

    def step(self, now: int) -> bool:
        """Do one step; return whether there is more to do."""
        self._unit = self._unit or next(self._todo, None)
        if self._unit is None:
            return self._plan_next(now)
        try:
            with self._store.begin() as connection:
                if not self._unit(connection):
                    self._unit = None
        except OperationalError as error:
            if not partitions.is_in_use(error):
                raise
            log.info("the table of samples is in use: its partitions are maintained in an hour")
            self._unit = None
        return True

    def _plan_next(self, now: int) -> bool:
        """Plan the next part of the work of this hour whose time has come; return False if there is none."""
        if now // HOUR != self._planned_for:
            self._pages = Pages(self._store.engine)
            self._page = self._pages.at(now) if self._planned_for < 0 else 0
            self._planned_for = now // HOUR
            self._todo = self._plan_all(now)
            return True
        if self._page > self._pages.at(now):
            return False
        self._todo = self._plan_page(self._page, now)
        self._page += 1
        return True

    def _retentions(self) -> dict[int, Retention]:
        with self._store.engine.connect() as connection:
            rows = connection.execute(select(org.c.id, org.c.retention))
            return {row.id: Retention.read(row.retention) for row in rows}

    def _plan_all(self, now: int) -> Iterator[Unit]:
        """Yield the work that is not a machine's or an organisation's."""
        kept = self._retentions()
        if not self._sqlite:
            yield from self._days(kept.values(), now)
        before = now - max((retention.events_seconds for retention in kept.values()), default=0) * 1000
        if kept:
            yield _deletion(dead_letter, dead_letter.c.id, dead_letter.c.received_at < before)
            yield _deletion(incident, incident.c.id, _ended_before(None, before))
            yield _deletion(retracted_alert, retracted_alert.c.id, retracted_alert.c.closed_at < before)
        expired = select(token.c.username).where(token.c.expires_at < now - TOKENS_KEPT)
        yield _deletion(principal, principal.c.username, principal.c.username.in_(expired))

    def _plan_page(self, number: int, now: int) -> Iterator[Unit]:
        """Yield the work for a page of machines, and for as large a part of the organisations."""
        kept = self._retentions()
        for org_id, machines in self._pages.machines(number):
            yield from self._of_machines(org_id, machines, kept.get(org_id, Retention()), now)
        for org_id in sorted(kept)[number :: len(self._pages)]:
            yield from self._of_org(org_id, now - kept[org_id].events_seconds * 1000)
            yield from series_units(org_id, kept[org_id], now)
        if self._sqlite and number == len(self._pages) - 1:
            yield _give_back

    def _days(self, kept: Collection[Retention], now: int) -> list[Unit]:
        before = now - max((retention.samples_seconds for retention in kept), default=0) * 1000
        return [
            lambda connection: partitions.drop_day(connection, before),
            lambda connection: partitions.make_day(connection, partitions.wanted(now, before)),
        ]

    def _of_machines(self, org_id: int, machines: Collection[int], kept: Retention, now: int) -> Iterator[Unit]:
        events_before = now - kept.events_seconds * 1000
        limits = Limits(
            samples=_whole_hours(now - kept.samples_seconds * 1000) - (0 if self._sqlite else DAY),
            minutes=_whole_hours(now - kept.minutes_seconds * 1000),
            hours=now - kept.hours_seconds * 1000,
            events=events_before,
        )
        with self._store.engine.connect() as connection:
            due = find_due(connection, org_id, machines, limits, now)
        for key in due.samples:
            yield partial(self._delete_samples, machine_id=key, before=limits.samples, now=now)
        if due.waiting:
            yield partial(_shorten_waits, machines=due.waiting, now=now)
        for key in due.minutes:
            yield partial(self._delete_minutes, machine_id=key, before=limits.minutes)
        for key in due.hours:
            yield _machine_deletion(hour, key, hour.c.at, limits.hours)
        for key in due.transitions:
            yield _machine_deletion(transition, key, transition.c.at, events_before, key=transition.c.id)
        for key in due.fact_changes:
            yield _machine_deletion(fact_change, key, fact_change.c.at, events_before, key=fact_change.c.id)
        for key in due.alerts:
            yield _machine_deletion(alert, key, alert.c.ended_at, events_before, key=alert.c.id)

    def _of_org(self, org_id: int, before: int) -> list[Unit]:
        waiting = select(command.c.request_id).where(command.c.ended_at.is_(None), command.c.expires_at >= before)
        old = (request.c.org_id == org_id) & (request.c.created_at < before) & request.c.id.not_in(waiting)
        return [
            _deletion(request, request.c.id, old),
            _deletion(incident, incident.c.id, _ended_before(org_id, before)),
        ]

    def _delete_samples(self, connection: Connection, machine_id: int, before: int, now: int) -> bool:
        if connection.execute(_ahead(machine_id, now)).rowcount:
            return True
        limits = connection.execute(select(pruned).where(pruned.c.machine_id == machine_id)).first()
        kept_from = limits.samples_before if limits else 0
        inside = (minute.c.machine_id == machine_id, minute.c.at >= kept_from)
        oldest = connection.scalar(select(func.min(minute.c.at)).where(*inside))
        if oldest is None or oldest >= before:
            return False
        upto = _with_few_samples(connection, machine_id, oldest, min(before, _whole_hours(oldest) + SAMPLES_AT_ONCE))
        if self._is_marked(connection, machine_id, upto, MINUTE):
            return False
        span = select(func.min(minute.c.sampled_from), func.max(minute.c.sampled_to)).where(*inside, minute.c.at < upto)
        first, last = connection.execute(span).one()
        at = sample.c.sampled_at + sample.c.clock_offset_milliseconds
        mine = (sample.c.machine_id == machine_id) & sampled_between(first, last)
        connection.execute(delete(sample).where(mine, at < upto))
        self._record_pruned(connection, machine_id, pruned.c.samples_before, upto)
        return upto < before

    def _delete_minutes(self, connection: Connection, machine_id: int, before: int) -> bool:
        limits = connection.execute(select(pruned).where(pruned.c.machine_id == machine_id)).first()
        before = _whole_hours(min(before, limits.samples_before if limits else 0))
        mine = minute.c.machine_id == machine_id
        oldest = connection.scalar(select(func.min(minute.c.at)).where(mine))
        if oldest is None or oldest >= before:
            return False
        upto = min(before, _whole_hours(oldest) + MINUTES_AT_ONCE)
        if self._is_marked(connection, machine_id, upto, MINUTE) or self._is_marked(connection, machine_id, upto, HOUR):
            return False
        connection.execute(delete(minute).where(mine, minute.c.at < upto))
        self._record_pruned(connection, machine_id, pruned.c.minutes_before, upto)
        return upto < before

    def _is_marked(self, connection: Connection, machine_id: int, before: int, length: int) -> bool:
        """Return whether marks of this machine are not rolled up yet."""
        same = (dirty.c.machine_id == machine_id) & (dirty.c.length == length)
        return connection.execute(select(dirty.c.at).where(same, dirty.c.at < before).limit(1)).first() is not None

    def _record_pruned(self, connection: Connection, machine_id: int, limit: ColumnElement[int], before: int) -> None:
        values = {"machine_id": machine_id, "samples_before": 0, "minutes_before": 0, limit.name: before}
        statement = self._insert(pruned).values(values)
        higher = {limit.name: before}
        connection.execute(
            statement.on_conflict_do_update(
                index_elements=[pruned.c.machine_id], set_=higher, where=limit < statement.excluded[limit.name]
            )
        )


def _deletion(table: Table, key: ColumnElement[Any], condition: ColumnElement[bool]) -> Unit:
    """Return a unit that deletes rows of a table by a condition."""
    keys = select(key).where(condition).limit(ROWS_AT_ONCE)
    statement = delete(table).where(key.in_(keys))
    return lambda connection: connection.execute(statement).rowcount == ROWS_AT_ONCE


def _machine_deletion(
    table: Table, machine_id: int, at: ColumnElement[int], before: int, *, key: ColumnElement[int] | None = None
) -> Unit:
    """Return a unit that deletes old rows of a machine."""
    mine = table.c.machine_id == machine_id
    keys = select(at if key is None else key).where(mine, at < before).limit(ROWS_AT_ONCE)
    statement = delete(table).where(mine, (at if key is None else key).in_(keys))
    return lambda connection: connection.execute(statement).rowcount == ROWS_AT_ONCE


def _with_few_samples(connection: Connection, machine_id: int, since: int, upto: int) -> int:
    """Return a time up to `upto` before which few samples are to be deleted; at least one minute after `since`."""
    inside = (minute.c.machine_id == machine_id, minute.c.at > since - MINUTE, minute.c.at < upto)
    number = 0
    for at, samples in connection.execute(select(minute.c.at, minute.c.samples).where(*inside).order_by(minute.c.at)):
        if number and number + samples > SAMPLES_MAX_AT_ONCE:
            return int(at)
        number += samples
    return upto


def _ahead(machine_id: int, now: int) -> Delete:
    """Return the statement that deletes some samples of a machine that are dated more than a day after arrival."""
    columns = sample.c
    at = columns.sampled_at + columns.clock_offset_milliseconds
    late = columns.clock_offset_milliseconds - columns.delay_milliseconds > DAY
    condition = (columns.machine_id == machine_id) & (at > now + DAY) & late
    some = select(columns.sampled_at).where(condition).limit(ROWS_AT_ONCE)
    return delete(sample).where(condition, columns.sampled_at.in_(some))


def _shorten_waits(connection: Connection, *, machines: Sequence[int], now: int) -> bool:
    """Let marks be rolled up now that would wait for more than a day; one whose samples are gone is only removed."""
    mine = dirty.c.machine_id.in_(machines) & (dirty.c.length == MINUTE)
    late = select(dirty.c.machine_id, dirty.c.at).where(mine, dirty.c.due_at > now + DAY + HOUR)
    keys = tuple_(dirty.c.machine_id, dirty.c.at).in_(late.limit(ROWS_AT_ONCE))
    statement = update(dirty).where(dirty.c.length == MINUTE, keys).values(due_at=now)
    return connection.execute(statement).rowcount == ROWS_AT_ONCE


def _ended_before(org_id: int | None, before: int) -> ColumnElement[bool]:
    """Match incidents of an organisation, or of the whole system if None, that ended before a time."""
    whose = incident.c.org_id.is_(None) if org_id is None else incident.c.org_id == org_id
    return whose & (incident.c.ended_at < before)


def _give_back(connection: Connection) -> bool:
    """Return free pages at the end of a SQLite file to the file system."""
    free = connection.exec_driver_sql("PRAGMA freelist_count").scalar_one()
    pages = connection.exec_driver_sql("PRAGMA page_count").scalar_one()
    if free <= max(PAGES_AT_ONCE, pages * FREE_SHARE):
        return False
    driver: Any = connection.connection.driver_connection
    driver.executescript(f"PRAGMA incremental_vacuum({PAGES_AT_ONCE})")  # `execute` would return one page only
    return True


def _whole_hours(at: int) -> int:
    return at // HOUR * HOUR
