"""Sort orders of the fleet, for the table, the cards, exports and addresses.

The default shows the lowest health score first; equal values are ordered by name.
"""

from collections.abc import Mapping
from typing import Any, Final

from sqlalchemy import ColumnElement, case, func

from schemas.database.tables import machine, state

RETIRED: Final = "retired"
PRESENCE_NOW: Final = func.coalesce(state.c.presence, "unknown")
HEALTH_NOW: Final = func.coalesce(state.c.health_status, "unknown")
SHOWN_NAME: Final = func.lower(func.coalesce(machine.c.hostname, machine.c.name))

_WORST_FIRST: Final = ("offline", "stale", "unknown", "expired", "online", RETIRED)
_SEVERITY: Final = case(
    {code: rank for rank, code in enumerate(_WORST_FIRST)}, value=PRESENCE_NOW, else_=len(_WORST_FIRST)
)
SORT_ORDERS: Final[Mapping[str, ColumnElement[Any]]] = {
    "machine": SHOWN_NAME,
    "status": _SEVERITY,
    "health": state.c.health_score,
    "cpu": state.c.cpu_percent,
    "memory": state.c.memory_percent,
    "disk": state.c.disk_percent,
    "uptime": state.c.uptime_seconds,
    "seen": state.c.last_seen_at,
    "system": func.lower(machine.c.os),
    "agent": machine.c.agent_version,
}
"""The sort orders of the fleet, by the code used in addresses."""

DEFAULT_SORT: Final = "health"
