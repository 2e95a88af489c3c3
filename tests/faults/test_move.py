"""A fleet with a backlog moves from one server to another: nothing is lost, and both ledgers add up.

The agents, their outboxes and journals, the ingestors and their databases are the real ones; the brokers are in memory,
so that a hundred machines fit into one process.
"""

import itertools
import json
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest
from acting import Operator
from faults.scale import IS_WHOLE, SCALE
from sqlalchemy import select

import agent.__main__ as program
from agent.actions import move
from agent.agent import Agent
from agent.collector import Collector, Readings
from agent.orders.journal import create_before_keys
from agent.orders.trusted_keys import KEYS_FILE, write_keys
from agent.relocation.move_record import followed, settle
from broker.access.policy import Principal, Role
from broker.client.memory import MemoryBroker, MemoryTransport
from broker.client.transport import WillMaker
from ingestor.admin.access import add_org, add_principal
from ingestor.admin.key_changes import add_key
from ingestor.admin.relocation import accept_machines, export_machines, trusted_keys
from ingestor.ingestor import Ingestor
from ingestor.storage.store import Store
from runtime.clock import SystemClock
from runtime.settings.address import ServerAddress
from runtime.settings.agent import AgentSettings
from runtime.urls import sqlite_url
from schemas.contract.commands import Rollout
from schemas.contract.messages import BACKFILL_MAX_SAMPLES, Metric, Vitals
from schemas.database import tables
from schemas.database.engine import open_engine, upgrade
from schemas.database.queries.machines import list_machines

ORG = "home"
OLD, NEW = "mqtt://old.example:1883", "mqtt://new.example:1883"
CLOCK = SystemClock()


class Numbered(Collector):
    """Numbers all samples of the test, so that each can be found again."""

    metrics = (Metric(name="network_sent_bytes", unit="bytes", title="Number"),)
    numbers = itertools.count(1)
    taken: ClassVar[Counter[str]] = Counter()

    def collect(self) -> Readings:
        Numbered.taken[self.settings.machine] += 1
        return {"network_sent_bytes": next(Numbered.numbers)}


class Server:
    """A broker in memory and an ingestor with a database."""

    def __init__(self, directory: Path, name: str) -> None:
        self.broker = MemoryBroker()
        self.engine = open_engine(sqlite_url(directory / f"{name}.db"))
        upgrade(self.engine)
        add_org(self.engine, ORG, now=CLOCK.now)
        self.operator = Operator(CLOCK)
        add_key(self.engine, ORG, self.operator.seed, signer=None, name="first", expires_at=None, now=CLOCK.now)
        self.ingestor = Ingestor(
            store=Store(self.engine, name="ingestor", dead_letter_max=100),
            open_transport=lambda *, subscriptions: MemoryTransport(
                self.broker, client_id="_ingestor", subscriptions=subscriptions, pass_time=lambda _: None
            ),
            batch_max=2000,
            ack_seconds=0.1,
            clock=CLOCK,
        )

    def ledgers(self) -> dict[str, dict[str, Any]]:
        return {row["machine"]: row["ledger"] for row in list_machines(self.engine)}

    def stored(self) -> list[tuple[str, int]]:
        """Return the machine and the number of each stored sample."""
        query = select(tables.machine.c.name, tables.sample.c.network_sent_bytes).join(tables.machine)
        with self.engine.connect() as connection:
            return [(row[0], int(row[1])) for row in connection.execute(query)]

    def outcomes(self) -> Counter[str]:
        with self.engine.connect() as connection:
            return Counter(connection.scalars(select(tables.command.c.state)))


class MovingAgent:
    """The agent of one machine, as its process runs it, but one step at a time."""

    def __init__(self, directory: Path, name: str, old: Server) -> None:
        add_principal(old.engine, Principal(Role.MACHINE, ORG, name), "made-up", now=CLOCK.now)
        self.configured = AgentSettings.model_validate(
            {
                "data": directory / name,
                "machine": name,
                "server": OLD,
                "interval_seconds": 0.5,
                "password": "made-up",
                "allowed_actions": ["ping", "move"],
            }
        )
        own = directory / name / "agent"
        create_before_keys(own, CLOCK)
        write_keys(own / KEYS_FILE, ORG, trusted_keys(old.engine, ORG, CLOCK.now()))
        self.agent: Agent | None = None
        self.starts = 0

    def fill(self, samples: int) -> None:
        """Let this many samples wait, taken one each second until now."""
        outbox, began_at = program.open_outbox(self.configured), CLOCK.now() - samples * 1000
        for number in range(samples):
            vitals = Vitals(network_sent_bytes=next(Numbered.numbers))
            outbox.append(began_at + number * 1000, vitals, {})
        outbox.close()
        Numbered.taken[self.configured.machine] += samples

    def step(self) -> None:
        if self.agent is None:
            settle(self.configured.data, self.configured.machine, CLOCK)
            self.settings = followed(self.configured)
            self.agent, self.starts = program.build(self.settings), self.starts + 1
        self.agent.step()
        if self.agent.restarting:
            self.stop()

    def stop(self) -> None:
        if self.agent is not None:
            self.agent.stop()
        self.agent = None


@pytest.fixture
def servers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Server, Server]]:
    """An old and a new server, and agents that reach each under its address."""
    old, new = Server(tmp_path, "old"), Server(tmp_path, "new")
    brokers = {"old.example": old.broker, "new.example": new.broker}

    def opened(pass_time: Callable[[float], None] | None) -> Callable[..., MemoryTransport]:
        def transport(
            address: ServerAddress, *, username: str, subscriptions: list[tuple[str, int]], will: WillMaker, **_: object
        ) -> MemoryTransport:
            return MemoryTransport(
                brokers[address.host],
                client_id=username,
                subscriptions=subscriptions,
                will=will,
                pass_time=pass_time,
            )

        return transport

    monkeypatch.setattr(program, "Mqtt", opened(lambda _: None))
    monkeypatch.setattr(move, "Mqtt", opened(None))
    monkeypatch.setattr(program, "discover", lambda _package, settings: [Numbered(settings)])
    monkeypatch.setattr(program, "discover_details", lambda *_: [])
    Numbered.taken.clear()
    yield old, new
    for server in (old, new):
        server.engine.dispose()


class Moving:
    """Machines of an old server that move to a new one."""

    def __init__(self, directory: Path, servers: tuple[Server, Server]) -> None:
        self.old, self.new = servers
        self.count, self.backlog = SCALE.moved
        self.machines = [MovingAgent(directory, f"m{number}", self.old) for number in range(self.count)]
        for machine in self.machines:
            machine.fill(self.backlog)

    def run_until(self, condition: Callable[[], bool], what: str) -> None:
        """Let machines and servers work; the deadline grows with the number of machines."""
        deadline = time.monotonic() + 120 + self.count * 10
        while not condition():
            assert time.monotonic() < deadline, what
            for machine in self.machines:
                machine.step()
            for server in (self.old, self.new):
                server.ingestor.step()

    def order(self) -> None:
        """Accept the machines at the new server, and order the move at the old one, two canaries first."""
        accept_machines(self.new.engine, ORG, export_machines(self.old.engine, ORG, None), now=CLOCK.now)
        keys = [key.model_dump() for key in trusted_keys(self.new.engine, ORG, CLOCK.now())]
        arguments = {"destination": json.dumps({"server": NEW, "org": ORG, "ca": None, "keys": keys})}
        names = [machine.configured.machine for machine in self.machines]
        orders = [self.old.operator.order("move", name, arguments=arguments) for name in names]
        for start in range(0, self.count, 20):
            chunk = orders[start : start + 20]
            self.old.broker.route(self.old.operator.act(*chunk, batch="b" * 32, rollout=Rollout(canary=2)))

    @property
    def all_connected(self) -> bool:
        return all(machine.agent and machine.agent.connected for machine in self.machines)

    @property
    def all_arrived(self) -> bool:
        ledgers = self.new.ledgers()
        arrived = len(ledgers) == self.count and all(row["expected"] and not row["waiting"] for row in ledgers.values())
        return arrived and self.all_connected

    def stop(self) -> None:
        for machine in self.machines:
            machine.stop()
        for _ in range(20):
            for server in (self.old, self.new):
                server.ingestor.step()


@pytest.mark.timeout(1800 if IS_WHOLE else 300)
def test_a_fleet_with_a_backlog_moves_and_both_ledgers_add_up(tmp_path: Path, servers: tuple[Server, Server]) -> None:
    moving = Moving(tmp_path, servers)
    moving.run_until(lambda: moving.all_connected, "every machine connected to the old server")
    moving.order()
    moving.run_until(lambda: all(machine.starts == 2 for machine in moving.machines), "every machine started again")
    assert {machine.settings.server for machine in moving.machines} == {NEW}
    moving.run_until(lambda: moving.all_arrived, "the backlog at the new server")
    moving.stop()

    assert moving.old.outcomes() == {"succeeded": moving.count}
    before, after = Counter(moving.old.stored()), Counter(moving.new.stored())
    assert max(before.values()) == max(after.values()) == 1
    assert Counter(name for name, _ in before | after) == Numbered.taken
    assert_ledgers_add_up(moving, twice=Counter(name for name, _ in before & after))


def assert_ledgers_add_up(moving: Moving, *, twice: Counter[str]) -> None:
    """Compare the ledgers with what was taken. `twice`: samples of which a busy old server stored a last batch late.

    An agent repeats its last batch to a server that is too busy to acknowledge it, which is counted as duplicate.
    """
    before, after = moving.old.ledgers(), moving.new.ledgers()
    for name, taken in Numbered.taken.items():
        assert before[name]["stored"] + after[name]["stored"] == taken + twice[name]
        assert twice[name] <= BACKFILL_MAX_SAMPLES + 1
        assert before[name]["lost"] == after[name]["lost"] == 0
        assert after[name]["duplicate"] <= BACKFILL_MAX_SAMPLES
        assert before[name]["stored"] + before[name]["waiting"] == before[name]["expected"]
        assert after[name]["stored"] + after[name]["waiting"] == after[name]["expected"]
    assert sum(row["late"] for row in after.values()) > moving.count * moving.backlog / 4
