"""Requests: batches of commands for the activity page, answers, and administrative changes.

Invariants:
- Every query is restricted to one organisation, given by name.
- Requests of one selection share a batch and are shown as one.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import ColumnElement, Engine, Row, Select, func, or_, select

from schemas.database.queries.commands import OUTCOMES
from schemas.database.queries.fetch import fetch_all, fetch_where_in
from schemas.database.tables import command, machine, org, request
from schemas.database.text_search import contains_each


@dataclass(frozen=True, slots=True)
class BatchFilter:
    """A selection of batches: those in which each word of `search` occurs and a command has an outcome of OUTCOMES."""

    search: str = ""
    outcome: str = ""


@dataclass(slots=True)
class CommandBatch:
    """The requests of one selection. `refused` is why the ingestor accepted none, or not all, of them.

    `machine` is the first machine; `hostname` is its hostname if there is no other.
    """

    id: str
    at: int
    actor: str
    principal: str
    refused: str = ""
    action: str = ""
    machine: str = ""
    hostname: str = ""
    states: dict[str, int] = field(default_factory=dict)

    @property
    def machines(self) -> int:
        """Number of machines, each with one command."""
        return sum(self.states.values())


def list_batches(engine: Engine, org_name: str, wanted: BatchFilter, *, offset: int, limit: int) -> list[CommandBatch]:
    """Return batches, newest first."""
    at = func.min(request.c.created_at)
    query = (
        _requests(org_name, request.c.batch, at.label("at"))
        .where(request.c.kind == "act", *_conditions(wanted))
        .group_by(request.c.batch)
        .order_by(at.desc(), request.c.batch)
        .offset(offset)
        .limit(limit)
    )
    if wanted.search or wanted.outcome:
        query = query.outerjoin(command, command.c.request_id == request.c.id).outerjoin(machine)
    ids = [row.batch for row in fetch_all(engine, query)]
    found = describe_batches(engine, org_name, ids)
    return [found[id_] for id_ in ids if id_ in found]


def find_batch(engine: Engine, org_name: str, id_: str) -> CommandBatch | None:
    """Return one batch, or None."""
    return describe_batches(engine, org_name, [id_]).get(id_)


def find_answers(engine: Engine, org_name: str, ids: Sequence[str]) -> dict[str, Row[Any]]:
    """Return state and detail of the requests with these ids, by id; one that is not recorded yet is missing."""
    query = _requests(org_name, request.c.id, request.c.state, request.c.detail)
    return {row.id: row for row in fetch_where_in(engine, query, request.c.id, ids)}


def find_refusals(engine: Engine, org_name: str, ids: Sequence[str]) -> dict[str, str]:
    """Return the reasons of those of these requests that were refused, by id."""
    answers = find_answers(engine, org_name, ids).values()
    return {row.id: row.detail for row in answers if row.state == "refused"}


def describe_batches(engine: Engine, org_name: str, ids: Sequence[str]) -> dict[str, CommandBatch]:
    """Return the batches with these ids by id, with the number of commands per state."""
    columns = [request.c[name] for name in ("batch", "created_at", "actor", "principal", "state", "detail")]
    asked = _requests(org_name, *columns).where(request.c.batch.in_(ids), request.c.kind == "act")
    key = (request.c.batch, command.c.action, command.c.state)
    hostname = func.min(machine.c.hostname).label("hostname")  # of the only machine, if there is one
    ended = (
        _requests(org_name, *key, func.count().label("number"), func.min(machine.c.name).label("first"), hostname)
        .join(command, command.c.request_id == request.c.id)
        .join(machine)
        .where(request.c.batch.in_(ids))
        .group_by(*key)
    )
    counted = fetch_all(engine, ended)  # before the requests, which are recorded with or before their commands
    found: dict[str, CommandBatch] = {}
    for row in fetch_all(engine, asked.order_by(request.c.created_at)):
        known = found.setdefault(row.batch, CommandBatch(row.batch, row.created_at, row.actor, row.principal))
        if row.state != "accepted":
            known.refused = row.detail or row.state
    for row in counted:
        if row.batch not in found:
            continue  # deleted since it was counted
        known = found[row.batch]
        known.action = row.action
        known.machine = min(known.machine or row.first, row.first)
        known.hostname = row.hostname or ""
        known.states[row.state] = known.states.get(row.state, 0) + row.number
    return found


def _requests(org_name: str, *columns: ColumnElement[Any]) -> Select[Any]:
    return select(*columns).select_from(request.join(org, org.c.id == request.c.org_id)).where(org.c.name == org_name)


def _conditions(wanted: BatchFilter) -> list[ColumnElement[bool]]:
    fields = (request.c.actor, command.c.action, machine.c.name, machine.c.hostname)
    conditions = contains_each(wanted.search, *fields)
    if wanted.outcome in OUTCOMES:
        refused = [request.c.state == "refused"] if wanted.outcome == "troubled" else []
        conditions.append(or_(command.c.state.in_(OUTCOMES[wanted.outcome]), *refused))
    return conditions
