"""Machines of an organisation with their newest values, by name; and those values for a scrape.

Invariant: a query names the organisation that it is restricted to, or the key of a machine that was found so.
"""

from typing import Any, Final

from sqlalchemy import ColumnElement, Engine, Row, select

from schemas.contract.messages import VITALS
from schemas.database.queries.fetch import fetch_all, fetch_first
from schemas.database.queries.fleet_order import AS_OF, CURRENT_NOW, HEALTH_NOW, PRESENCE_NOW, SCORE_NOW
from schemas.database.queries.machines import Filters, select_machines, select_matching
from schemas.database.tables import disk_forecast, machine, state, stream

_IDENTITY: Final = ("name", "hostname", "os", "os_version", "agent_version", "labels")
_STATE: Final = (
    *("reason", "since_at", "verified", "last_seen_at", "interval_seconds", "clock_offset_milliseconds", "extra"),
    *VITALS,
)


def list_machine_page(engine: Engine, org_name: str, filters: Filters, *, after: str, limit: int) -> list[Row[Any]]:
    """Return the matching machines whose name follows `after`, sorted by name, at most `limit`."""
    query = select_matching(org_name, filters, *_columns()).where(machine.c.name > after)
    return fetch_all(engine, query.order_by(machine.c.name).limit(limit))


def find_machine_state(engine: Engine, org_name: str, name: str) -> Row[Any] | None:
    """Return one machine with its key, its inventory and its newest values, or None."""
    more = (machine.c.id, machine.c.created_at, machine.c.info)
    return fetch_first(engine, select_machines(org_name, *_columns(), *more).where(machine.c.name == name))


def find_machine_key(engine: Engine, org_name: str, name: str) -> int | None:
    """Return the key of a machine, or None."""
    row = fetch_first(engine, select_machines(org_name, machine.c.id).where(machine.c.name == name))
    return None if row is None else row.id


def list_streams(engine: Engine, machine_id: int) -> list[Row[Any]]:
    """Return the streams of a machine's outbox, the oldest first."""
    return fetch_all(engine, select(stream).where(stream.c.machine_id == machine_id).order_by(stream.c.number))


MACHINE_COLUMNS: Final = (
    *_IDENTITY,
    *_STATE,
    "full_at",
    *("presence", "health_status", "health_score", "current", "as_of"),
)
"""Names of the first columns of each row, in their order."""


def _columns() -> list[ColumnElement[Any]]:
    now = {"presence": PRESENCE_NOW, "health_status": HEALTH_NOW, "health_score": SCORE_NOW}
    shown = [column.label(name) for name, column in {**now, "current": CURRENT_NOW, "as_of": AS_OF}.items()]
    return [
        *(machine.c[name] for name in _IDENTITY),
        *(state.c[name] for name in _STATE),
        disk_forecast.c.full_at,
        *shown,
    ]
