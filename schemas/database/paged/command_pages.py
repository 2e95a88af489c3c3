"""Commands of an organisation, the newest first, and one command with its output.

Invariant: every query is restricted to one organisation, given by name.
"""

from typing import Any, Final

from sqlalchemy import Engine, Row, Select, and_, or_, select

from schemas.database.queries.fetch import fetch_all, fetch_first
from schemas.database.tables import command, machine, org, request

_LISTED: Final = tuple(
    command.c[name]
    for name in (
        *("id", "action", "arguments", "state", "reason", "detail", "exit_code", "attempts"),
        *("created_at", "sent_at", "running_at", "ended_at", "expires_at", "request_id"),
    )
)


def list_command_page(
    engine: Engine,
    org_name: str,
    *,
    machine_name: str = "",
    state: str = "",
    batch: str = "",
    after: tuple[int, str] | None = None,
    limit: int,
) -> list[Row[Any]]:
    """Return commands, the newest first; an empty text means all. `after`: creation time and id of the last one."""
    query = _commands(org_name, *_LISTED)
    for column, value in ((machine.c.name, machine_name), (command.c.state, state), (request.c.batch, batch)):
        query = query.where(column == value) if value else query
    if after is not None:
        at, id_ = after
        same = and_(command.c.created_at == at, command.c.id < id_)
        query = query.where(command.c.created_at <= at, or_(command.c.created_at < at, same))
    query = query.order_by(command.c.created_at.desc(), command.c.id.desc())
    return fetch_all(engine, query.limit(limit))


def find_whole_command(engine: Engine, org_name: str, id_: str) -> Row[Any] | None:
    """Return one command with its output, or None."""
    more = (command.c.output, command.c.output_truncated)
    return fetch_first(engine, _commands(org_name, *_LISTED, *more).where(command.c.id == id_))


def _commands(org_name: str, *columns: Any) -> Select[Any]:  # noqa: ANN401 - columns
    names = (machine.c.name.label("machine"), request.c.batch, request.c.principal, request.c.actor)
    of_org = and_(machine.c.id == command.c.machine_id, machine.c.org_id == org.c.id)
    joined = request.join(org, org.c.id == request.c.org_id).join(command, command.c.request_id == request.c.id)
    return select(*columns, *names).select_from(joined.join(machine, of_org)).where(org.c.name == org_name)
