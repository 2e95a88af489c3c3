"""Who is heard: revoked machines, organisations that are gone, noisy clients, and requests for a place."""

from collections.abc import Callable
from typing import Any

import pytest
from clocks import Clock
from ingestion import Bench, Speaker
from sqlalchemy import Engine, select

from broker.access.credentials import hash_secret
from broker.access.policy import Principal, Role
from broker.client.memory import MemoryTransport
from broker.client.transport import Message
from ingestor.admin import access, tokens
from ingestor.cluster.leases import Leases
from ingestor.cluster.work_assignment import WorkAssignment
from ingestor.domain.batch import Batch
from ingestor.ingestor import CONFIG_SECONDS, PRINCIPALS_SECONDS
from ingestor.intake.ingress import Ingress
from ingestor.intake.machine_cache import MachineCache
from ingestor.intake.rate_limits import Rate, RateLimits
from ingestor.outbound.queue import OutboundQueue
from ingestor.storage.store import Store
from schemas.contract import topics
from schemas.contract.enrolment import EnrolAnswer, EnrolRequest
from schemas.contract.live import LiveLease
from schemas.database import tables
from schemas.database.queries.machines import list_machines

ATTIC = {"org": "home", "machine": "attic"}
RETAINED = (topics.STATUS, topics.INFO, topics.CONFIG, topics.WATCH)
NOT_RETAINED = (topics.TELEMETRY, topics.BACKFILL, topics.RESULT, topics.LIVE)
"""Cleared as well: most brokers retain them if a machine requests it."""


def rows(fleet: Engine, table: Any) -> list[Any]:  # noqa: ANN401 - a table
    with fleet.connect() as connection:
        return list(connection.execute(select(table)))


def presence(fleet: Engine, org: str = "home") -> tuple[str, str]:
    row = next(row for row in list_machines(fleet) if row["org"] == org)
    return row["presence"], row["reason"]


def retained(bench: Bench) -> set[str]:
    """What the broker keeps of machines."""
    return {topic for topic in bench.broker.retained if "/up/" in topic or "/down/" in topic}


@pytest.fixture
def alive(bench: Bench, speaker: Speaker) -> Bench:
    """A bench whose attic at home is online."""
    desired = Message(topics.CONFIG.at(**ATTIC), b"{}", 1, retain=True)
    lease = Message(topics.WATCH.at(**ATTIC), LiveLease(id="0" * 32, seconds=8.0).encode(), 0, retain=True)
    bench.publish(speaker.status(), speaker.info(), speaker.telemetry(1), desired, lease)
    bench.step()
    return bench


def revoke(fleet: Engine, bench: Bench, clock: Clock) -> None:
    access.revoke_principal(fleet, "home.attic", now=clock.now)
    bench.step(PRINCIPALS_SECONDS)


def test_a_machine_that_was_never_heard_is_retired_too(bench: Bench, fleet: Engine, clock: Clock) -> None:
    bench.step()
    access.add_principal(fleet, Principal(Role.MACHINE, "home", "cellar"), "made-up", now=clock.now)
    access.revoke_principal(fleet, "home.cellar", now=clock.now)
    bench.step(PRINCIPALS_SECONDS)
    found = {row["machine"]: row["presence"] for row in list_machines(fleet) if row["org"] == "home"}
    assert found["cellar"] == "retired"


def test_a_revoked_machine_is_retired_within_a_second_and_nothing_of_it_stays_retained(
    alive: Bench, fleet: Engine, clock: Clock
) -> None:
    assert retained(alive) == {topic.at(**ATTIC) for topic in RETAINED}
    revoke(fleet, alive, clock)
    assert presence(fleet) == ("retired", "revoked")
    assert retained(alive) == set()
    assert rows(fleet, tables.transition)[-1].reason == "revoked"


def test_what_still_arrives_of_it_is_set_aside_unacknowledged(
    alive: Bench, fleet: Engine, clock: Clock, speaker: Speaker
) -> None:
    alive.step(5)
    alive.client.receive(100, 0)
    revoke(fleet, alive, clock)
    alive.publish(speaker.telemetry(2), speaker.backfill(3, 4))
    alive.step(5)
    alive.step(5)
    acks = [event for event in alive.client.receive(100, 0) if isinstance(event, Message) and "ack" in event.topic]
    assert acks == []
    assert [row.reason for row in rows(fleet, tables.dead_letter)] == ["revoked", "revoked"]
    assert len(rows(fleet, tables.sample)) == 1
    assert alive.ingestor.counters["rejected.revoked"] == 2


@pytest.mark.parametrize("again", ["status", "info"])
def test_a_will_that_comes_after_the_revocation_is_cleared_as_well(
    alive: Bench, fleet: Engine, clock: Clock, speaker: Speaker, again: str
) -> None:
    revoke(fleet, alive, clock)
    alive.publish(speaker.status("lost") if again == "status" else speaker.info())
    alive.step()
    assert retained(alive) == set()
    assert presence(fleet) == ("retired", "revoked")


def test_a_revocation_while_the_ingestor_was_down_is_noticed_at_its_start(
    alive: Bench, fleet: Engine, clock: Clock, make_bench: Callable[[], Bench]
) -> None:
    alive.ingestor.stop()
    access.revoke_principal(fleet, "home.attic", now=clock.now)
    make_bench()
    assert presence(fleet) == ("retired", "revoked")
    assert retained(alive) == set()


def test_time_and_blindness_change_nothing_about_a_revoked_machine(alive: Bench, fleet: Engine, clock: Clock) -> None:
    revoke(fleet, alive, clock)
    alive.step(300)
    alive.broker.clients["_ingestor"].cut()
    alive.step(2 * 86_400)
    assert presence(fleet) == ("retired", "revoked")
    assert not rows(fleet, tables.incident) or all(row.kind == "blind" for row in rows(fleet, tables.incident))


def test_a_machine_that_is_let_in_again_comes_back_with_its_history(
    alive: Bench, fleet: Engine, clock: Clock, speaker: Speaker
) -> None:
    revoke(fleet, alive, clock)
    access.new_principal(fleet, "home", "attic", "machine", now=clock.now)
    alive.step(PRINCIPALS_SECONDS)
    assert presence(fleet) == ("offline", "reinstated")
    speaker.session += 1
    alive.publish(speaker.status(), speaker.telemetry(2))
    alive.step()
    assert presence(fleet) == ("online", "connected")
    assert len(rows(fleet, tables.sample)) == 2


def test_other_machines_are_not_touched(alive: Bench, fleet: Engine, clock: Clock) -> None:
    office = Speaker(clock, org="office")
    alive.publish(office.status(), office.telemetry(1))
    revoke(fleet, alive, clock)
    assert presence(fleet, "office")[0] == "online"
    assert retained(alive) == {topics.STATUS.at(org="office", machine="attic")}


def test_an_organisation_that_is_removed_leaves_nothing_retained_and_stops_nobody(
    alive: Bench, fleet: Engine, clock: Clock, speaker: Speaker
) -> None:
    office = Speaker(clock, org="office")
    access.remove_org(fleet, "home", now=clock.now)
    alive.publish(speaker.telemetry(2), office.telemetry(1))  # before anybody has noticed
    alive.step(PRINCIPALS_SECONDS, steps=6)
    assert retained(alive) == set()
    assert topics.ORG_CONFIG.at(org="home") not in alive.broker.retained
    assert topics.ORG_CONFIG.at(org="office") in alive.broker.retained
    assert [row["org"] for row in list_machines(fleet)] == ["office"]
    alive.publish(speaker.telemetry(3), office.telemetry(2))
    alive.step(steps=2)
    assert len(rows(fleet, tables.sample)) == 2
    assert presence(fleet, "office")[0] == "online"
    assert alive.ingestor.counters["database_failures"] == 0


def test_an_organisation_that_is_removed_is_forgotten_and_may_come_back_under_its_name(
    alive: Bench, fleet: Engine, clock: Clock, speaker: Speaker
) -> None:
    revoke(fleet, alive, clock)  # so that its state does not change when the organisation goes
    cache = alive.ingestor._cache
    assert cache.count("home") == 1
    access.remove_org(fleet, "home", now=clock.now)
    alive.step(CONFIG_SECONDS, steps=3)
    assert cache.count("home") == 0
    access.add_org(fleet, "home", now=clock.now)
    access.add_principal(fleet, Principal(Role.MACHINE, "home", "attic"), "made-up", now=clock.now)
    alive.step(CONFIG_SECONDS, steps=3)
    alive.publish(speaker.status(), speaker.telemetry(7))
    alive.step(steps=3)
    assert [row.seq for row in rows(fleet, tables.sample)] == [7]
    assert presence(fleet, "home")[0] == "online"
    assert alive.ingestor.counters["database_failures"] == 0


# Limits.


@pytest.fixture
def limited(fleet: Engine, clock: Clock) -> Callable[[RateLimits], tuple[Bench, MemoryTransport]]:
    """Starts an ingestor with these limits."""
    from broker.client.memory import MemoryBroker
    from ingestor.ingestor import Ingestor

    def start(limits: RateLimits) -> tuple[Bench, MemoryTransport]:
        broker = MemoryBroker()
        ingestor = Ingestor(
            store=Store(fleet, name="ingestor", dead_letter_max=100),
            open_transport=lambda *, subscriptions: MemoryTransport(
                broker, client_id="_ingestor", subscriptions=subscriptions, pass_time=lambda _: None
            ),
            batch_max=1000,
            ack_seconds=0.0,
            clock=clock,
            limits=limits,
        )
        client = MemoryTransport(
            broker, client_id="client", subscriptions=[(topics.ACK.filter(), 0)], pass_time=lambda _: None
        )
        client.receive(100, 0)
        bench = Bench(broker, ingestor, client, clock)
        bench.step(steps=2)
        return bench, client

    return start


def incidents(fleet: Engine) -> list[Any]:
    return [row for row in rows(fleet, tables.incident) if row.kind == "noisy"]


def test_a_noisy_machine_is_dropped_unread_counted_and_shown_and_the_others_are_heard(
    limited: Callable[[RateLimits], tuple[Bench, MemoryTransport]], fleet: Engine, clock: Clock, speaker: Speaker
) -> None:
    bench, client = limited(RateLimits(clock, machine=Rate(20, 1 << 20)))
    office = Speaker(clock, org="office")
    bench.publish(*(speaker.telemetry(seq) for seq in range(1, 101)), office.telemetry(1))
    bench.step(1)
    assert len(rows(fleet, tables.sample)) == 21
    assert bench.ingestor.counters["limited"] == 80
    assert rows(fleet, tables.dead_letter) == []
    acked = {event.topic for event in client.receive(100, 0) if isinstance(event, Message)}
    assert topics.ACK.at(org="office", machine="attic") in acked
    (incident,) = incidents(fleet)
    assert incident.details == {"machine": "attic", "dropped": 80}
    assert incident.ended_at is None


def test_what_was_dropped_is_stored_when_it_comes_again(
    limited: Callable[[RateLimits], tuple[Bench, MemoryTransport]], fleet: Engine, clock: Clock, speaker: Speaker
) -> None:
    bench, _ = limited(RateLimits(clock, machine=Rate(20, 1 << 20)))
    bench.publish(*(speaker.telemetry(seq) for seq in range(1, 101)))
    bench.step()
    bench.step(60)
    bench.publish(speaker.backfill(*range(21, 101)))
    bench.step()
    assert len(rows(fleet, tables.sample)) == 100


def test_an_incident_of_noise_grows_while_it_lasts_and_ends_a_minute_after_it(
    limited: Callable[[RateLimits], tuple[Bench, MemoryTransport]], fleet: Engine, clock: Clock, speaker: Speaker
) -> None:
    bench, _ = limited(RateLimits(clock, machine=Rate(20, 1 << 20)))
    for start in (1, 101):
        bench.publish(*(speaker.telemetry(seq) for seq in range(start, start + 100)))
        bench.step(1)
    assert [row.details["dropped"] for row in incidents(fleet)] == [80 + 100]
    for _ in range(62):
        bench.step(1)
    assert incidents(fleet)[0].ended_at is not None


def test_a_noisy_organisation_starves_no_other(
    limited: Callable[[RateLimits], tuple[Bench, MemoryTransport]], fleet: Engine, clock: Clock
) -> None:
    bench, _ = limited(RateLimits(clock, org=Rate(30, 1 << 20)))
    for number in range(10):
        access.add_principal(fleet, Principal(Role.MACHINE, "home", f"m{number}"), "made-up", now=clock.now)
    home = [Speaker(clock, f"m{number}").telemetry(seq) for number in range(10) for seq in range(1, 11)]
    office = [Speaker(clock, org="office").telemetry(seq) for seq in range(1, 31)]
    bench.publish(*home, *office)
    bench.step(1)
    assert len(rows(fleet, tables.sample)) == 60
    (incident,) = incidents(fleet)
    assert incident.details == {"machine": "", "dropped": 70}


# A place for a machine.


def ask(bench: Bench, fleet: Engine, clock: Clock, payload: bytes | None = None) -> tuple[str, MemoryTransport]:
    """Ask for a place with a token that was just made; the topic of the answer, and who hears it."""
    token = tokens.new_token(fleet, "home", uses=1, seconds=60, created_by="", now=clock.now)
    own = {"org": "home", "principal": token.name}
    answer = topics.ENROL_ANSWER.at(**own)
    asker = MemoryTransport(bench.broker, client_id=token.name, subscriptions=[(answer, 1)], pass_time=lambda _: None)
    asker.receive(10, 0)
    request = EnrolRequest(nonce="a" * 32, machine="cellar", hostname="cellar", secret_hash=hash_secret("made-up"))
    asker.publish(Message(topics.ENROL_REQUEST.at(**own), request.encode() if payload is None else payload))
    return answer, asker


def test_a_request_is_answered_after_its_commit_and_the_machine_is_heard_at_once(
    bench: Bench, fleet: Engine, clock: Clock
) -> None:
    answer, asker = ask(bench, fleet, clock)
    bench.step()
    (message,) = asker.receive(10, 0)
    assert isinstance(message, Message)
    assert (message.topic, message.retain) == (answer, False)
    assert EnrolAnswer.decode(message.payload).machine == "cellar"
    cellar = Speaker(clock, "cellar")
    bench.publish(cellar.status(), cellar.telemetry(1))
    bench.step()
    assert [row["presence"] for row in list_machines(fleet) if row["machine"] == "cellar"] == ["online"]


@pytest.mark.parametrize("payload", [b"", b"{", b"null", b'{"v": 2}', b"\xff"])
def test_what_is_no_request_is_set_aside_and_uses_up_nothing(
    bench: Bench, fleet: Engine, clock: Clock, payload: bytes
) -> None:
    _, asker = ask(bench, fleet, clock, payload)
    bench.step()
    assert asker.receive(10, 0) == []
    assert len(rows(fleet, tables.dead_letter)) == 1
    assert tokens.list_tokens(fleet)[0]["used"] == 0


def test_a_request_of_nobodys_token_is_set_aside(bench: Bench, fleet: Engine) -> None:
    request = EnrolRequest(nonce="a" * 32, machine="cellar", hostname="cellar", secret_hash=hash_secret("made-up"))
    bench.publish(Message(topics.ENROL_REQUEST.at(org="home", principal="token-0"), request.encode()))
    bench.step()
    assert [row.reason for row in rows(fleet, tables.dead_letter)] == ["unknown-token"]


def test_what_there_is_to_say_waits_until_it_can_be_said(fleet: Engine, clock: Clock) -> None:
    """More is cleared at once than a connection takes."""
    said: list[Message] = []

    class Narrow(MemoryTransport):
        def publish(self, message: Message) -> bool:
            if self.full:
                return False
            said.append(message)
            self.full = True
            return True

        full = False

    from broker.client.memory import MemoryBroker

    for number in range(3):
        access.add_principal(fleet, Principal(Role.MACHINE, "home", f"m{number}"), "made-up", now=clock.now)
        access.revoke_principal(fleet, f"home.m{number}", now=clock.now)
    store = Store(fleet, name="x", dead_letter_max=1)
    assignment = WorkAssignment(Leases(fleet, name="x", clock=clock), by_machine=False)
    outbound = OutboundQueue(ack_seconds=2.0, clock=clock)
    cache = MachineCache(store, assignment, clock)
    ingress = Ingress(store, cache, assignment, outbound, clock, limits=RateLimits(clock))
    ingress.load()
    ingress.retire(lambda *_: None)
    for _ in range(3 * len((*RETAINED, *NOT_RETAINED))):
        outbound.publish(Narrow(MemoryBroker(), client_id="x"))
    assert {message.topic for message in said} == {
        topic.at(org="home", machine=f"m{number}") for topic in (*RETAINED, *NOT_RETAINED) for number in range(3)
    }
    assert len(said) == 24
    assert all(message.retain and not message.payload for message in said)
    topic = topics.TELEMETRY.at(org="home", machine="attic")
    assert ingress.admit(Batch(), Message(topic, b"x"), topics.parse(topic))
