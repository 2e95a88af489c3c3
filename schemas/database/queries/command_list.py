"""What became of commands, for the command line: a list, and one with its whole history, as plain dicts for JSON."""

import json
from typing import Any

from sqlalchemy import Engine, Row, Select, select

from schemas.database import tables

_COMMAND, _REQUEST, _TRANSITION = tables.command, tables.request, tables.command_transition


def list_commands(
    engine: Engine, *, org: str | None = None, machine: str | None = None, state: str | None = None, limit: int = 100
) -> list[dict[str, Any]]:
    """The newest commands first, at most `limit`; of one organisation, machine or state when it is given."""
    query = _query().order_by(_COMMAND.c.created_at.desc(), _COMMAND.c.id).limit(limit)
    for column, wanted in ((tables.org.c.name, org), (tables.machine.c.name, machine), (_COMMAND.c.state, state)):
        query = query if wanted is None else query.where(column == wanted)
    with engine.connect() as connection:
        return [_plain(row) for row in connection.execute(query)]


def show_command(engine: Engine, id_: str) -> dict[str, Any] | None:
    """One command with what it printed, who asked for it, the signed order and each change of its state, or None."""
    history = select(_TRANSITION).where(_TRANSITION.c.command_id == id_).order_by(_TRANSITION.c.id)
    with engine.connect() as connection:
        row = connection.execute(_query().where(_COMMAND.c.id == id_)).one_or_none()
        if row is None:
            return None
        changes = connection.execute(history).all()
    return {
        **_plain(row),
        "output": row.output,
        "output_truncated": row.output_truncated,
        "key": row.key,
        "order": json.loads(row.statement),
        "history": [
            {"at": change.at, "before": change.before, "after": change.after, "by": change.by}
            | {"reason": change.reason, "detail": change.detail}
            for change in changes
        ],
    }


def _query() -> Select[Any]:
    return (
        select(
            _COMMAND,
            tables.org.c.name.label("org"),
            tables.machine.c.name.label("machine"),
            _REQUEST.c.principal,
            _REQUEST.c.actor,
            _REQUEST.c.batch,
        )
        .join(_REQUEST, _COMMAND.c.request_id == _REQUEST.c.id)
        .join(tables.machine, _COMMAND.c.machine_id == tables.machine.c.id)
        .join(tables.org, tables.machine.c.org_id == tables.org.c.id)
    )


def _plain(row: Row[Any]) -> dict[str, Any]:
    return {
        "id": row.id,
        "org": row.org,
        "machine": row.machine,
        "action": row.action,
        "arguments": row.arguments,
        "state": row.state,
        "reason": row.reason,
        "detail": row.detail,
        "exit_code": row.exit_code,
        "attempts": row.attempts,
        "created_at": row.created_at,
        "sent_at": row.sent_at,
        "running_at": row.running_at,
        "ended_at": row.ended_at,
        "expires_at": row.expires_at,
        "request": row.request_id,
        "batch": row.batch,
        "principal": row.principal,
        "actor": row.actor,
    }
