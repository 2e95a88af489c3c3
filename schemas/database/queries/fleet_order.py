"""A machine's state as readers may show it, and the sort orders of the fleet.

Invariants:
- The values of a machine are current only while it is online and verified (CURRENT_NOW). Otherwise its health is
  unknown and it has no score, whatever its last sample said, and its readings are those of the time AS_OF.
- The default order shows the most severe machine first: offline, stale, unknown, long offline, critical, warning, OK;
  of equal severity the lowest score, and of machines without a score the one that changed last. Then by name.
- Readings that are not current are sorted as if they were not measured.
"""

from collections.abc import Mapping
from typing import Any, Final

from sqlalchemy import BigInteger, ColumnElement, Float, and_, case, cast, func, or_, select

from schemas.contract.topics import is_id
from schemas.database.chosen_columns import is_chosen_column, number_of
from schemas.database.tables import alert, disk_forecast, machine, org, state

ONLINE: Final = "online"
ABSENT: Final = ("offline", "stale", "expired")
"""The presences of machines that were online and ought to be."""

RETIRED: Final = "retired"
PRESENCE_NOW: Final = func.coalesce(state.c.presence, "unknown")
CURRENT_NOW: Final = and_(PRESENCE_NOW == ONLINE, state.c.verified.is_(True))
HEALTH_NOW: Final = case((CURRENT_NOW, func.coalesce(state.c.health_status, "unknown")), else_="unknown")
SCORE_NOW: Final = case((CURRENT_NOW, state.c.health_score))
_SAMPLED: Final = cast(state.c.sampled_at, Float) + func.coalesce(state.c.clock_offset_milliseconds, 0)
"""By the server's clock. A machine may state any time, and no sum of them overflows a float."""

AS_OF: Final = case(
    (_SAMPLED.between(0, state.c.last_seen_at), cast(_SAMPLED, BigInteger)),
    (state.c.sampled_at.is_not(None), state.c.last_seen_at),
)
"""Time of the last readings, in milliseconds by the server's clock; null without readings."""

OPEN_ALERT: Final = machine.c.id.in_(select(alert.c.machine_id).where(alert.c.ended_at.is_(None)))
"""A machine with an open alert."""


def is_unwell(presence: ColumnElement[Any], health: ColumnElement[Any]) -> ColumnElement[bool]:
    """Return the condition for a machine that needs attention whether or not it has an open alert."""
    return or_(presence.in_(ABSENT), and_(presence != RETIRED, health.in_(("warn", "critical"))))


ATTENTION_NOW: Final = and_(PRESENCE_NOW != RETIRED, or_(is_unwell(PRESENCE_NOW, HEALTH_NOW), OPEN_ALERT))
"""A machine that needs attention: it is offline or stale, its health is not OK, or it has an open alert."""

SHOWN_NAME: Final = func.lower(func.coalesce(machine.c.hostname, machine.c.name))

_PRESENCES: Final = {"offline": 0, "stale": 1, "unknown": 2, "expired": 3, RETIRED: 7}
_HEALTHS: Final = {"unknown": 2, "critical": 4, "warn": 5, "ok": 6}
_SEVERITY: Final = case(
    (PRESENCE_NOW == ONLINE, case(_HEALTHS, value=HEALTH_NOW, else_=_HEALTHS["unknown"])),
    else_=case(_PRESENCES, value=PRESENCE_NOW, else_=_PRESENCES["unknown"]),
)
_NEWEST_CHANGE: Final = case((CURRENT_NOW, None), else_=state.c.since_at)


def _current(reading: ColumnElement[Any]) -> ColumnElement[Any]:
    return case((CURRENT_NOW, reading))


SORT_ORDERS: Final[Mapping[str, ColumnElement[Any]]] = {
    "machine": SHOWN_NAME,
    "status": _SEVERITY,
    "since": state.c.since_at,
    "health": SCORE_NOW,
    "cpu": _current(state.c.cpu_percent),
    "memory": _current(state.c.memory_percent),
    "disk": _current(state.c.disk_percent),
    "full": _current(disk_forecast.c.full_at),
    "uptime": _current(state.c.uptime_seconds),
    "seen": state.c.last_seen_at,
    "system": func.lower(machine.c.os),
    "agent": machine.c.agent_version,
}
"""The sort orders of the fleet, by the code used in addresses."""

DEFAULT_SORT: Final = "status"
LABEL: Final = "label-"
"""Prefix of the sort order by the value of a label, before its key."""


def is_sort_order(code: str) -> bool:
    """Return whether the code names a sort order: one of SORT_ORDERS, the key of a label after LABEL, or a column that
    can be chosen."""
    labelled = code.startswith(LABEL) and is_id(code.removeprefix(LABEL))
    return code in SORT_ORDERS or labelled or is_chosen_column(code)


def _column(order: str, org_name: str) -> ColumnElement[Any]:
    """Return what an order sorts by. The labels of other organisations are never read as JSON: CASE."""
    if order.startswith(LABEL) and is_sort_order(order):
        value = machine.c.labels[order.removeprefix(LABEL)].as_string()
        return case((org.c.name == org_name, func.lower(value)))
    if is_chosen_column(order):
        return _current(number_of(order))
    return SORT_ORDERS.get(order, SORT_ORDERS[DEFAULT_SORT])


def ordering(order: str, *, descending: bool = False, org_name: str = "") -> list[ColumnElement[Any]]:
    """Return what to sort by: unmeasured values last in both directions, equal values as the default order has them.

    `org_name`: the organisation whose machines are sorted, for an order by a label.
    """
    column = _column(order, org_name)
    wanted = (column.desc() if descending else column.asc()).nulls_last()
    severity = [SCORE_NOW.asc().nulls_last(), _NEWEST_CHANGE.desc().nulls_last()] if column is _SEVERITY else []
    return [wanted, *severity, SHOWN_NAME.asc(), machine.c.name.asc()]
