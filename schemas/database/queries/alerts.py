"""The SQL of alerts, on an engine that cannot write. Every query takes the organisation, by its name."""

from typing import Any

from sqlalchemy import ColumnElement, Engine, Row, Select, select

from schemas.database.tables import alert, machine, org


def alerts(engine: Engine, org_name: str, *, limit: int) -> list[Row[Any]]:
    """The organisation's alerts: those that last, the critical ones first, then what ended, the newest first."""
    severe: ColumnElement[bool] = alert.c.severity == "critical"
    order = (alert.c.ended_at.is_not(None), alert.c.ended_at.desc(), severe.desc(), alert.c.started_at.desc())
    return _read(engine, _of(org_name).order_by(*order, alert.c.id.desc()).limit(limit))


def of_machine(engine: Engine, org_name: str, name: str, *, limit: int) -> list[Row[Any]]:
    """One machine's alerts, the same way."""
    order = (alert.c.ended_at.is_not(None), alert.c.started_at.desc(), alert.c.id.desc())
    return _read(engine, _of(org_name).where(machine.c.name == name).order_by(*order).limit(limit))


def _of(org_name: str) -> Select[Any]:
    columns = (alert, machine.c.name, machine.c.hostname)
    return select(*columns).select_from(alert.join(machine).join(org)).where(org.c.name == org_name)


def _read(engine: Engine, query: Select[Any]) -> list[Row[Any]]:
    with engine.connect() as connection:
        return list(connection.execute(query))
