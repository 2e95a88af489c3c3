"""Several ingestors on one database and one broker in memory, one step at a time."""

from clocks import Clock
from ingestion import Bench, Speaker, open_bench
from sqlalchemy import Engine, select

from broker.client.memory import MemoryBroker
from schemas.database import tables
from schemas.database.queries.machines import list_machines

ORGS = ("home", "office")


class Several:
    """The ingestors by name, and a machine called attic in each organisation."""

    def __init__(self, fleet: Engine, clock: Clock, *, shares: bool = False) -> None:
        self.fleet = fleet
        self.clock = clock
        self.broker = MemoryBroker(shares=shares)
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
