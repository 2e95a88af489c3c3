"""Rows that are added to the fleet's database, as a feed of one organisation: presence, alerts, commands, incidents.

Invariants:
- A position names only rows of the organisation: it reveals nothing about the others.
- A row is returned once by one feed, also if it is committed up to WINDOW_SECONDS after rows with a higher key, as
  several ingestors may do. A feed that begins at a position may repeat the ends of alerts and incidents at its time.
- A position beyond the newest row, as after the restore of a backup, is that of the newest row: the feed goes on.
- One call returns at most LIMIT new rows of each source and ENDS_MAX ends, and reads no row of long ago, unless the
  position is that old.
"""

import re
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from sqlalchemy import ColumnElement, Engine, Row, Select, Table, func, or_, select

from schemas.contract.alerts import INCIDENT_SEVERITIES
from schemas.database.queries.fetch import fetch_all, fetch_scalar
from schemas.database.tables import alert, command, command_transition, incident, machine, org, transition

LIMIT: Final = 500
ENDS_MAX: Final = 10_000
WINDOW_SECONDS: Final = 30
_POSITION: Final = re.compile(r"[0-9]{1,15}(-[0-9]{1,15}){4}")


@dataclass(frozen=True, slots=True)
class FeedEvent:
    """An event: its kind, its time in milliseconds, its fields, and the position of the feed after it."""

    kind: str
    at: int
    fields: Mapping[str, Any]
    position: str = ""


@dataclass(slots=True)
class _Source:
    """A table whose rows are events, and the place of the feed in it. `sent`: keys above `scanned` that were returned.

    `last` is the highest key of the organisation that was returned.
    """

    kind: str
    table: Table
    query: Select[Any]
    fields: Callable[[Row[Any]], dict[str, Any]]
    last: int = 0
    scanned: int = 0
    sent: set[int] = field(default_factory=set)
    tops: deque[tuple[int, int]] = field(default_factory=deque)

    def begin(self, engine: Engine, last: int | None) -> None:
        """Begin after a key of the organisation; None: after its newest."""
        if last is None:
            newest = self.query.with_only_columns(self.table.c.id).order_by(self.table.c.id.desc()).limit(1)
            last = fetch_scalar(engine, newest) or 0
        self.last = self.scanned = last

    def read(self, engine: Engine, now: int) -> list[FeedEvent]:
        """Return the new rows."""
        top = fetch_scalar(engine, select(func.max(self.table.c.id))) or 0
        if top < self.scanned:
            self.last = self.scanned = top
            self.sent.clear()
            self.tops.clear()
        limit = LIMIT + len(self.sent)
        query = self.query.where(self.table.c.id > self.scanned).order_by(self.table.c.id).limit(limit)
        rows = fetch_all(engine, query)
        new = [row for row in rows if row.id not in self.sent]
        self.last = max([self.last, *(row.id for row in new)])
        if len(rows) == limit:  # more follow, so that these are not the newest
            self.scanned, self.sent = rows[-1].id, set()
            self.tops.clear()
        else:
            self.tops.append((now, top))
            while self.tops and now - self.tops[0][0] >= WINDOW_SECONDS * 1000:
                self.scanned = max(self.scanned, self.tops.popleft()[1])
            self.sent = {key for key in (*self.sent, *(row.id for row in new)) if key > self.scanned}
        return [FeedEvent(self.kind, row.at, self.fields(row)) for row in new]


class ChangeFeed:
    """The feed of an organisation from now on, or from a position; `begin` must be called first."""

    def __init__(self, engine: Engine, org_name: str) -> None:
        self._engine = engine
        self._sources = _sources(org_name)
        self._ends = _ends(org_name)
        self._ended_at = 0
        self._known_ends: set[tuple[str, int]] | None = None
        """Ends that the last call found; None before the first."""

    def begin(self, now: int, position: str = "") -> None:
        """Begin now, or after a position. Raises ValueError if the text is no position."""
        if position and not _POSITION.fullmatch(position):
            raise ValueError("not the id of an event")
        *keys, ended_at = map(int, position.split("-")) if position else (None, None, None, None, now)
        self._ended_at = ended_at or 0
        for source, last in zip(self._sources, keys, strict=True):
            source.begin(self._engine, last)

    @property
    def position(self) -> str:
        """The position after all events that were returned."""
        return "-".join(str(each) for each in (*(source.last for source in self._sources), self._ended_at))

    def read(self, now: int) -> list[FeedEvent]:
        """Return the events since the last call, the oldest first, all with the same position."""
        found = [event for source in self._sources for event in source.read(self._engine, now)]
        found += self._read_ends(now)
        position = self.position
        return [
            FeedEvent(each.kind, each.at, each.fields, position) for each in sorted(found, key=lambda each: each.at)
        ]

    def _read_ends(self, now: int) -> list[FeedEvent]:
        """Return alerts and incidents that ended: they are found by time, in which several may be equal."""
        found = []
        since = min(self._ended_at, now - WINDOW_SECONDS * 1000)
        known, self._known_ends = self._known_ends, set()
        for kind, query, at, fields in self._ends:
            for row in fetch_all(self._engine, query.where(at >= since).order_by(at).limit(ENDS_MAX)):
                self._known_ends.add((kind, row.id))
                before = row.at < self._ended_at if known is None else (kind, row.id) in known
                if not before:
                    found.append(FeedEvent(kind, row.at, fields(row)))
        self._ended_at = max([self._ended_at, *(event.at for event in found)])
        return found


def _sources(org_name: str) -> list[_Source]:
    own = org.c.name == org_name
    names = (machine.c.name.label("machine"),)
    presence = select(transition, *names).select_from(transition.join(machine).join(org)).where(own)
    begun = _alerts(org_name, alert.c.started_at)
    joined = command_transition.join(command).join(machine).join(org, org.c.id == machine.c.org_id)
    columns = (command_transition, command.c.action, *names)
    return [
        _Source("presence", transition, presence, _plain("machine", "before", "after", "reason")),
        _Source("alert", alert, begun, _alert),
        _Source(
            "command",
            command_transition,
            select(*columns).select_from(joined).where(own),
            _plain("command_id", "machine", "action", "before", "after", "reason", "detail"),
        ),
        _Source("incident", incident, _incidents(org_name, incident.c.started_at), _incident),
    ]


def _ends(org_name: str) -> list[tuple[str, Select[Any], ColumnElement[Any], Callable[[Row[Any]], dict[str, Any]]]]:
    return [
        ("alert", _alerts(org_name, alert.c.closed_at), alert.c.closed_at, _alert),
        ("incident", _incidents(org_name, incident.c.ended_at), incident.c.ended_at, _incident),
    ]


def _alerts(org_name: str, at: ColumnElement[Any]) -> Select[Any]:
    columns = (alert, at.label("at"))
    query = select(*columns, machine.c.name.label("machine")).select_from(alert.join(machine).join(org))
    return query.where(org.c.name == org_name)


def _incidents(org_name: str, at: ColumnElement[Any]) -> Select[Any]:
    """Also those of the whole system since the organisation exists."""
    created_at = select(org.c.created_at).where(org.c.name == org_name).scalar_subquery()
    concerned = or_(org.c.name == org_name, incident.c.org_id.is_(None) & (incident.c.started_at >= created_at))
    columns = (incident, at.label("at"))
    return select(*columns).select_from(incident.outerjoin(org)).where(concerned)


def _plain(*names: str) -> Callable[[Row[Any]], dict[str, Any]]:
    return lambda row: {name.removesuffix("_id"): getattr(row, name) for name in names}


def _alert(row: Row[Any]) -> dict[str, Any]:
    fields = {name: getattr(row, name) for name in ("id", "machine", "rule", "title", "severity", "detail")}
    return {**fields, "since": row.started_at, "until": row.ended_at}


def _incident(row: Row[Any]) -> dict[str, Any]:
    severity = INCIDENT_SEVERITIES.get(row.kind, "warning")
    return {"id": row.id, "kind": row.kind, "severity": severity, "since": row.started_at, "until": row.ended_at}
