"""Alerts for the command line: a list, as plain dicts for JSON."""

from typing import Any

from sqlalchemy import Engine, select

from schemas.database import tables

_ALERT = tables.alert


def list_alerts(
    engine: Engine, *, org: str | None = None, machine: str | None = None, over: bool = False, limit: int = 100
) -> list[dict[str, Any]]:
    """The alerts that last, or with `over` also those that ended, the newest first, at most `limit`."""
    names = (tables.org.c.name.label("org"), tables.machine.c.name.label("machine"))
    query = select(_ALERT, *names).select_from(_ALERT.join(tables.machine).join(tables.org))
    query = query.order_by(_ALERT.c.started_at.desc(), _ALERT.c.id.desc()).limit(limit)
    for column, wanted in ((tables.org.c.name, org), (tables.machine.c.name, machine)):
        query = query if wanted is None else query.where(column == wanted)
    if not over:
        query = query.where(_ALERT.c.ended_at.is_(None))
    fields = ("org", "machine", "rule", "title", "severity", "detail", "started_at", "ended_at")
    with engine.connect() as connection:
        return [{name: getattr(row, name) for name in fields} for row in connection.execute(query)]
