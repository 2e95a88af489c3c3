"""DashFleet itself: MQTT at QoS 1 through Mosquitto, acknowledged by the ingestor when a report is on the disk."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

from bench.lanes import ingestor_lane
from bench.products.product import MACHINES, VALUES, Product, Running
from servers import postgresql
from sqlalchemy import func, select

from runtime.urls import sqlite_url
from schemas.database import tables
from schemas.database.engine import open_engine

COUNT = 20_000


@contextmanager
def _dashfleet(directory: Path, *, database: str) -> Iterator[Running]:
    with ExitStack() as exits:
        url = sqlite_url(directory / "fleet.db") if database == "SQLite" else exits.enter_context(postgresql())
        lane = exits.enter_context(ingestor_lane(directory, url, machines=MACHINES))

        def feed(count: int) -> None:
            lane.send(count)
            lane.wait(count)

        def stored() -> int:
            with engine.connect() as connection:
                return VALUES * int(connection.scalar(select(func.count()).select_from(tables.sample)) or 0)

        engine = open_engine(url)
        exits.callback(engine.dispose)
        yield Running(feed, stored, feeders=frozenset({lane.publisher.pid}))


PRODUCTS = [
    Product(f"DashFleet, {name}", "a report per message", partial(_dashfleet, database=name), COUNT, "at the ack")
    for name in ("SQLite", "PostgreSQL")
]
