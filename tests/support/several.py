"""Several ingestors on one database and one broker in memory, one step at a time."""

import pytest
from clocks import Clock
from ingestion import Bench, Speaker, open_bench
from sqlalchemy import Engine, select

from broker.client.memory import MemoryBroker, MemoryTransport
from broker.client.transport import Message
from schemas.contract import topics
from schemas.contract.presence import PresenceMessage
from schemas.database import tables
from schemas.database.queries.machines import list_machines

ORGS = ("home", "office")


class Several:
    """The ingestors by name, and a machine called attic in each organisation."""

    def __init__(self, fleet: Engine, clock: Clock) -> None:
        self.fleet = fleet
        self.clock = clock
        self.broker = MemoryBroker()
        self.benches: dict[str, Bench] = {}
        self.speakers = {org: Speaker(clock, org=org, session=clock.now()) for org in ORGS}
        self.numbers = dict.fromkeys(ORGS, 0)

    def start(self, name: str) -> Bench:
        self.benches[name] = open_bench(self.fleet, self.clock, self.broker, name=name)
        self.pass_time(3)
        return self.benches[name]

    def kill(self, name: str) -> None:
        """It stops where it is, and its connection ends."""
        del self.benches[name]
        self.broker.clients[f"_{name}"].cut(send_will=False)
        self.broker.clients.pop(f"_{name}", None)

    def step(self) -> None:
        for bench in self.benches.values():
            bench.ingestor.step()

    def pass_time(self, seconds: int) -> None:
        for _ in range(seconds):
            self.clock.advance(1)
            self.step()

    def sample(self, org: str) -> None:
        """The machine of an organisation says something."""
        self.numbers[org] += 1
        bench = next(iter(self.benches.values()))
        bench.publish(self.speakers[org].telemetry(self.numbers[org]))

    def owner(self, org: str) -> str:
        """Whose this organisation is, by the leases."""
        with self.fleet.connect() as connection:
            return str(connection.scalar(select(tables.lease.c.holder).where(tables.lease.c.name == org)))

    def shown(self, org: str) -> tuple[str, bool, int]:
        """Presence, whether it is verified, and how many samples are stored."""
        row = next(row for row in list_machines(self.fleet) if row["org"] == org)
        assert row["ledger"]["duplicate"] == row["ledger"]["lost"] == 0
        return row["presence"], row["verified"], row["ledger"]["stored"]


def presence_publishers(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """Return which client publishes the presence of which organisation from now on, as it happens."""
    found: list[tuple[str, str]] = []
    publish = MemoryTransport.publish

    def noted(self: MemoryTransport, message: Message) -> bool:
        if (address := topics.parse(message.topic)) is not None and address.topic is topics.PRESENCE:
            found.append((self._client_id, address.org))
        return publish(self, message)

    monkeypatch.setattr(MemoryTransport, "publish", noted)
    return found


def published_presence(several: Several) -> dict[str, tuple[str, bool]]:
    """Return presence and whether it is verified, by organisation, as the broker retains it."""
    found: dict[str, tuple[str, bool]] = {}
    for org in ORGS:
        message = several.broker.retained.get(topics.PRESENCE.at(org=org, machine="attic"))
        if message is not None:
            presence = PresenceMessage.decode(message.payload)
            found[org] = presence.presence, presence.verified
    return found


def stored_presence(several: Several) -> dict[str, tuple[str, bool]]:
    """Return presence and whether it is verified, by organisation, as stored, of machines that were heard."""
    rows = list_machines(several.fleet)
    return {row["org"]: (row["presence"], row["verified"]) for row in rows if row["presence"] != "unknown"}
