"""`dashfleet replay` on a real broker: a reader hears what is stored, in order, and nothing is on the live topics."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from brokers import RunningBroker
from faults.scale import IS_WHOLE
from seeding import Fleet
from servers import free_port
from sqlalchemy import Engine, select, update
from waiting import wait_until

from broker.access.principals import TableDirectory
from broker.client.mqtt import Mqtt
from broker.client.transport import Backoff, Message
from ingestor.admin.access import add_org, list_principals, new_principal
from runtime.clock import SystemClock
from runtime.settings.address import ServerAddress
from runtime.settings.broker import BrokerSettings
from schemas.contract import topics
from schemas.contract.messages import VITALS, Info, Telemetry
from schemas.database import tables

HOURS, SPEED = (24, 600) if IS_WHOLE else (1, 3600)
NAMES = ("attic", "cellar")
FIELDS = ("seq", "sampled_at", "vitals", "extra")
now = SystemClock().now
INFO = Info(session=1, at=1, hostname="attic.example", agent_version="1", interval_seconds=10.0).model_dump(mode="json")


@pytest.fixture
def fleet(database: Engine) -> Fleet:
    add_org(database, "home", now=now)
    seeded = Fleet(database, now=now() // 1000 * 1000)
    for name in NAMES:
        key = seeded.machine(name, info=INFO)
        seeded.stream(key, f"1-{HOURS * 360}", highest_seq=1)
        seeded.a_day(key, hours=HOURS, gap=None)
        with database.begin() as connection:  # a made-up day dips below 0 %, which no ingestor stores
            connection.execute(update(tables.sample).where(tables.sample.c.cpu_percent < 0).values(cpu_percent=0.0))
        seeded.transition(key, seeded.now - HOURS * 1_800_000, "online", "offline", "lost")
    return seeded


@pytest.fixture
def port(fleet: Fleet) -> Iterator[int]:
    settings = BrokerSettings.model_validate({"data": Path(), "database": "sqlite://", "port": free_port()})
    broker = RunningBroker(settings, TableDirectory(fleet.engine), refresh_seconds=0.1)
    yield broker.port
    broker.stop()


class Hearing(threading.Thread):
    """A reader that takes what arrives until it is stopped."""

    def __init__(self, port: int, secret: str, *filters: str) -> None:
        super().__init__(name="reader", daemon=True)
        self.messages: list[Message] = []
        self.stopping = threading.Event()
        self.transport = Mqtt(
            ServerAddress.parse(f"mqtt://127.0.0.1:{port}"),
            username="home._grafana",
            password=secret,
            subscriptions=[(each, 1) for each in filters],
            backoff=Backoff(first_seconds=0.05, most_seconds=0.2),
        )

    def run(self) -> None:
        while not self.stopping.is_set():
            self.messages += [each for each in self.transport.receive(1000, 0.1) if isinstance(each, Message)]
        self.transport.close()

    def of(self, topic: topics.Topic, machine: str) -> list[bytes]:
        wanted = topic.at(replay="past", org="home", machine=machine)
        return [each.payload for each in self.messages if each.topic == wanted]


@contextmanager
def hearing(engine: Engine, port: int, *filters: str) -> Iterator[Hearing]:
    secret = new_principal(engine, "home", "grafana", "reader", now=now)
    reader = Hearing(port, secret, *filters)
    reader.start()
    wait_until(lambda: reader.transport.connected, seconds=30, what="the reader is connected")
    yield reader
    reader.stopping.set()
    reader.join(30)


def stored(engine: Engine, machine: str) -> list[dict[str, Any]]:
    """What the table says, read without any of the code that replays it."""
    of_it = tables.machine.c.name == machine
    with engine.connect() as connection:
        rows = connection.execute(select(tables.sample).join(tables.machine).where(of_it)).mappings().all()
    return [
        {
            "seq": row["seq"],
            "sampled_at": row["sampled_at"],
            "vitals": {name: row[name] for name in VITALS},
            "extra": row["extra"] or {},
        }
        for row in sorted(rows, key=lambda row: row["sampled_at"])
    ]


def test_a_reader_hears_exactly_what_is_stored_in_order(fleet: Fleet, port: int, tmp_path: Path) -> None:
    every = [topic.filter(replay="past", org="home") for topic in topics.ALL if topic.root == topics.REPLAY_ROOT]
    live = [topics.TELEMETRY.filter(org="home"), topics.PRESENCE.filter(org="home")]
    start, end = (datetime.fromtimestamp(at / 1000, UTC).isoformat() for at in fleet_range(fleet))
    with hearing(fleet.engine, port, *every, *live) as reader:
        began = time.monotonic()
        done = subprocess.run(
            [
                *(sys.executable, "-m", "dashfleet", "replay", "--org", "home", "--id", "past"),
                *("--from", start, "--to", end, "--speed", str(SPEED), "--server", f"mqtt://127.0.0.1:{port}"),
                *("--database", fleet.engine.url.render_as_string(hide_password=False)),
            ],
            env={**os.environ, "DASHFLEET_DATA": str(tmp_path / "empty")},
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        took = time.monotonic() - began
        assert (done.returncode, done.stdout[:8]) == (0, "Replayed"), done.stderr
        count = int(done.stdout.split()[1].replace(",", ""))
        wait_until(lambda: len(reader.messages) >= count, seconds=30, what="everything has arrived")
    assert took >= HOURS * 3600 / SPEED * 0.99
    assert {each.topic.split("/")[1] for each in reader.messages} == {"replay"}
    assert len(reader.messages) == count == len(NAMES) * (HOURS * 360 + 2)
    for name in NAMES:
        told = [Telemetry.decode(payload) for payload in reader.of(topics.REPLAYED_TELEMETRY, name)]
        assert [each.model_dump(include=set(FIELDS)) for each in told] == stored(fleet.engine, name)
        assert len(told) == HOURS * 360
        assert len(reader.of(topics.REPLAYED_INFO, name)) == len(reader.of(topics.REPLAYED_PRESENCE, name)) == 1
    assert not [row for row in list_principals(fleet.engine, "home") if row["role"] == "replay"]


def fleet_range(fleet: Fleet) -> tuple[int, int]:
    return fleet.now - HOURS * 3_600_000, fleet.now
