"""Commands: their current state, their outcome and their history.

Invariants:
- A query that takes an organisation's name never returns a command of another organisation.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from sqlalchemy import ColumnElement, Engine, Row, Select, and_, select

from schemas.database.queries.fetch import fetch_all, fetch_first, fetch_where_in
from schemas.database.tables import command, command_transition, machine, org, request

WAITING: Final = ("queued", "sent", "running")
OUTCOMES: Final[Mapping[str, tuple[str, ...]]] = {
    "waiting": WAITING,
    "succeeded": ("succeeded",),
    "troubled": ("failed", "rejected", "timed-out", "expired", "cancelled"),
}
"""Groups of command states that the activity can be filtered by."""

_ROW: Final = (
    *(command.c[name] for name in ("id", "action", "state", "reason", "detail", "created_at", "ended_at")),
    *(machine.c.name.label("machine"), machine.c.hostname, request.c.actor, request.c.principal, request.c.batch),
)
_PLAIN: Final = (
    *("id", "org", "machine", "action", "arguments", "state", "reason", "detail", "exit_code", "attempts"),
    *("created_at", "sent_at", "running_at", "ended_at", "expires_at", "request", "batch", "principal", "actor"),
)
_PLAIN_TRANSITION: Final = ("at", "before", "after", "by", "reason", "detail")


def list_batch_commands(engine: Engine, org_name: str, batch_id: str, *, limit: int) -> list[Row[Any]]:
    """Return the commands of a batch, those that did not succeed first."""
    query = _commands(org_name).where(request.c.batch == batch_id)
    return fetch_all(engine, query.order_by(command.c.state == "succeeded", machine.c.name).limit(limit))


def find_recorded(engine: Engine, org_name: str, ids: Sequence[str]) -> dict[str, Row[Any]]:
    """Return the commands with these ids by id; a command that the ingestor has not recorded yet is missing."""
    return {row.id: row for row in fetch_where_in(engine, _commands(org_name), command.c.id, ids)}


def find_command(engine: Engine, org_name: str, id_: str) -> Row[Any] | None:
    """Return one command with its arguments and its output, or None."""
    more = ("arguments", "output", "output_truncated", "exit_code", "attempts", "expires_at", "key", "sent_at")
    return fetch_first(engine, _commands(org_name, *(command.c[name] for name in more)).where(command.c.id == id_))


def list_command_transitions(engine: Engine, org_name: str, id_: str) -> list[Row[Any]]:
    """Return each change of a command's state, oldest first."""
    known = _commands(org_name).where(command.c.id == id_).with_only_columns(command.c.id)
    query = select(command_transition).where(command_transition.c.command_id.in_(known))
    return fetch_all(engine, query.order_by(command_transition.c.at, command_transition.c.id))


def command_states(engine: Engine, ids: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Return state and outcome of the commands with these ids, by id, in whichever organisation they are."""
    names = ("id", "state", "reason", "detail", "exit_code", "output")
    query = select(*(command.c[name] for name in names))
    return {row.id: _plain(row, names) for row in fetch_where_in(engine, query, command.c.id, ids)}


def command_arguments(engine: Engine, ids: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Return the arguments of the commands with these ids, by id, in whichever organisation they are."""
    query = select(command.c.id, command.c.arguments)
    return {row.id: row.arguments for row in fetch_where_in(engine, query, command.c.id, ids)}


def is_pulling(engine: Engine, org_name: str, machine_name: str, id_: str) -> bool:
    """Return whether this command pulls a file from this machine and has no outcome yet."""
    query = _commands(org_name).where(command.c.id == id_, machine.c.name == machine_name, command.c.action == "pull")
    return fetch_first(engine, query.where(command.c.state.in_((*WAITING, "timed-out")))) is not None


def list_commands(
    engine: Engine,
    *,
    org_name: str | None = None,
    machine_name: str | None = None,
    state: str | None = None,
    limit: int = 100,
) -> list[dict[str, Any]]:
    """Return commands, newest first, in the form that `dashfleet commands --json` documents."""
    query = _plain_commands().order_by(command.c.created_at.desc(), command.c.id).limit(limit)
    for column, wanted in ((org.c.name, org_name), (machine.c.name, machine_name), (command.c.state, state)):
        query = query if wanted is None else query.where(column == wanted)
    return [_plain(row, _PLAIN) for row in fetch_all(engine, query)]


def show_command(engine: Engine, id_: str) -> dict[str, Any] | None:
    """Return one command with its output, the signed order and its transitions, or None; the form as for the list."""
    row = fetch_first(engine, _plain_commands().where(command.c.id == id_))
    if row is None:
        return None
    history = select(command_transition).where(command_transition.c.command_id == id_).order_by(command_transition.c.id)
    return {
        **_plain(row, (*_PLAIN, "output", "output_truncated", "key")),
        "order": json.loads(row.statement),
        "history": [_plain(change, _PLAIN_TRANSITION) for change in fetch_all(engine, history)],
    }


def _commands(org_name: str, *more: ColumnElement[Any]) -> Select[Any]:
    return _joined(*_ROW, *more).where(org.c.name == org_name)


def _plain_commands() -> Select[Any]:
    names = (org.c.name.label("org"), machine.c.name.label("machine"), command.c.request_id.label("request"))
    return _joined(command, *names, request.c.principal, request.c.actor, request.c.batch)


def _joined(*columns: Any) -> Select[Any]:  # noqa: ANN401 - columns, or a table for all of its columns
    of_org = and_(machine.c.id == command.c.machine_id, machine.c.org_id == org.c.id)
    joined = request.join(org, org.c.id == request.c.org_id).join(command, command.c.request_id == request.c.id)
    return select(*columns).select_from(joined.join(machine, of_org))


def _plain(row: Row[Any], names: Sequence[str]) -> dict[str, Any]:
    return {name: getattr(row, name) for name in names}
