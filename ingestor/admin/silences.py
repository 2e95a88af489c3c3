"""Changes of alerts and silences: acknowledging, withdrawing that, silencing; by a command, or by a request.

Invariants:
- Only alerts and silences of the given organisation are found or changed.
- Neither the begin nor the end of an alert is changed.
- A function checks before it writes: if it raises UserError, it has changed nothing.
- An organisation has at most SILENCES_MAX silences that are not past, and SILENCES_KEPT that are.
"""

from collections.abc import Collection, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Engine, Row, Select, func, or_, select
from sqlalchemy.engine import Connection

from ingestor.admin import access
from runtime.errors import UserError
from schemas.contract.alerts import Acknowledge, AddSilence, AlertChange, EndSilence, Unacknowledge
from schemas.database import tables
from schemas.database.silence_rows import read_silence, silence_values
from schemas.fleet.silences import Silence

SILENCES_MAX = 200
SILENCES_KEPT = 1000
AHEAD_MAX_SECONDS = 366 * 86_400
"""Maximum time by which a silence may be planned ahead."""

BEHIND_MAX_SECONDS = 300
"""A start that is longer ago is a mistake; a more recent one counts as now."""

_NAMED = 5
"""Alerts that the description of a change names."""


class UnknownAlertError(UserError):
    """Raised for alerts of which none is as required."""


class UnknownSilenceError(UserError):
    """Raised for a silence that does not exist, or is over."""


_SILENCE = tables.silence
_ALERT = tables.alert


def apply(connection: Connection, org: str, change: AlertChange, by: str, now: int) -> str:
    """Apply a change, and return its description. Raises UserError."""
    match change:
        case Acknowledge():
            return acknowledge(connection, org, change.alerts, change.comment, by, now)
        case Unacknowledge():
            return unacknowledge(connection, org, change.alerts)
        case AddSilence():
            return describe(add_silence(connection, org, change, by, now))
        case EndSilence():
            return describe(end_silence(connection, org, change.id, by, now))


def change(engine: Engine, org: str, wanted: AlertChange, by: str, now: int) -> str:
    """Apply a change in a transaction of its own. Raises UserError, also if the organisation does not exist."""
    with engine.begin() as connection:
        access.require_org(connection, org)
        access.lock_org(connection, org)
        return apply(connection, org, wanted, by, now)


def acknowledge(connection: Connection, org: str, alerts: Collection[int], comment: str, by: str, now: int) -> str:
    """Acknowledge the open ones of these alerts that are not acknowledged yet. Raises UserError if there are none."""
    found = _open_alerts(connection, org, _ALERT.c.id.in_(alerts))
    if not found:
        raise UnknownAlertError("there is no such open alert" if len(alerts) == 1 else "none of these alerts is open")
    new = [row for row in found if row.acknowledged_at is None]
    if not new:
        raise UserError(f"already acknowledged by {found[0].acknowledged_by}")
    values = {"acknowledged_at": now, "acknowledged_by": by, "acknowledged_comment": comment}
    connection.execute(_ALERT.update().where(_ALERT.c.id.in_([row.id for row in new])).values(values))
    return _named(new) + (f" ({comment})" if comment else "")


def unacknowledge(connection: Connection, org: str, alerts: Collection[int]) -> str:
    """Withdraw the acknowledgement of the open ones of these alerts. Raises UserError if none is acknowledged."""
    found = _open_alerts(connection, org, _ALERT.c.id.in_(alerts) & _ALERT.c.acknowledged_at.is_not(None))
    if not found:
        none = "there is no such acknowledged alert" if len(alerts) == 1 else "none of them is acknowledged"
        raise UnknownAlertError(none)
    values = {"acknowledged_at": None, "acknowledged_by": None, "acknowledged_comment": None}
    connection.execute(_ALERT.update().where(_ALERT.c.id.in_([row.id for row in found])).values(values))
    return _named(found)


def open_alert(connection: Connection, org: str, machine: str, rule: str) -> int:
    """Return the id of the open alert of a machine and a rule. Raises UserError if there is none."""
    wanted = (tables.machine.c.name == machine) & (_ALERT.c.rule == rule)
    found = _open_alerts(connection, org, wanted)
    if not found:
        raise UnknownAlertError(f"{machine} has no open alert of the rule {rule}")
    return int(found[-1].id)


def add_silence(connection: Connection, org: str, change: AddSilence, by: str, now: int) -> Silence:
    """Add a silence, and return it. The organisation must be locked. Raises UserError above SILENCES_MAX."""
    starts_at = now if change.starts_at is None else change.starts_at
    if starts_at < now - BEHIND_MAX_SECONDS * 1000:
        raise UserError("a silence cannot begin in the past")
    if starts_at > now + AHEAD_MAX_SECONDS * 1000:
        raise UserError("a silence begins within a year")
    starts_at = max(starts_at, now)
    org_id = access.org_id(connection, org)
    mine = _SILENCE.c.org_id == org_id
    if (connection.scalar(select(func.count()).where(mine, ~_past(now))) or 0) >= SILENCES_MAX:
        raise UserError(f"{org} has {SILENCES_MAX} silences: end one first")
    _delete_oldest(connection, mine & _past(now))
    silence = Silence(
        selector=change.selector,
        rule=change.rule or "",
        starts_at=starts_at,
        ends_at=None if change.lifetime_seconds is None else starts_at + change.lifetime_seconds * 1000,
        weekly=change.weekly,
        reason=change.reason,
        created_at=now,
        created_by=by,
    )
    insert = _SILENCE.insert().values(org_id=org_id, **silence_values(silence)).returning(*_SILENCE.c)
    return _read(connection.execute(insert).one())


def end_silence(connection: Connection, org: str, id_: int, by: str, now: int) -> Silence:
    """End a silence, and return it. Raises UserError if the organisation has no such silence that is not past."""
    mine = (_SILENCE.c.id == id_) & (_SILENCE.c.org_id == access.org_id(connection, org))
    row = connection.execute(select(_SILENCE).where(mine)).one_or_none()
    if row is None:
        raise UnknownSilenceError(f"{org} has no silence {id_}")
    silence = _read(row)
    if silence.window(now) is None:
        raise UnknownSilenceError(f"the silence {id_} is over already")
    connection.execute(_SILENCE.update().where(mine).values(ended_at=now, ended_by=by))
    return silence


def describe(silence: Silence) -> str:
    """Return a silence as one line: its number, machines, rule, and reason."""
    machines = silence.selector.described() or "all machines"
    return f"{silence.id}: {machines}, {silence.rule or 'all rules'} ({silence.reason})"


def _named(found: Sequence[Row[Any]]) -> str:
    names = [f"{row.machine}: {row.rule}" for row in found]
    rest = [f"and {len(names) - _NAMED} more"] if len(names) > _NAMED else []
    return ", ".join([*names[:_NAMED], *rest])


def _open_alerts(connection: Connection, org: str, condition: ColumnElement[bool]) -> Sequence[Row[Any]]:
    query: Select[Any] = select(_ALERT, tables.machine.c.name.label("machine"))
    query = query.select_from(_ALERT.join(tables.machine).join(tables.org)).order_by(_ALERT.c.id)
    return connection.execute(query.where(tables.org.c.name == org, _ALERT.c.ended_at.is_(None), condition)).all()


def _past(now: int) -> ColumnElement[bool]:
    """Match the silences that are over: ended by a request, or by their time."""
    return or_(_SILENCE.c.ended_at.is_not(None), func.coalesce(_SILENCE.c.ends_at, now + 1) <= now)


def _delete_oldest(connection: Connection, past: ColumnElement[bool]) -> None:
    kept = select(_SILENCE.c.id).where(past).order_by(_SILENCE.c.id.desc()).offset(SILENCES_KEPT).limit(SILENCES_KEPT)
    too_many = connection.scalars(kept).all()
    connection.execute(_SILENCE.delete().where(_SILENCE.c.id.in_(too_many)))


def _read(row: Row[Any]) -> Silence:
    silence = read_silence(row)
    if silence is None:
        raise UserError(f"the silence {row.id} was written by a newer version")
    return silence
