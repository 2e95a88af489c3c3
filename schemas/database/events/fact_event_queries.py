"""Changes of facts in a time range, newest first: see `schemas.database.events.event_queries`."""

from typing import Any

from sqlalchemy import Engine, Row, func, select

from schemas.database.events.event_queries import EventRange, of_machines, page_of, with_machines
from schemas.database.tables import fact_change, machine
from schemas.database.text_search import contains_each


def list_fact_events(engine: Engine, org_name: str, wanted: EventRange) -> list[Row[Any]]:
    """Return changes of facts; the search is in kinds, keys and machine names."""
    names = machine.c.name + " " + func.coalesce(machine.c.hostname, "")
    of_machine = select(names).where(machine.c.id == fact_change.c.machine_id).scalar_subquery()
    words = contains_each(wanted.search, fact_change.c.kind, fact_change.c.key, of_machine)
    mine = of_machines(engine, org_name, wanted, fact_change)
    return with_machines(engine, page_of(fact_change, fact_change.c.at, wanted, mine, *words), "at")
