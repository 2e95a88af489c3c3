"""Requests for live readings: leases that end, one per machine, and a bounded number of them."""

from ingestion import Bench
from sqlalchemy import Engine, select

from broker.access.policy import Principal, Role
from broker.client.memory import MemoryTransport
from broker.client.transport import Message
from ingestor.admin.access import add_principal
from ingestor.intake.live_requests import MACHINES_MAX
from schemas.contract import topics
from schemas.contract.live import LEASE_SECONDS, REQUEST_SECONDS, LiveAnswer, LiveLease, LiveRequest
from schemas.database import tables

ATTIC = topics.WATCH.at(org="home", machine="attic")


class Viewer:
    """A reader that asks, and hears its answers and all leases."""

    def __init__(self, bench: Bench, name: str = "grafana", org: str = "home") -> None:
        self.bench, self.own = bench, {"org": org, "principal": name}
        subscriptions = [(topics.LIVE_ANSWER.at(**self.own), 0), (topics.WATCH.filter(), 0)]
        self.transport = MemoryTransport(
            bench.broker, client_id=name, subscriptions=subscriptions, pass_time=lambda _: None
        )
        self.transport.receive(10, 0)
        self.messages: list[Message] = []

    def ask(self, machine: str = "attic", payload: bytes | None = None) -> None:
        payload = LiveRequest(machine=machine).encode() if payload is None else payload
        assert self.transport.publish(Message(topics.LIVE_REQUEST.at(**self.own), payload, 0))
        self.bench.step()

    def hear(self) -> None:
        self.messages += [each for each in self.transport.receive(10_000, 0) if isinstance(each, Message)]

    @property
    def answers(self) -> list[LiveAnswer]:
        self.hear()
        topic = topics.LIVE_ANSWER.at(**self.own)
        return [LiveAnswer.decode(each.payload) for each in self.messages if each.topic == topic]

    def leases(self, topic: str = ATTIC) -> list[bytes]:
        self.hear()
        return [each.payload for each in self.messages if each.topic == topic]


def test_a_request_is_answered_and_the_machine_gets_a_lease_that_the_broker_keeps(bench: Bench) -> None:
    viewer = Viewer(bench)
    viewer.ask()
    assert viewer.answers == [LiveAnswer(machine="attic", seconds=LEASE_SECONDS)]
    assert LiveLease.decode(bench.broker.retained[ATTIC].payload).seconds == LEASE_SECONDS


def test_the_lease_is_cleared_when_nobody_asks_any_more_and_nothing_is_published_afterwards(bench: Bench) -> None:
    viewer = Viewer(bench)
    viewer.ask()
    bench.step(LEASE_SECONDS - 0.1)
    assert ATTIC in bench.broker.retained
    bench.step(0.2)
    assert ATTIC not in bench.broker.retained
    assert viewer.leases()[-1] == b""
    bench.step(1.0, steps=60)
    assert len(viewer.leases()) == 2


def test_a_lease_lasts_while_somebody_asks_and_each_message_has_another_id(bench: Bench) -> None:
    viewer = Viewer(bench)
    for _ in range(10):
        viewer.ask()
        bench.step(REQUEST_SECONDS)
    found = viewer.leases()
    assert len({LiveLease.decode(payload).id for payload in found}) == len(found) == 10


def test_fifty_viewers_of_a_machine_cost_it_no_more_than_one(bench: Bench) -> None:
    viewers = [Viewer(bench, f"viewer-{number}") for number in range(50)]
    for _ in range(10):
        for viewer in viewers:
            viewer.ask()
            bench.step(REQUEST_SECONDS / 50)
    assert all(len(viewer.answers) == 10 for viewer in viewers)
    assert len(viewers[0].leases()) <= 12


def test_a_bounded_number_of_machines_of_an_organisation_is_watched_and_another_organisation_is_not_affected(
    bench: Bench, fleet: Engine
) -> None:
    names = [f"machine-{number}" for number in range(MACHINES_MAX + 1)]
    for name in names:
        add_principal(fleet, Principal(Role.MACHINE, "home", name), "made-up", now=bench.clock.now)
    viewer, other = Viewer(bench), Viewer(bench, "other", "office")
    for name in names:
        viewer.ask(name)
    assert [answer.refused for answer in viewer.answers] == [None] * MACHINES_MAX + ["too-many"]
    viewer.ask(names[0])
    other.ask()
    assert viewer.answers[-1].seconds == other.answers[-1].seconds == LEASE_SECONDS
    bench.step(LEASE_SECONDS + 1)
    viewer.ask(names[-1])
    assert viewer.answers[-1].seconds == LEASE_SECONDS


def test_an_unknown_machine_one_of_another_organisation_and_a_retired_one_are_refused(
    bench: Bench, fleet: Engine
) -> None:
    add_principal(fleet, Principal(Role.MACHINE, "office", "vault"), "made-up", now=bench.clock.now)
    viewer = Viewer(bench)
    for name in ("nowhere", "vault"):
        viewer.ask(name)
    with fleet.begin() as connection:
        connection.execute(tables.principal.update().values(revoked_at=1).where(tables.principal.c.name == "attic"))
    bench.step(2.0, steps=2)
    viewer.ask()
    assert [answer.refused for answer in viewer.answers] == ["unknown-machine"] * 3
    assert not [payload for payload in viewer.leases() if payload]


def test_requests_leave_no_row_and_an_invalid_one_is_answered_and_becomes_a_dead_letter(
    bench: Bench, fleet: Engine
) -> None:
    viewer = Viewer(bench)
    counted = (tables.machine, tables.sample, tables.request, tables.command, tables.dead_letter, tables.transition)

    def number() -> list[int]:
        with fleet.connect() as connection:
            return [len(connection.execute(select(table)).all()) for table in counted]

    before = number()
    for _ in range(5):
        viewer.ask()
        bench.step(REQUEST_SECONDS)
    assert number() == before
    for payload in (b"", b"nonsense", b'{"v": 1, "machine": "../x"}'):
        viewer.ask(payload=payload)
    assert number()[4] == before[4] + 3
    *granted, first, second, third = viewer.answers
    assert len(granted) == 5
    assert first == second == third == LiveAnswer(machine=None, refused="invalid")


def test_a_lease_that_an_earlier_ingestor_left_at_the_broker_is_cleared_and_a_known_one_stays(bench: Bench) -> None:
    left = topics.WATCH.at(org="office", machine="attic")
    bench.broker.route(Message(left, LiveLease(id="0" * 32, seconds=8.0).encode(), 0, retain=True))
    bench.step(61.0)
    Viewer(bench).ask()
    bench.step()
    assert left not in bench.broker.retained
    assert ATTIC in bench.broker.retained
