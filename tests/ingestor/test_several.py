"""Several ingestors on one database and one broker, one step at a time: everything is done once, by the right one.

On a broker without shared subscriptions, so by organisation.
"""

from collections import Counter
from collections.abc import Callable

import pytest
from acting import Ears, Operator, order_of, result
from clocks import Clock
from ingestion import Bench, Speaker, open_bench
from sqlalchemy import Engine, select

from broker.memory import MemoryBroker
from broker.transport import Message
from ingestor.ingestor import Ingestor
from ingestor.leases import LEASE_SECONDS
from ingestor.machines import list_machines
from schemas import tables, topics
from schemas.messages import Ack

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


@pytest.fixture
def several(fleet: Engine, clock: Clock) -> Several:
    return Several(fleet, clock)


def acked(bench: Bench) -> Counter[str]:
    """How often each organisation's machine was acknowledged."""
    received = bench.client.receive(1000, 0)
    found = [topics.parse(message.topic) for message in received if isinstance(message, Message)]
    return Counter(address.org for address in found if address is not None and address.topic is topics.ACK)


def test_each_organisation_is_one_ingestors_and_everything_is_stored_once(several: Several) -> None:
    first = several.start("ingestor")
    several.start("ingestor-2")
    several.pass_time(3)
    assert {several.owner(org) for org in ORGS} == {"ingestor", "ingestor-2"}
    acked(first)
    for org in ORGS:
        several.sample(org)
    several.step()
    assert [several.shown(org) for org in ORGS] == [("online", True, 1)] * 2
    assert acked(first) == Counter(ORGS)


def test_while_the_work_changes_hands_nothing_is_lost_and_nobody_is_shown_as_gone(several: Several) -> None:
    several.start("ingestor")
    for _ in range(3):
        several.sample("home")
        several.sample("office")
        several.pass_time(1)
    several.start("ingestor-2")
    for _ in range(4):
        several.sample("home")
        several.sample("office")
        several.pass_time(1)
    assert {several.owner(org) for org in ORGS} == {"ingestor", "ingestor-2"}
    assert [several.shown(org) for org in ORGS] == [("online", True, 7)] * 2


def test_a_dead_ingestors_work_is_taken_over_and_its_machines_are_unverified_until_heard(several: Several) -> None:
    several.start("ingestor")
    several.start("ingestor-2")
    several.pass_time(2)
    dead = several.owner("office")
    for org in ORGS:
        several.sample(org)
    several.step()
    several.kill(dead)
    several.pass_time(round(LEASE_SECONDS) + 3)
    assert several.owner("office") == several.owner("home") != dead
    assert several.shown("office") == ("online", False, 1)
    assert several.shown("home") == ("online", True, 1)
    several.sample("office")
    several.step()
    assert several.shown("office") == ("online", True, 2)


def test_a_goodbye_that_nobody_heard_is_found_when_the_work_is_taken_over(several: Several) -> None:
    several.start("ingestor")
    several.start("ingestor-2")
    several.pass_time(2)
    several.sample("office")
    several.step()
    several.kill(several.owner("office"))
    next(iter(several.benches.values())).publish(several.speakers["office"].status("stopped"))
    several.pass_time(round(LEASE_SECONDS) + 3)
    assert several.shown("office")[0] == "offline"


def test_one_that_stood_still_writes_nothing_of_what_was_taken_over(several: Several) -> None:
    several.start("ingestor")
    several.start("ingestor-2")
    several.pass_time(2)
    stalled = several.owner("office")
    bench = several.benches.pop(stalled)
    several.pass_time(round(LEASE_SECONDS) + 3)
    for _ in range(3):
        several.sample("office")
        several.pass_time(1)
    assert several.shown("office") == ("online", True, 3)
    several.benches[stalled] = bench
    several.step()
    assert bench.ingestor.counters["fenced"] == 1
    several.pass_time(5)
    assert {several.owner(org) for org in ORGS} == {"ingestor", "ingestor-2"}
    assert several.shown("office")[2] == 3


def test_an_order_is_sent_once_and_its_result_is_taken_by_whoever_has_it_then(several: Several) -> None:
    several.start("ingestor")
    several.start("ingestor-2")
    several.pass_time(2)
    several.sample("home")
    several.step()
    operator, ears = Operator(several.clock), Ears(several.broker)
    order = operator.order()
    next(iter(several.benches.values())).publish(operator.act(order))
    several.step()
    assert len(ears.commands()) == 1
    several.kill(several.owner("home"))
    several.pass_time(round(LEASE_SECONDS) + 3)
    done = result(order_of(order).id, "succeeded", several.clock, session=several.speakers["home"].session)
    next(iter(several.benches.values())).publish(done)
    several.pass_time(1)
    assert ears.acked() == [order_of(order).id]
    assert {update.state for update in ears.updates() if update.command} >= {"succeeded"}


def test_only_one_rolls_up(several: Several, monkeypatch: pytest.MonkeyPatch) -> None:
    tending: list[Ingestor] = []
    for name in ("ingestor", "ingestor-2"):
        ingestor = several.start(name).ingestor
        monkeypatch.setattr(ingestor._tending, "step", _noting(tending, ingestor))
    several.pass_time(5)
    assert set(tending) == {several.benches["ingestor"].ingestor}


def _noting(tending: list[Ingestor], ingestor: Ingestor) -> Callable[..., None]:
    return lambda *, busy: tending.append(ingestor)  # noqa: ARG005 - as it is called


def test_acknowledgements_say_what_is_stored_also_of_what_another_stored(several: Several) -> None:
    several.start("ingestor")
    for _ in range(3):
        several.sample("office")
        several.pass_time(1)
    several.start("ingestor-2")
    several.pass_time(2)
    bench = several.benches["ingestor"]
    bench.client.receive(1000, 0)
    several.sample("office")
    several.pass_time(3)
    received = [message for message in bench.client.receive(1000, 0) if isinstance(message, Message)]
    acks = [Ack.decode(message.payload) for message in received if message.topic.endswith("ack")]
    assert [(piece.first, piece.last) for ack in acks for piece in ack.ranges] == [(1, 4)]
