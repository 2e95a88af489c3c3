"""The dashboard's SQL, on an engine that cannot write. Actions are in `command_queries`, history in `history_queries`.

Invariants:
- Every query about machines takes the organisation, by its name, and never finds another's.
- A page of the fleet is read in two steps: which machines (filter, order, page), then their rows by id. So figures may
  move while rows stay where they are.
- Text from a visitor is always a bound value; a sort order is picked from a table of known ones.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import (
    ColumnElement,
    Engine,
    Row,
    Select,
    String,
    case,
    cast,
    func,
    or_,
    select,
)

from schemas.contract.messages import VITALS, Thresholds
from schemas.database.tables import incident, ingestor, machine, org, state, stream, transition
from schemas.fleet.ledger import Ledger
from schemas.fleet.organisation import read_config

RETIRED: Final = "retired"
_WORST_FIRST: Final = ("offline", "stale", "unknown", "expired", "online", "retired")

PRESENCE_NOW: Final = func.coalesce(state.c.presence, "unknown")
HEALTH_NOW: Final = func.coalesce(state.c.health_status, "unknown")
SHOWN_NAME: Final = func.lower(func.coalesce(machine.c.hostname, machine.c.name))
_severity = case({code: rank for rank, code in enumerate(_WORST_FIRST)}, value=PRESENCE_NOW, else_=len(_WORST_FIRST))

ORDERS: Final[Mapping[str, ColumnElement[Any]]] = {
    "machine": SHOWN_NAME,
    "status": _severity,
    "health": state.c.health_score,
    "cpu": state.c.cpu_percent,
    "memory": state.c.memory_percent,
    "disk": state.c.disk_percent,
    "uptime": state.c.uptime_seconds,
    "seen": state.c.last_seen_at,
    "system": func.lower(machine.c.os),
    "agent": machine.c.agent_version,
}
"""What the fleet can be sorted by."""


@dataclass(frozen=True, slots=True)
class Filters:
    """Which machines, in which order. Retired ones only when asked for. An empty tuple means all.

    `labels` are spelled `key=value`: of one key any value may match, of several keys each must.
    """

    search: str = ""
    presences: tuple[str, ...] = ()
    healths: tuple[str, ...] = ()
    systems: tuple[str, ...] = ()
    versions: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    order: str = "health"
    descending: bool = False

    @property
    def described(self) -> "Filters":
        """Only what they say of what a machine is, whatever it is like now, in the usual order."""
        return Filters(search=self.search, systems=self.systems, versions=self.versions, labels=self.labels)


@dataclass(frozen=True, slots=True)
class Counts:
    """How many machines there are of each presence and health together."""

    numbers: Mapping[tuple[str, str], int]

    def of(self, presences: Sequence[str] = (), healths: Sequence[str] = ()) -> int:
        """How many are of one of these; as in Filters, none named means all, retired ones only when asked for."""
        return sum(
            number
            for (presence, health), number in self.numbers.items()
            if (presence in presences if presences else presence != RETIRED) and (not healths or health in healths)
        )


@dataclass(frozen=True, slots=True)
class Beat:
    """What the ingestor last said about itself."""

    at: int
    broker_connected: bool


def counts(engine: Engine, org_name: str, filters: Filters) -> Counts:
    """The machines that match what the filters say of what they are, counted by what they are like now."""
    columns = (PRESENCE_NOW.label("presence"), HEALTH_NOW.label("health"), func.count().label("number"))
    query = _machines(org_name, *columns).where(*_described(filters)).group_by("presence", "health")
    with engine.connect() as connection:
        return Counts({(row.presence, row.health): row.number for row in connection.execute(query)})


def page(engine: Engine, org_name: str, filters: Filters, *, offset: int, limit: int) -> tuple[tuple[str, ...], int]:
    """The names of the machines on one page, in order, and how many match in all."""
    found = narrowed(org_name, filters, machine.c.name)
    with engine.connect() as connection:
        names = connection.execute(found.order_by(*_order(filters)).offset(offset).limit(limit)).scalars().all()
        total = offset + len(names)
        if len(names) == limit or not names:
            total = connection.execute(select(func.count()).select_from(found.subquery())).scalar_one()
        return tuple(names), total


def matching(org_name: str, filters: Filters) -> Select[Any]:
    """The query for the names of all machines that match, in order."""
    return narrowed(org_name, filters, machine.c.name).order_by(*_order(filters))


def narrowed(org_name: str, filters: Filters, *columns: ColumnElement[Any]) -> Select[Any]:
    """The query for these columns of all machines that match, in no order."""
    return _machines(org_name, *columns).where(*_conditions(filters))


def rows(engine: Engine, org_name: str, names: Sequence[str]) -> list[Row[Any]]:
    """The machines with these names, in this order; those that are gone are left out."""
    query = _machines(org_name, *_row_columns()).where(machine.c.name.in_(names))
    with engine.connect() as connection:
        found = {row.name: row for row in connection.execute(query)}
    return [found[name] for name in names if name in found]


def detail(engine: Engine, org_name: str, name: str) -> Row[Any] | None:
    """Everything that is known about one machine now."""
    vitals = (state.c[vital] for vital in VITALS if vital not in _ROW_VITALS)
    columns = (machine.c.id, machine.c.info, *vitals)
    more = (state.c.extra, state.c.interval_seconds, state.c.sampled_at, state.c.clock_offset_milliseconds)
    query = _machines(org_name, *_row_columns(), *columns, *more).where(machine.c.name == name)
    with engine.connect() as connection:
        return connection.execute(query).first()


def transitions(engine: Engine, machine_id: int, *, limit: int) -> list[Row[Any]]:
    """The last changes of presence, newest first."""
    query = (
        select(transition.c.at, transition.c.before, transition.c.after, transition.c.reason)
        .where(transition.c.machine_id == machine_id)
        .order_by(transition.c.at.desc(), transition.c.id.desc())
        .limit(limit)
    )
    with engine.connect() as connection:
        return list(connection.execute(query))


def incidents(engine: Engine, org_name: str, *, limit: int) -> list[Row[Any]]:
    """The organisation's incidents and the whole system's: the open ones first, then the newest."""
    query = (
        select(incident.c.kind, incident.c.started_at, incident.c.ended_at, incident.c.details)
        .select_from(incident.outerjoin(org))
        .where(or_(incident.c.org_id.is_(None), org.c.name == org_name))
        .order_by(incident.c.ended_at.is_not(None), incident.c.started_at.desc(), incident.c.id.desc())
        .limit(limit)
    )
    with engine.connect() as connection:
        return list(connection.execute(query))


def ledger(engine: Engine, machine_id: int) -> Ledger:
    """Where the machine's samples are."""
    found = Ledger()
    with engine.connect() as connection:
        for row in connection.execute(select(stream).where(stream.c.machine_id == machine_id)):
            found.add(row)
    return found


def beat(engine: Engine) -> Beat | None:
    """The ingestor's last sign of life, or None when there never was one."""
    query = select(ingestor.c.beat_at, ingestor.c.broker_connected).order_by(ingestor.c.beat_at.desc()).limit(1)
    with engine.connect() as connection:
        row = connection.execute(query).first()
    return Beat(row.beat_at, row.broker_connected) if row else None


def thresholds(engine: Engine, org_name: str) -> Thresholds:
    """How the organisation judges its machines; as usual when it has not said, or said something unreadable."""
    with engine.connect() as connection:
        config = connection.execute(select(org.c.config).where(org.c.name == org_name)).scalar()
    return read_config(config).thresholds


_ROW_VITALS: Final = ("cpu_percent", "memory_percent", "disk_percent", "uptime_seconds")


def _row_columns() -> list[ColumnElement[Any]]:
    identity = [machine.c[name] for name in ("name", "hostname", "os", "os_version", "agent_version", "labels")]
    facts = [state.c[name] for name in ("reason", "since_at", "verified", "last_seen_at", "health_score")]
    return [
        *identity,
        *facts,
        *(state.c[name] for name in _ROW_VITALS),
        PRESENCE_NOW.label("presence"),
        HEALTH_NOW.label("health_status"),
    ]


def _machines(org_name: str, *columns: ColumnElement[Any]) -> Select[Any]:
    return (
        select(*columns)
        .select_from(
            machine.join(org, org.c.id == machine.c.org_id).outerjoin(state, state.c.machine_id == machine.c.id)
        )
        .where(org.c.name == org_name)
    )


def _conditions(filters: Filters) -> list[ColumnElement[bool]]:
    conditions = [PRESENCE_NOW.in_(filters.presences) if filters.presences else PRESENCE_NOW != RETIRED]
    if filters.healths:
        conditions.append(HEALTH_NOW.in_(filters.healths))
    return [*conditions, *_described(filters)]


def _described(filters: Filters) -> list[ColumnElement[bool]]:
    """The conditions about what a machine is, not about what it is like now."""
    conditions: list[ColumnElement[bool]] = []
    if filters.systems:
        conditions.append(machine.c.os.in_(filters.systems))
    if filters.versions:
        conditions.append(machine.c.agent_version.in_(filters.versions))
    conditions += _labelled(filters.labels)
    conditions += [_mentions(word) for word in filters.search.split()]
    return conditions


def _labelled(labels: Sequence[str]) -> list[ColumnElement[bool]]:
    wanted: dict[str, list[str]] = {}
    for label in labels:
        key, _, value = label.partition("=")
        wanted.setdefault(key, []).append(value)
    return [machine.c.labels[key].as_string().in_(values) for key, values in wanted.items()]


def _mentions(word: str) -> ColumnElement[bool]:
    """Every word must be found, in whichever field."""
    fields = (machine.c.name, machine.c.hostname, machine.c.os, machine.c.agent_version, cast(machine.c.labels, String))
    return or_(*(field.icontains(word, autoescape=True) for field in fields))


def _order(filters: Filters) -> list[ColumnElement[Any]]:
    """What was not measured comes last either way; equals are in the order of their names."""
    column = ORDERS.get(filters.order, ORDERS["health"])
    wanted = column.desc() if filters.descending else column.asc()
    return [wanted.nulls_last(), SHOWN_NAME.asc(), machine.c.name.asc()]
