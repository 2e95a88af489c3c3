"""The SQL of incidents and alerts: a row is inserted at the start, and updated until the end.

Durations of rules that have begun are rows until they are over.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Engine, Row, Select, Table, bindparam, delete, insert, select
from sqlalchemy.engine import Connection

from ingestor.domain.alert import Alert, AlertKey
from ingestor.domain.batch import PendingDecision
from ingestor.domain.incidents import Incident, Kind
from schemas.contract.alerts import Acknowledgement
from schemas.database.tables import alert, incident, machine, org, pending_decision, retracted_alert

ENDED_MAX = 1000
"""Number of ended alerts, and of ended incidents, whose retained message is cleared again after a start."""

RECENT_MAX = 10_000
"""Number of alerts that ended lately, whose end is published again after a start."""


_FIXED = ("rule", "title", "severity", "unit", "past")
_CHANGING = ("started_at", "ended_at", "closed_at", "detail", "value", "silenced_until", "silence_reason", "withdrawn")
"""Columns of an alert that change: data that arrive late may correct its begin and its value."""

_ACKNOWLEDGED = ("acknowledged_at", "acknowledged_by", "acknowledged_comment")


def read_incidents(engine: Engine) -> list[Incident]:
    """Return the open incidents, and the ENDED_MAX that ended last."""
    query = select(incident, org.c.name.label("org")).select_from(incident.outerjoin(org))
    ended = query.where(incident.c.ended_at.is_not(None)).order_by(incident.c.started_at.desc()).limit(ENDED_MAX)
    with engine.connect() as connection:
        rows = [*connection.execute(query.where(incident.c.ended_at.is_(None))), *connection.execute(ended)]
    return [Incident(Kind(row.kind), row.org or "", row.started_at, row.details, row.ended_at, row.id) for row in rows]


def read_alerts(engine: Engine, recent_from: int) -> tuple[list[Alert], list[Alert]]:
    """Return the open alerts, and the ended and the retracted ones: of each kind those whose end became known since
    `recent_from`, at most RECENT_MAX, and at least the ENDED_MAX that ended last.
    """
    with engine.connect() as connection:
        open_ = _alerts(connection, _joined(alert).where(alert.c.ended_at.is_(None)))
        return open_, [each for table in (alert, retracted_alert) for each in _ended(connection, table, recent_from)]


def _ended(connection: Connection, table: Table, recent_from: int) -> list[Alert]:
    ended = _joined(table).where(table.c.ended_at.is_not(None)).order_by(table.c.ended_at.desc())
    recent = _alerts(connection, ended.where(table.c.closed_at >= recent_from).limit(RECENT_MAX))
    return recent if len(recent) >= ENDED_MAX else _alerts(connection, ended.limit(ENDED_MAX))


def _joined(table: Table) -> Select[Any]:
    return select(table, machine.c.name, org.c.name.label("org")).select_from(table.join(machine).join(org))


def read_acknowledgements(engine: Engine) -> dict[int, Acknowledgement]:
    """Return who has acknowledged which open alerts, by the id of the alert."""
    query: Select[Any] = select(alert).where(alert.c.ended_at.is_(None), alert.c.acknowledged_at.is_not(None))
    with engine.connect() as connection:
        return {row.id: _acknowledgement(row) for row in connection.execute(query)}


def write_incidents(connection: Connection, incidents: Iterable[Incident]) -> None:
    """Store new and changed incidents; sets the `id` of new ones."""
    for changed in incidents:
        values = {"ended_at": changed.ended_at, "details": changed.details}
        org_id = select(org.c.id).where(org.c.name == changed.org).scalar_subquery()
        started = {"org_id": org_id, "kind": changed.kind.value, "started_at": changed.started_at}
        changed.id = _write(connection, incident, changed.id, values, started)


def write_alerts(connection: Connection, alerts: Sequence[Alert]) -> None:
    """Store new and changed alerts, and set retracted ones aside; sets the `id` of new ones.

    An acknowledgement is stored by its request.
    """
    for changed in alerts:
        if changed.retracted:
            _set_aside(connection, changed)
            continue
        values = {name: getattr(changed, name) for name in _CHANGING}
        started = {"machine_id": changed.machine, **{name: getattr(changed, name) for name in _FIXED}}
        changed.id = _write(connection, alert, changed.id, values, started)


def read_pending(connection: Connection) -> list[PendingDecision]:
    """Return the durations of rules that have begun."""
    rows = connection.execute(select(pending_decision))
    return [PendingDecision(row.machine_id, row.rule, row.since, row.value, row.device) for row in rows]


def write_pending(connection: Connection, changed: Mapping[AlertKey, PendingDecision | None]) -> None:
    """Store durations, and delete those that are over (None)."""
    if not changed:
        return
    table = pending_decision
    mine = (table.c.machine_id == bindparam("machine"), table.c.rule == bindparam("name"))
    connection.execute(delete(table).where(*mine), [{"machine": id_, "name": rule} for id_, rule in changed])
    rows = [
        {"machine_id": id_, "rule": rule, "since": each.since, "value": each.value, "device": each.device}
        for (id_, rule), each in changed.items()
        if each is not None
    ]
    if rows:
        connection.execute(insert(table), rows)


def _set_aside(connection: Connection, retracted: Alert) -> None:
    """Move an alert to the retracted ones, unless that was done already."""
    values = {name: getattr(retracted, name) for name in _CHANGING}
    stored = [alert.c[name] for name in ("id", "machine_id", *_FIXED, *_ACKNOWLEDGED)]
    row = connection.execute(select(*stored).where(alert.c.id == retracted.id)).one_or_none()
    if row is not None:
        connection.execute(retracted_alert.insert().values(**row._mapping, **values))  # noqa: SLF001 - its public name
        connection.execute(alert.delete().where(alert.c.id == retracted.id))


def find_alerts(engine: Engine, *conditions: ColumnElement[bool]) -> list[Alert]:
    """Return the alerts that meet the conditions, in the order in which they began."""
    with engine.connect() as connection:
        return _alerts(connection, _joined(alert).where(*conditions).order_by(alert.c.started_at, alert.c.id))


def _write(
    connection: Connection, table: Table, id_: int | None, values: dict[str, Any], started: dict[str, Any]
) -> int | None:
    if id_ is not None:
        connection.execute(table.update().where(table.c.id == id_).values(values))
        return id_
    key = connection.execute(table.insert().values({**started, **values})).inserted_primary_key
    return None if key is None else int(key[0])


def _alerts(connection: Connection, query: Select[Any]) -> list[Alert]:
    return [_alert(row) for row in connection.execute(query)]


def _alert(row: Row[Any]) -> Alert:
    read = Alert(row.machine_id, **{field: getattr(row, field) for field in ("org", "name", "id", *_FIXED, *_CHANGING)})
    read.silence_reason = row.silence_reason or ""
    read.acknowledged = None if row.acknowledged_at is None else _acknowledgement(row)
    return read


def _acknowledgement(row: Row[Any]) -> Acknowledgement:
    by, comment = row.acknowledged_by or "", row.acknowledged_comment or ""
    return Acknowledgement.model_construct(by=by, at=row.acknowledged_at, comment=comment)
