"""The stored items of facts that a rule is about, of many machines."""

from collections.abc import Sequence

from sqlalchemy import Engine, select

from schemas.database.queries.fetch import fetch_where_in
from schemas.database.tables import fact, fact_list


def read_healths(engine: Engine, kind: str, machine_keys: Sequence[int]) -> dict[int, dict[str, str | None]]:
    """Return the health of the items of a kind by machine key and item, of the machines that state the kind."""
    lists = select(fact_list.c.machine_id).where(fact_list.c.kind == kind)
    found: dict[int, dict[str, str | None]] = {
        row.machine_id: {} for row in fetch_where_in(engine, lists, fact_list.c.machine_id, machine_keys)
    }
    items = select(fact.c.machine_id, fact.c.key, fact.c.health).where(fact.c.kind == kind)
    for row in fetch_where_in(engine, items, fact.c.machine_id, machine_keys):
        found.setdefault(row.machine_id, {})[row.key] = row.health
    return found
