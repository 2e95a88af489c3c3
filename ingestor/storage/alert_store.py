"""The SQL of alerts."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Engine, Select, select
from sqlalchemy.engine import Connection

from ingestor.alerts.engine import ENDED_MAX, Alert
from schemas.database.tables import alert, machine, org


def read_alerts(engine: Engine) -> tuple[list[Alert], list[Alert]]:
    """Those that last, and the ENDED_MAX that ended last."""
    columns = (alert, machine.c.name, org.c.name.label("org"))
    query = select(*columns).select_from(alert.join(machine).join(org))
    ended = query.where(alert.c.ended_at.is_not(None)).order_by(alert.c.ended_at.desc()).limit(ENDED_MAX)
    with engine.connect() as connection:
        return _found(connection, query.where(alert.c.ended_at.is_(None))), _found(connection, ended)


def write_alerts(connection: Connection, alerts: Sequence[Alert]) -> None:
    """Store what began and what ended."""
    for changed in alerts:
        if changed.id is not None:
            connection.execute(alert.update().where(alert.c.id == changed.id).values(ended_at=changed.ended_at))
            continue
        begun = {
            "machine_id": changed.machine,
            "rule": changed.rule,
            "title": changed.title,
            "severity": changed.severity,
            "detail": changed.detail,
            "started_at": changed.started_at,
            "ended_at": changed.ended_at,
        }
        key = connection.execute(alert.insert().values(begun)).inserted_primary_key
        changed.id = None if key is None else int(key[0])


def _found(connection: Connection, query: Select[Any]) -> list[Alert]:
    return [
        Alert(
            row.machine_id,
            row.org,
            row.name,
            row.rule,
            row.title,
            row.severity,
            row.started_at,
            row.detail,
            row.ended_at,
            row.id,
        )
        for row in connection.execute(query)
    ]
