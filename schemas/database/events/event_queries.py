"""Events of an organisation or of one machine in a time range, newest first: the data of the timeline.

Invariants:
- Every query is restricted to one organisation, given by name, and returns at most `limit` rows.
- Rows of few machines are found by machine and time; those of many machines by time alone, where a large share of the
  rows is theirs. So the rows that are read do not grow with the age of the fleet.
"""

from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import ColumnElement, Engine, Row, Select, String, Subquery, Table, and_, cast, func, or_, select

from schemas.database.queries.fetch import fetch_all
from schemas.database.tables import alert, command, incident, machine, org, request, transition
from schemas.database.text_search import contains, contains_each

FEW_MACHINES: Final = 500
"""Up to this number of machines, each machine's rows are looked up."""

NO_END: Final = 1 << 60
"""An end after every event, whichever clock its time is from."""

ACT: Final = "act"
_OF_A_MACHINE: Final = ("retire-machine", "reinstate-machine")
"""Kinds of requests whose detail is the id of the machine that they change."""


@dataclass(frozen=True, slots=True)
class EventRange:
    """A selection of events: from `start` until before `end` (milliseconds), and those at `end` with a lower key.

    `machine`: id of a machine; empty for all. `search`: words, each of which must occur in an event.
    """

    start: int
    end: int
    machine: str = ""
    search: str = ""
    limit: int = 50
    below_key: int | str | None = None


def list_presence_events(engine: Engine, org_name: str, wanted: EventRange) -> list[Row[Any]]:
    """Return presence transitions with the time of the machine's next one; the search is in machine names."""
    page = page_of(
        transition, transition.c.at, wanted, of_machines(engine, org_name, wanted, transition, wanted.search)
    )
    later = transition.alias()
    following = and_(later.c.machine_id == page.c.machine_id, later.c.at >= page.c.at, later.c.id > page.c.id)
    next_at = select(later.c.at).where(following).order_by(later.c.at, later.c.id).limit(1).scalar_subquery()
    return with_machines(engine, page, "at", next_at.label("ended_at"))


def list_alert_events(engine: Engine, org_name: str, wanted: EventRange) -> list[Row[Any]]:
    """Return alerts by the time at which they began."""
    names = machine.c.name + " " + func.coalesce(machine.c.hostname, "")
    of_machine = select(names).where(machine.c.id == alert.c.machine_id).scalar_subquery()
    fields = (alert.c.title, alert.c.detail, of_machine)
    mine = of_machines(engine, org_name, wanted, alert)
    page = page_of(alert, alert.c.started_at, wanted, mine, *contains_each(wanted.search, *fields))
    return with_machines(engine, page, "started_at")


def list_command_events(engine: Engine, org_name: str, wanted: EventRange) -> list[Row[Any]]:
    """Return the commands of one machine with their requester."""
    mine = of_machines(engine, org_name, wanted, command)
    page = page_of(command, command.c.created_at, wanted, mine, *contains_each(wanted.search, command.c.action))
    query = (
        select(page, request.c.actor, request.c.principal)
        .join(request, request.c.id == page.c.request_id)
        .order_by(page.c.created_at.desc(), page.c.id.desc())
    )
    return fetch_all(engine, query)


def list_batch_events(engine: Engine, org_name: str, wanted: EventRange) -> list[Row[Any]]:
    """Return the first request of each batch of commands."""
    earlier = request.alias()
    before = or_(
        earlier.c.created_at < request.c.created_at,
        and_(earlier.c.created_at == request.c.created_at, earlier.c.id < request.c.id),
    )
    first = ~select(earlier.c.id).where(earlier.c.batch == request.c.batch, before).exists()
    actions = select(command.c.id).join_from(command, machine).where(command.c.request_id == request.c.id)
    conditions = [
        or_(
            contains(word, request.c.actor, request.c.principal),
            actions.where(contains(word, *_COMMAND_FIELDS)).exists(),
        )
        for word in wanted.search.split()
    ]
    return _requests(engine, org_name, wanted, request.c.kind == ACT, first, *conditions)


def list_change_events(engine: Engine, org_name: str, wanted: EventRange) -> list[Row[Any]]:
    """Return the requests other than actions; for one machine those that retire it or return it to service."""
    found = request.c.kind != ACT
    if wanted.machine:
        found = request.c.kind.in_(_OF_A_MACHINE) & (request.c.detail == wanted.machine)
    fields = (request.c.actor, request.c.principal, request.c.detail, request.c.kind)
    return _requests(engine, org_name, wanted, found, *contains_each(wanted.search, *fields))


def list_incident_events(engine: Engine, org_name: str, wanted: EventRange) -> list[Row[Any]]:
    """Return incidents of the organisation, and those of the system since it exists."""
    mine = select(org.c.id).where(org.c.name == org_name)
    ours = incident.c.org_id == mine.scalar_subquery()
    since = mine.where(org.c.created_at <= incident.c.started_at)
    details = cast(incident.c.details, String)
    named = [details.contains(f'"{wanted.machine}"', autoescape=True)] if wanted.machine else []
    scope = or_(ours, and_(incident.c.org_id.is_(None), since.exists()))
    words = contains_each(wanted.search, details, incident.c.kind)
    page = page_of(incident, incident.c.started_at, wanted, scope, *named, *words)
    return fetch_all(engine, select(page).order_by(page.c.started_at.desc(), page.c.id.desc()))


def select_newest(
    table: Table, at: ColumnElement[int], wanted: EventRange, *conditions: ColumnElement[bool]
) -> Select[Any]:
    """Return the query for the newest rows of the range. `at`: column of the time; the key is the column `id`."""
    until = at < wanted.end
    if wanted.below_key is not None:
        until = and_(at <= wanted.end, or_(at < wanted.end, table.c.id < wanted.below_key))
    query = select(table).where(at >= wanted.start, until, *conditions)
    return query.order_by(at.desc(), table.c.id.desc()).limit(wanted.limit)


_COMMAND_FIELDS: Final = (command.c.action, machine.c.name, machine.c.hostname)


def _requests(engine: Engine, org_name: str, wanted: EventRange, *conditions: ColumnElement[bool]) -> list[Row[Any]]:
    mine = request.c.org_id == select(org.c.id).where(org.c.name == org_name).scalar_subquery()
    page = page_of(request, request.c.created_at, wanted, mine, *conditions)
    return fetch_all(engine, select(page).order_by(page.c.created_at.desc(), page.c.id.desc()))


def page_of(table: Table, at: ColumnElement[int], wanted: EventRange, *conditions: ColumnElement[bool]) -> Subquery:
    """Return the newest rows of the range. In a subquery: joins must not change how they are found."""
    return select_newest(table, at, wanted, *conditions).subquery()


def of_machines(
    engine: Engine, org_name: str, wanted: EventRange, table: Table, search: str = ""
) -> ColumnElement[bool]:
    """Return the condition for the rows of the wanted machines."""
    fields = (machine.c.name, machine.c.hostname)
    mine: Select[Any] = select(machine.c.id).where(*contains_each(search, *fields))
    mine = mine.where(machine.c.org_id == select(org.c.id).where(org.c.name == org_name).scalar_subquery())
    if wanted.machine:
        mine = mine.where(machine.c.name == wanted.machine)
    few = fetch_all(engine, mine.limit(FEW_MACHINES + 1))
    if len(few) <= FEW_MACHINES:
        return table.c.machine_id.in_([row.id for row in few])
    return mine.where(machine.c.id == table.c.machine_id).exists()


def with_machines(engine: Engine, page: Subquery, at: str, *more: ColumnElement[Any]) -> list[Row[Any]]:
    """Return the rows of a page, sorted again by the column `at`, with the names of their machines."""
    query = (
        select(page, machine.c.name, machine.c.hostname, *more)
        .join(machine, machine.c.id == page.c.machine_id)
        .order_by(page.c[at].desc(), page.c.id.desc())
    )
    return fetch_all(engine, query)
