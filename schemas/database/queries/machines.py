"""Machines with their current state: pages of the fleet, single machines, and the list of the command line.

Invariants:
- Every query but `list_machines` is restricted to one organisation, given by name.
- A page of the fleet is read in two steps: names (filter, sort, page), then the rows of these names. Figures may
  change between refreshes while rows keep their place.
- Text from a visitor is always a bound value; a sort order is checked by `fleet_order`.
- Each row says whether its readings are `current`, and `as_of` which time they are; its health is unknown if not.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Engine,
    Row,
    Select,
    String,
    and_,
    case,
    cast,
    false,
    func,
    literal,
    null,
    select,
)

from schemas.contract.messages import VITALS
from schemas.contract.topics import is_id
from schemas.database.queries.fetch import fetch_all, fetch_first
from schemas.database.queries.fleet_order import (
    AS_OF,
    ATTENTION_NOW,
    CURRENT_NOW,
    DEFAULT_SORT,
    HEALTH_NOW,
    ONLINE,
    OPEN_ALERT,
    PRESENCE_NOW,
    RETIRED,
    SCORE_NOW,
    is_unwell,
    ordering,
)
from schemas.database.tables import disk_forecast, machine, org, state, stream, transition
from schemas.database.text_search import contains
from schemas.fleet.availability import FLAPPING
from schemas.fleet.ledger import Ledger

SELECTION_MAX: Final = 10_000
"""Machines that a selection by filter can hold."""

_OK: Final = "ok"
_OTHERS, _ALERTED, _ALL = "others", "alerted", "all"
"""Parts of the counts: machines that are not well and those with an open alert, by kind; and the number of all."""

_ROW_VITALS: Final = ("cpu_percent", "memory_percent", "disk_percent", "uptime_seconds")
_STATES: Final = machine.join(org, org.c.id == machine.c.org_id).outerjoin(state, state.c.machine_id == machine.c.id)
_FLEET: Final = _STATES.outerjoin(disk_forecast, disk_forecast.c.machine_id == machine.c.id)


@dataclass(frozen=True, slots=True)
class Filters:
    """A selection of machines and its sort order. An empty tuple means all; retired machines only on request.

    `labels` are written `key=value`: values of the same key are alternatives, different keys must all match. `search`
    is split into words, each of which must occur in a name, system, version or label; a word `key=value` means the
    label, and `key=` any value of it. `attention`: only machines that need attention.
    """

    search: str = ""
    presences: tuple[str, ...] = ()
    healths: tuple[str, ...] = ()
    systems: tuple[str, ...] = ()
    versions: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    attention: bool = False
    order: str = DEFAULT_SORT
    descending: bool = False

    @property
    def by_severity(self) -> bool:
        """True if the most severe machine comes first."""
        return self.order == DEFAULT_SORT and not self.descending

    @property
    def described(self) -> "Filters":
        """The filters without those on the current state, in the default order."""
        return Filters(search=self.search, systems=self.systems, versions=self.versions, labels=self.labels)


@dataclass(frozen=True, slots=True)
class Counts:
    """Number of machines per (presence, health status, whether they need attention).

    `newest_change`: time of the last change of presence of a machine that is not online, in milliseconds; None if all
    are online.
    """

    numbers: Mapping[tuple[str, str, bool], int]
    newest_change: int | None = None

    def of(self, presences: Sequence[str] = (), healths: Sequence[str] = (), *, attention: bool = False) -> int:
        """Return the number of machines with one of these; an empty argument means the same as in `Filters`."""
        return sum(
            number
            for (presence, health, troubled), number in self.numbers.items()
            if (presence in presences if presences else presence != RETIRED)
            and (not healths or health in healths)
            and (troubled or not attention)
        )


def count_by_status(engine: Engine, org_name: str, filters: Filters) -> Counts:
    """Count the matching machines by presence, health and attention; filters on these are ignored.

    Few machines are not well, and few have an open alert: only these are grouped, and those that are well are the rest.
    """
    rows = fetch_all(engine, _count_query(org_name, filters))
    others = {(row.presence_now, row.health_now): row for row in rows if row.part == _OTHERS}
    alerted = {(row.presence_now, row.health_now): row.number for row in rows if row.part == _ALERTED}
    well = sum(row.number for row in rows if row.part == _ALL) - sum(row.number for row in others.values())
    numbers: dict[tuple[str, str, bool], int] = {}
    for kind, number in {**{kind: row.number for kind, row in others.items()}, (ONLINE, _OK): well}.items():
        troubled = number if kind in others and others[kind].unwell else alerted.get(kind, 0)
        for attention, count in ((True, troubled), (False, number - troubled)):
            if count:
                numbers[*kind, attention] = count
    return Counts(numbers, max((row.at for row in others.values() if row.at is not None), default=None))


def find_page(
    engine: Engine, org_name: str, filters: Filters, *, offset: int, limit: int
) -> tuple[tuple[str, ...], int]:
    """Return the names of the machines on one page, sorted, and the number of all matching machines."""
    found = select_matching(org_name, filters, machine.c.name)
    with engine.connect() as connection:
        names = connection.execute(_sorted(found, org_name, filters).offset(offset).limit(limit)).scalars().all()
        total = offset + len(names)
        if len(names) == limit or not names:
            total = connection.execute(select(func.count()).select_from(found.subquery())).scalar_one()
        return tuple(names), total


def matching_names(
    engine: Engine, org_name: str, filters: Filters, *, limit: int | None = SELECTION_MAX
) -> tuple[str, ...]:
    """Return the names of the matching machines, sorted, at most `limit`."""
    query = _sorted(select_matching(org_name, filters, machine.c.name), org_name, filters).limit(limit)
    return tuple(row.name for row in fetch_all(engine, query))


def find_rows(engine: Engine, org_name: str, names: Sequence[str]) -> list[Row[Any]]:
    """Return the machines with these names, in this order, without those that no longer exist."""
    query = select_machines(org_name, *_row_columns()).where(machine.c.name.in_(names))
    found = {row.name: row for row in fetch_all(engine, query)}
    return [found[name] for name in names if name in found]


def find_machine(engine: Engine, org_name: str, name: str) -> Row[Any] | None:
    """Return the inventory and the current state of one machine, or None."""
    vitals = (state.c[vital] for vital in VITALS if vital not in _ROW_VITALS)
    columns = (machine.c.id, machine.c.info, *vitals)
    more = (state.c.extra, state.c.interval_seconds, state.c.sampled_at, state.c.clock_offset_milliseconds)
    return fetch_first(
        engine, select_machines(org_name, *_row_columns(), *columns, *more).where(machine.c.name == name)
    )


def list_machines(engine: Engine, *, trouble: str = "") -> list[dict[str, Any]]:
    """Return every machine of every organisation, the most severe first, as `dashfleet machines --json` documents it.

    While there is `trouble` (`heartbeat.find_trouble`), no presence is verified and no reading is current.
    """
    identity = (machine.c.id, org.c.name.label("org"), machine.c.name.label("machine"), machine.c.hostname)
    states = (state.c[name] for name in ("reason", "since_at", "verified", "last_seen_at", "extra", *VITALS))
    columns = (*identity, *states, state.c.clock_offset_milliseconds, *_now(), transition.c.times.label("flapping"))
    last = and_(transition.c.machine_id == machine.c.id, transition.c.at == state.c.since_at)
    joined = _FLEET.outerjoin(transition, and_(last, transition.c.reason == FLAPPING))
    query = select(*columns).select_from(joined).order_by(*ordering(DEFAULT_SORT), org.c.name)
    ledgers = read_ledgers(engine)
    found = [_plain(row, ledgers.get(row.id, Ledger())) for row in fetch_all(engine, query)]
    return [{**row, **_UNVERIFIED} for row in found] if trouble else found


def read_ledgers(engine: Engine, *, org_name: str | None = None, machine_id: int | None = None) -> dict[int, Ledger]:
    """Return the ledgers of all machines, of an organisation's or of one, by machine key; a machine without streams is
    missing."""
    query = select(stream).select_from(stream.join(machine).join(org))
    query = query if org_name is None else query.where(org.c.name == org_name)
    query = query if machine_id is None else query.where(stream.c.machine_id == machine_id)
    found: dict[int, Ledger] = {}
    for row in fetch_all(engine, query):
        found.setdefault(row.machine_id, Ledger()).add(row)
    return found


def select_matching(org_name: str, filters: Filters, *columns: ColumnElement[Any]) -> Select[Any]:
    """Return the query for these columns of the matching machines, unsorted."""
    query = select_machines(org_name, *columns).where(*_described(org_name, filters))
    query = query.where(PRESENCE_NOW.in_(filters.presences) if filters.presences else PRESENCE_NOW != RETIRED)
    query = query.where(HEALTH_NOW.in_(filters.healths)) if filters.healths else query
    return query.where(ATTENTION_NOW) if filters.attention else query


def select_machines(org_name: str, *columns: ColumnElement[Any]) -> Select[Any]:
    """Return the query for these columns of all machines of an organisation, with or without a state."""
    return select(*columns).select_from(_FLEET).where(org.c.name == org_name)


@lru_cache(maxsize=200)
def _count_query(org_name: str, filters: Filters) -> Select[Any]:
    """Return the query for the parts of the counts, in one statement, so that all are of one moment."""
    since = func.max(case((PRESENCE_NOW.in_(("offline", "stale")), state.c.since_at)))
    unwell = func.max(case((is_unwell(PRESENCE_NOW, HEALTH_NOW), 1), else_=0))
    others = _by_kind(_OTHERS, since, unwell, org_name, filters).where(HEALTH_NOW != _OK)
    alerted = _by_kind(_ALERTED, null(), literal(0), org_name, filters).where(OPEN_ALERT, PRESENCE_NOW != RETIRED)
    no_kind = {"presence_now": literal(""), "health_now": literal("")}
    whole = _part(_ALL, no_kind, null(), literal(0)).select_from(machine.join(org)).where(*_in_org(org_name, filters))
    return select(others.union_all(alerted, whole).subquery())


def _by_kind(
    part: str, at: ColumnElement[Any], unwell: ColumnElement[Any], org_name: str, filters: Filters
) -> Select[Any]:
    """Return the query for the number of matching machines by presence and health."""
    # other names than those of columns, which GROUP BY would prefer
    kinds = {"presence_now": PRESENCE_NOW, "health_now": HEALTH_NOW}
    query = _part(part, kinds, at, unwell).select_from(_STATES).where(*_in_org(org_name, filters))
    return query.group_by(*kinds)


def _part(
    part: str, kinds: Mapping[str, ColumnElement[Any]], at: ColumnElement[Any], unwell: ColumnElement[Any]
) -> Select[Any]:
    number, time = func.count().label("number"), cast(at, BigInteger).label("at")
    columns = (column.label(name) for name, column in kinds.items())
    return select(literal(part).label("part"), *columns, number, time, unwell.label("unwell"))


def _in_org(org_name: str, filters: Filters) -> list[ColumnElement[bool]]:
    return [org.c.name == org_name, *_described(org_name, filters)]


_UNVERIFIED: Final = {"verified": False, "current": False, "health": {"score": None, "status": "unknown"}}


def _plain(row: Row[Any], ledger: Ledger) -> dict[str, Any]:
    return {
        "org": row.org,
        "machine": row.machine,
        "hostname": row.hostname,
        "presence": row.presence,
        "reason": row.reason or "",
        "since": row.since_at,
        "verified": row.verified is not False,
        "current": row.current,
        "as_of": row.as_of,
        "flapping": row.flapping or 0,
        "health": {"score": row.health_score, "status": row.health_status},
        "last_seen": row.last_seen_at,
        "clock_offset_milliseconds": row.clock_offset_milliseconds,
        "vitals": {"as_of": row.as_of, **{name: getattr(row, name) for name in VITALS}},
        "extra": row.extra or {},
        "ledger": {name: getattr(ledger, name) for name in Ledger.__slots__},
    }


def _row_columns() -> list[ColumnElement[Any]]:
    identity = [machine.c[name] for name in ("name", "hostname", "os", "os_version", "agent_version", "labels")]
    facts = [state.c[name] for name in ("reason", "since_at", "verified", "last_seen_at")]
    vitals = [state.c[name] for name in _ROW_VITALS]
    forecast = [disk_forecast.c.full_at, disk_forecast.c.outlook.label("disk_outlook")]
    return [*identity, *facts, *vitals, *forecast, *_now()]


def _now() -> list[ColumnElement[Any]]:
    """The state as it may be shown; see `fleet_order`."""
    shown = {"presence": PRESENCE_NOW, "health_status": HEALTH_NOW, "health_score": SCORE_NOW}
    return [column.label(name) for name, column in {**shown, "current": CURRENT_NOW, "as_of": AS_OF}.items()]


def _described(org_name: str, filters: Filters) -> list[ColumnElement[bool]]:
    """Return the conditions that do not depend on the machine's current state."""
    conditions: list[ColumnElement[bool]] = []
    if filters.systems:
        conditions.append(machine.c.os.in_(filters.systems))
    if filters.versions:
        conditions.append(machine.c.agent_version.in_(filters.versions))
    wanted: dict[str, list[str]] = {}
    for label in filters.labels:
        key, _, value = label.partition("=")
        wanted.setdefault(key, []).append(value)
    conditions += [_labelled(org_name, key, values) for key, values in wanted.items()]
    for word in filters.search.split():
        key, equals, value = word.partition("=")
        named = bool(equals) and is_id(key)
        conditions.append(_labelled(org_name, key, [value] if value else ()) if named else _mentions(word))
    return conditions


def _labelled(org_name: str, key: str, values: Sequence[str]) -> ColumnElement[bool]:
    """Return the condition for a label with one of these values, or any. The JSON of others is never read: CASE."""
    label: ColumnElement[Any] = machine.c.labels[key].as_string()
    return case((org.c.name == org_name, label.in_(values) if values else label.is_not(None)), else_=false())


def _mentions(word: str) -> ColumnElement[bool]:
    fields = (machine.c.name, machine.c.hostname, machine.c.os, machine.c.agent_version, cast(machine.c.labels, String))
    return contains(word, *fields)


def _sorted(query: Select[Any], org_name: str, filters: Filters) -> Select[Any]:
    return query.order_by(*ordering(filters.order, descending=filters.descending, org_name=org_name))
