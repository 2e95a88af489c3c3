"""Open and ended alerts of one machine, and for the command line. See `problems` for an organisation."""

from typing import Any

from sqlalchemy import ColumnElement, Engine, Row, Select, select

from schemas.database.queries.fetch import fetch_all
from schemas.database.tables import alert, machine, org


def list_machine_alerts(engine: Engine, org_name: str, name: str, *, limit: int) -> list[Row[Any]]:
    """Return one machine's alerts: open ones first, then the last ended."""
    order = (alert.c.ended_at.is_not(None), alert.c.started_at.desc(), alert.c.id.desc())
    return fetch_all(engine, _alerts(org.c.name == org_name, machine.c.name == name).order_by(*order).limit(limit))


def list_alerts(
    engine: Engine,
    *,
    org_name: str | None = None,
    machine_name: str | None = None,
    over: bool = False,
    limit: int = 100,
) -> list[dict[str, Any]]:
    """Return open alerts (`over`: also ended ones), newest first, as `dashfleet alerts --json` documents them."""
    query = _alerts().order_by(alert.c.started_at.desc(), alert.c.id.desc()).limit(limit)
    query = query if over else query.where(alert.c.ended_at.is_(None))
    for column, wanted in ((org.c.name, org_name), (machine.c.name, machine_name)):
        query = query if wanted is None else query.where(column == wanted)
    fields = ("org", "machine", "rule", "title", "severity", "detail", "started_at", "ended_at")
    return [{name: getattr(row, name) for name in fields} for row in fetch_all(engine, query)]


def _alerts(*conditions: ColumnElement[bool]) -> Select[Any]:
    names = (machine.c.name, machine.c.hostname, machine.c.name.label("machine"), org.c.name.label("org"))
    return select(alert, *names).select_from(alert.join(machine).join(org)).where(*conditions)
