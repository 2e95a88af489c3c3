"""The dashboard's SQL about actions: what machines allow, what was asked of them, and what became of it.

Invariants:
- Every query takes the organisation, by its name, and never finds another's.
- What somebody asked for together, perhaps in several requests, is one batch.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from sqlalchemy import ColumnElement, Engine, Row, Select, Text, and_, cast, func, or_, select

from schemas.contract.action_catalogue import Target, target
from schemas.database.queries.machines import RETIRED, Filters, matching
from schemas.database.tables import command, command_transition, machine, org, request, state

SELECTION_MAX: Final = 10_000
_CHUNK: Final = 500

WAITING: Final = ("queued", "sent", "running")
TROUBLED: Final = ("failed", "rejected", "timed-out", "expired", "cancelled")
OUTCOMES: Final[Mapping[str, tuple[str, ...]]] = {
    "waiting": WAITING,
    "succeeded": ("succeeded",),
    "troubled": TROUBLED,
}
"""What the activity can be narrowed to."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which batches: with one command at least that ended so, and that mention every word."""

    search: str = ""
    outcome: str = ""


@dataclass(slots=True)
class Batch:
    """What somebody asked of some machines at once. `refused`: why the ingestor took none, or not all, of it."""

    id: str
    at: int
    actor: str
    principal: str
    refused: str = ""
    action: str = ""
    machine: str = ""
    states: dict[str, int] = field(default_factory=dict)

    @property
    def machines(self) -> int:
        """How many machines it is about."""
        return sum(self.states.values())


def targets(engine: Engine, org_name: str, names: Sequence[str]) -> list[Target]:
    """The machines with these names, in this order; those that are gone or retired are left out."""
    presence = func.coalesce(state.c.presence, "unknown")
    said = [cast(machine.c.info[name], Text).label(f"its_{name}") for name in ("actions", "keys")]
    query = (
        select(machine.c.name, machine.c.hostname, presence.label("presence"), *said)
        .select_from(machine.join(org, org.c.id == machine.c.org_id).outerjoin(state))
        .where(org.c.name == org_name, presence != RETIRED)
    )
    found: dict[str, Target] = {}
    with engine.connect() as connection:
        for start in range(0, len(names), _CHUNK):
            for row in connection.execute(query.where(machine.c.name.in_(names[start : start + _CHUNK]))):
                found[row.name] = target(
                    row.name, hostname=row.hostname, presence=row.presence, actions=row.its_actions, keys=row.its_keys
                )
    return [found[name] for name in names if name in found]


def matching_names(engine: Engine, org_name: str, filters: Filters) -> tuple[str, ...]:
    """The names of all machines that match the filters, SELECTION_MAX at most."""
    with engine.connect() as connection:
        return tuple(connection.execute(matching(org_name, filters).limit(SELECTION_MAX)).scalars())


def batches(engine: Engine, org_name: str, wanted: Wanted, *, offset: int, limit: int) -> list[Batch]:
    """What was asked, the newest first."""
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
    with engine.connect() as connection:
        ids = [row.batch for row in connection.execute(query)]
    found = _described(engine, org_name, ids)
    return [found[id_] for id_ in ids if id_ in found]


def batch(engine: Engine, org_name: str, id_: str) -> Batch | None:
    """One batch."""
    return _described(engine, org_name, [id_]).get(id_)


def commands_of(engine: Engine, org_name: str, batch_id: str, *, limit: int) -> list[Row[Any]]:
    """The commands of a batch, those first that did not succeed."""
    query = _commands(org_name).where(request.c.batch == batch_id)
    with engine.connect() as connection:
        return list(connection.execute(query.order_by(command.c.state == "succeeded", machine.c.name).limit(limit)))


def recorded(engine: Engine, org_name: str, ids: Sequence[str]) -> dict[str, Row[Any]]:
    """Those of these commands that the ingestor has recorded, by id."""
    found: dict[str, Row[Any]] = {}
    with engine.connect() as connection:
        for start in range(0, len(ids), _CHUNK):
            query = _commands(org_name).where(command.c.id.in_(ids[start : start + _CHUNK]))
            found.update({row.id: row for row in connection.execute(query)})
    return found


def refusals(engine: Engine, org_name: str, ids: Sequence[str]) -> dict[str, str]:
    """Those of these requests that were refused, with the reason."""
    query = _requests(org_name, request.c.id, request.c.detail).where(
        request.c.id.in_(ids), request.c.state == "refused"
    )
    with engine.connect() as connection:
        return {row.id: row.detail for row in connection.execute(query)}


def last_commands(engine: Engine, org_name: str, name: str, *, limit: int) -> list[Row[Any]]:
    """A machine's commands, the newest first."""
    query = _commands(org_name).where(machine.c.name == name).order_by(command.c.created_at.desc(), command.c.id)
    with engine.connect() as connection:
        return list(connection.execute(query.limit(limit)))


def one_command(engine: Engine, org_name: str, id_: str) -> Row[Any] | None:
    """Everything about one command."""
    more = ("arguments", "output", "output_truncated", "exit_code", "attempts", "expires_at", "key", "sent_at")
    query = _commands(org_name, *(command.c[name] for name in more)).where(command.c.id == id_)
    with engine.connect() as connection:
        return connection.execute(query).first()


def history(engine: Engine, org_name: str, id_: str) -> list[Row[Any]]:
    """Each change of a command's state, the oldest first."""
    known = _commands(org_name).where(command.c.id == id_).with_only_columns(command.c.id)
    query = (
        select(command_transition)
        .where(command_transition.c.command_id.in_(known))
        .order_by(command_transition.c.at, command_transition.c.id)
    )
    with engine.connect() as connection:
        return list(connection.execute(query))


def _described(engine: Engine, org_name: str, ids: Sequence[str]) -> dict[str, Batch]:
    """The batches with these ids: who asked, and how many commands are in which state."""
    columns = [request.c[name] for name in ("batch", "created_at", "actor", "principal", "state", "detail")]
    asked = _requests(org_name, *columns).where(request.c.batch.in_(ids), request.c.kind == "act")
    ended = (
        _requests(
            org_name,
            request.c.batch,
            command.c.action,
            command.c.state,
            func.count().label("number"),
            func.min(machine.c.name).label("first"),
        )
        .join(command, command.c.request_id == request.c.id)
        .join(machine)
        .where(request.c.batch.in_(ids))
        .group_by(request.c.batch, command.c.action, command.c.state)
    )
    found: dict[str, Batch] = {}
    with engine.connect() as connection:
        for row in connection.execute(asked.order_by(request.c.created_at)):
            known = found.setdefault(row.batch, Batch(row.batch, row.created_at, row.actor, row.principal))
            if row.state != "accepted":
                known.refused = row.detail or row.state
        for row in connection.execute(ended):
            known = found[row.batch]
            known.action = row.action
            known.machine = min(known.machine or row.first, row.first)
            known.states[row.state] = known.states.get(row.state, 0) + row.number
    return found


def _requests(org_name: str, *columns: ColumnElement[Any]) -> Select[Any]:
    return select(*columns).select_from(request.join(org, org.c.id == request.c.org_id)).where(org.c.name == org_name)


def _commands(org_name: str, *more: ColumnElement[Any]) -> Select[Any]:
    names = ("id", "action", "state", "reason", "detail", "created_at", "ended_at")
    return (
        _requests(
            org_name,
            *(command.c[name] for name in names),
            machine.c.name.label("machine"),
            machine.c.hostname,
            request.c.actor,
            request.c.principal,
            request.c.batch,
            *more,
        )
        .join_from(request, command, command.c.request_id == request.c.id)
        .join_from(command, machine, and_(machine.c.id == command.c.machine_id, machine.c.org_id == org.c.id))
    )


def _conditions(wanted: Wanted) -> list[ColumnElement[bool]]:
    conditions = [_mentions(word) for word in wanted.search.split()]
    if wanted.outcome in OUTCOMES:
        refused = [request.c.state == "refused"] if wanted.outcome == "troubled" else []
        conditions.append(or_(command.c.state.in_(OUTCOMES[wanted.outcome]), *refused))
    return conditions


def _mentions(word: str) -> ColumnElement[bool]:
    fields = (request.c.actor, command.c.action, machine.c.name, machine.c.hostname)
    return or_(*(each.icontains(word, autoescape=True) for each in fields))
