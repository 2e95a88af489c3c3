"""Lists of facts for an ingestor under test, and what it has stored of them."""

from typing import Any

from ingestion import Bench
from sqlalchemy import Engine, select

from broker.client.memory import MemoryTransport
from broker.client.transport import Message
from ingestor.intake.fact_queue import PACE_SECONDS
from schemas.contract import topics
from schemas.database import tables

UP = {"health": "good", "fields": {"state": "running", "cpu_percent": 1.0}}
DOWN = {"health": "critical", "fields": {"state": "exited", "cpu_percent": 0.0}}


def state(bench: Bench, *messages: Message) -> None:
    """Publish lists, and let the ingestor handle them, however few seconds after those before."""
    bench.clock.advance(PACE_SECONDS)
    bench.publish(*messages)
    bench.step(0.01, steps=2)


def items(fleet: Engine, kind: str = "containers") -> dict[str, Any]:
    table = tables.fact.c
    with fleet.connect() as connection:
        rows = connection.execute(select(table.key, table.health, table.fields).where(table.kind == kind))
        return {row.key: (row.health, row.fields["state"]) for row in rows}


def changes(fleet: Engine) -> list[tuple[str, str, Any, Any]]:
    table = tables.fact_change.c
    query = select(table.key, table.change, table.before, table.after).order_by(table.id)
    with fleet.connect() as connection:
        return [tuple(row) for row in connection.execute(query)]


def kinds(fleet: Engine) -> list[str]:
    with fleet.connect() as connection:
        return list(connection.scalars(select(tables.fact_list.c.kind).order_by(tables.fact_list.c.kind)))


def retained(bench: Bench) -> list[str]:
    """Return the kinds that the broker retains, read as a new subscriber."""
    reader = MemoryTransport(
        bench.broker, client_id="reader", subscriptions=[(topics.FACTS.filter(), 1)], pass_time=lambda _: None
    )
    found = [each.topic.rpartition("/")[2] for each in reader.receive(1000, 0) if isinstance(each, Message)]
    reader.close()
    return found
