"""What series cost: bytes per reading on the wire and at rest, and the ingestor's processor time.

A machine reports every 10 s, and 60 readings of its devices once a minute. Two lanes of ingestors take turns, so that
whatever else the machine does meets both alike.
"""

import os
import statistics
import time
from pathlib import Path

import pytest
from clocks import Clock
from ingestion import Bench, Speaker, open_bench
from readings import Devices
from series import START, SeriesKeeper, with_series
from sqlalchemy import Engine, insert, text

from broker.access.policy import Principal, Role
from broker.client.memory import MemoryBroker
from broker.client.transport import Message
from ingestor.admin.access import add_org, add_principal
from runtime.urls import sqlite_url
from schemas.contract import topics
from schemas.contract.messages import Telemetry, Vitals
from schemas.database import tables
from schemas.database.engine import open_engine, upgrade
from schemas.fleet.history import DAY, HOUR, MINUTE

IS_WHOLE = float(os.environ.get("DASHFLEET_BENCH_SECONDS", "3")) >= 60
WIRE_BYTES, MOST_RATIO, YEAR_GB = 14, 1.5, {"sqlite": 12, "postgresql": 20}
MACHINES, TURNS = (1000, 9) if IS_WHOLE else (100, 3)
SLACK = 1.0 if IS_WHOLE else 1.6
STORED_MACHINES = 20 if IS_WHOLE else 2
BUSY = Vitals(cpu_percent=12.3, memory_percent=45.6, disk_percent=78.9, load_1m=0.52, network_sent_bytes=123456789)


def test_a_reading_takes_few_bytes_on_the_wire() -> None:
    devices, sizes = Devices(), []
    for seq in range(1, 61):
        fields = {"seq": seq, "sampled_at": START, "vitals": BUSY, "session": 1, "stream": "00000000000000aa"}
        plain = Telemetry(**fields, oldest_seq=seq, dropped=0)  # type: ignore[arg-type]
        full = plain.model_copy(update={"series": devices.read()})
        sizes.append((len(full.encode()) - len(plain.encode())) / 60)
    print(f"\n{statistics.mean(sizes):.1f} bytes per reading on the wire; wanted {WIRE_BYTES} at most")
    assert statistics.mean(sizes) <= WIRE_BYTES


@pytest.fixture
def database_url(each_database_url: str) -> str:
    return each_database_url


def test_a_year_of_sixty_readings_a_minute_fits(database: Engine) -> None:
    kind = database.dialect.name
    add_org(database, "home", now=lambda: 0)
    for number in range(STORED_MACHINES):
        add_principal(database, Principal(Role.MACHINE, "home", f"m{number}"), "made-up", now=lambda: 0)
    keeper, day = SeriesKeeper(database), START // DAY * DAY
    devices = [Devices(number) for number in range(STORED_MACHINES)]
    for hour in range(24):
        minutes = range(60 * hour, 60 * hour + 60)
        keeper.write(
            *(
                with_series(key + 1, day + minute * MINUTE, minute + 1, each.read())
                for minute in minutes
                for key, each in enumerate(devices)
            )
        )
    keeper.now = day + DAY + HOUR
    began = time.process_time()
    keeper.tend()
    closing = 1000 * (time.process_time() - began) / (24 * STORED_MACHINES)
    print(f"\n{kind}: closing an hour takes {closing:.1f} ms of processor time per machine, with its roll-ups")
    with database.begin() as connection:
        readings = connection.scalar(text("SELECT sum(readings) FROM series_hour")) or 0
    if kind == "postgresql":  # what the deleted rows of a day leave is used again by the next day, and counted once
        with database.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(text("VACUUM FULL series_hour, series_rollup"))
    hours, roll_ups = (size(database, name) for name in ("series_hour", "series_rollup"))
    year = 1000 / STORED_MACHINES * (hours * 14 + roll_ups * 400) / 1e9
    print(f"\n{kind}: {hours / readings:.2f} bytes per reading at rest, {year:.1f} GB a year of 1,000 machines")
    print(f"  wanted 3 bytes and {YEAR_GB[kind]} GB at most")
    assert readings == STORED_MACHINES * 24 * 60 * 60
    assert hours / readings <= 3
    assert year <= YEAR_GB[kind]


def size(engine: Engine, table: str) -> int:
    """Return the bytes of a table with its indexes."""
    if engine.dialect.name == "postgresql":
        query = f"SELECT pg_total_relation_size('{table}')"
    else:
        query = f"SELECT sum(pgsize) FROM dbstat WHERE name LIKE '%{table}%'"  # noqa: S608 - a name of ours
    with engine.connect() as connection:
        return connection.scalar(text(query)) or 0


class Lane:
    """An ingestor with a database of its own; `with_devices`: whether each sixth sample has series."""

    def __init__(self, directory: Path, *, with_devices: bool) -> None:
        directory.mkdir()
        engine = open_engine(sqlite_url(directory / "fleet.db"))
        upgrade(engine)
        add_org(engine, "home", now=lambda: 0)
        with engine.begin() as connection:
            rows = [{"org_id": 1, "name": f"m{number}", "created_at": 1} for number in range(MACHINES)]
            connection.execute(insert(tables.machine), rows)
        self.clock, self.costs, self.seq = Clock(), list[float](), 0
        self.bench: Bench = open_bench(engine, self.clock, MemoryBroker())
        self.bench.step(steps=2)
        self.speakers = [Speaker(self.clock, f"m{number}", vitals=BUSY) for number in range(MACHINES)]
        self.devices = [Devices(number) for number in range(MACHINES)] if with_devices else []
        self.bench.publish(*(speaker.status() for speaker in self.speakers))
        self.bench.step(steps=MACHINES // 50)

    def turn(self) -> None:
        """Let a minute pass: six reports of each machine."""
        spent = 0.0
        for number in range(6):
            self.clock.advance(10)
            self.seq += 1
            self.bench.publish(*(self.report(index, number == 0) for index in range(MACHINES)))
            began = time.process_time()
            self.bench.step(steps=MACHINES // 50)
            spent += time.process_time() - began
        self.costs.append(1e6 * spent / (6 * MACHINES))

    def report(self, index: int, first: bool) -> Message:
        message = self.speakers[index].telemetry(self.seq)
        if not (first and self.devices):
            return message
        full = Telemetry.decode(message.payload).model_copy(update={"series": self.devices[index].read()})
        return Message(message.topic, full.encode(), topics.TELEMETRY.qos, retain=False)


def test_reports_with_series_cost_little_more_than_those_without(tmp_path: Path) -> None:
    plain, full = (Lane(tmp_path / str(with_devices), with_devices=with_devices) for with_devices in (False, True))
    for _ in range(TURNS + 1):
        plain.turn()
        full.turn()
    costs = [statistics.median(lane.costs[1:]) for lane in (plain, full)]
    ratio = statistics.median(b / a for a, b in zip(plain.costs[1:], full.costs[1:], strict=True))
    print(
        f"\nwithout series {costs[0]:.0f} µs per report, with 60 readings a minute {costs[1]:.0f} µs: {ratio:.2f} times"
    )
    assert ratio <= MOST_RATIO * SLACK
