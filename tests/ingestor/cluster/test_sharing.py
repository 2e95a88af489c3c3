"""Two ingestors to whom the broker gives samples in turns, on PostgreSQL: one ledger, one presence, whoever hears."""

import random

import pytest
from acting import Ears, Operator
from clocks import Clock
from ingestion import Bench
from several import ORGS, Several, presence_publishers, published_presence, stored_presence
from sqlalchemy import Engine, select

from broker.client.transport import Message
from ingestor.cluster.leases import LEASE_SECONDS, TIMERS
from ingestor.intake.retained_sweep import SWEEP_SECONDS
from ingestor.storage.store import Store
from schemas.contract import topics
from schemas.contract.ack import Ack
from schemas.database import tables
from schemas.fleet.ranges import Ranges


@pytest.fixture
def database_url(postgresql_empty_url: str) -> str:
    return postgresql_empty_url


@pytest.fixture
def several(fleet: Engine, clock: Clock) -> Several:
    found = Several(fleet, clock, shares=True)
    found.start("ingestor")
    found.start("ingestor-2")
    assert found.owner(TIMERS) == "ingestor"
    return found


def counts(several: Several, what: str) -> list[int]:
    return [bench.ingestor.counters[what] for bench in several.benches.values()]


def acked(bench: Bench) -> Ranges:
    """What the machine at home was told to be stored."""
    found = Ranges()
    topic = topics.ACK.at(org="home", machine="attic")
    for message in bench.client.receive(10_000, 0):
        if isinstance(message, Message) and message.topic == topic:
            for piece in Ack.decode(message.payload).ranges:
                found.add(piece.first, piece.last)
    return found


def transitions(several: Several) -> list[tuple[str, str]]:
    table = tables.transition
    with several.fleet.connect() as connection:
        rows = connection.execute(select(table.c.after, table.c.reason).join(tables.machine).order_by(table.c.id))
        return [(row.after, row.reason) for row in rows]


def test_the_broker_is_found_to_share_and_only_one_holds_the_timers(several: Several) -> None:
    assert [bench.ingestor._assignment.shares for bench in several.benches.values()] == [True, True]
    assert [bench.ingestor._assignment.leads for bench in several.benches.values()] == [True, False]


def test_samples_of_one_machine_go_to_both_and_its_ledger_is_whole(several: Several) -> None:
    for _ in range(9):
        several.sample("home")
        several.pass_time(1)
    several.pass_time(3)
    assert counts(several, "stored") == [5, 4]
    assert several.shown("home") == ("online", True, 9)
    assert str(acked(several.benches["ingestor"])) == "1-9"
    assert str(acked(several.benches["ingestor-2"])) == "1-9"
    with several.fleet.connect() as connection:
        assert len(connection.execute(select(tables.sample)).all()) == 9
        assert connection.scalar(select(tables.stream.c.number)) == 1


def test_a_sample_that_another_stored_is_known_for_a_duplicate(several: Several) -> None:
    bench = several.benches["ingestor"]
    for message in (sample := several.speakers["home"].telemetry(1), sample):
        bench.publish(message)
        several.step()
    assert counts(several, "stored") == [1, 0]
    assert counts(several, "duplicate") == [0, 1]


def test_what_is_published_in_any_order_and_again_is_stored_once(several: Several) -> None:
    chance = random.Random(3)  # noqa: S311 - a repeatable one
    numbers = [*range(1, 61), *chance.sample(range(1, 61), 20)]
    chance.shuffle(numbers)
    bench, speaker = several.benches["ingestor"], several.speakers["home"]
    for at in range(0, len(numbers), 7):
        bench.publish(*(speaker.telemetry(seq, oldest_seq=1) for seq in numbers[at : at + 7]))
        several.benches[chance.choice(sorted(several.benches))].ingestor.step()
    several.pass_time(2)
    with several.fleet.connect() as connection:
        row = connection.execute(select(tables.stream)).one()
        assert len(connection.execute(select(tables.sample)).all()) == 60
    assert (row.stored, row.highest_seq, row.duplicate) == ("1-60", 60, 20)


def test_a_machine_that_only_the_other_hears_is_not_shown_as_silent(several: Several) -> None:
    for _ in range(40):
        several.sample("home")
        several.sample("office")  # in turns, so that each machine has one ingestor
        several.pass_time(5)
    assert [several.shown(org) for org in ORGS] == [("online", True, 40)] * 2
    assert transitions(several) == [("online", "connected")] * 2


def test_silence_is_judged_by_the_one_that_holds_the_timers_and_a_return_by_whoever_hears(several: Several) -> None:
    several.sample("home")
    several.sample("office")
    several.pass_time(50)
    assert several.shown("office")[0] == several.shown("home")[0] == "stale"
    several.sample("home")
    several.sample("office")
    several.pass_time(1)
    assert several.shown("office")[0] == several.shown("home")[0] == "online"
    assert sorted(transitions(several)) == sorted(
        [("online", "connected"), ("stale", "silent"), ("online", "heard")] * 2
    )


def test_a_will_is_taken_back_by_a_sample_that_the_other_hears(several: Several) -> None:
    bench, speaker = several.benches["ingestor"], several.speakers["home"]
    several.sample("office")
    several.sample("home")
    several.step()
    bench.publish(speaker.status("lost"))
    several.step()
    several.sample("office")
    several.sample("home")
    assert several.numbers == {"home": 2, "office": 2}
    several.pass_time(5)
    assert several.shown("home")[0] == "online"
    bench.publish(speaker.status("lost"))
    several.pass_time(4)
    assert several.shown("home")[0] == "offline"
    assert transitions(several)[-1] == ("offline", "lost")


def test_when_either_dies_nothing_is_lost_and_the_other_holds_the_timers(several: Several) -> None:
    several.sample("home")
    several.pass_time(1)
    several.kill("ingestor")
    for _ in range(round(LEASE_SECONDS) + 3):
        several.sample("home")
        several.pass_time(1)
    assert several.owner(TIMERS) == "ingestor-2"
    assert several.shown("home") == ("online", True, several.numbers["home"])
    operator, ears = Operator(several.clock), Ears(several.broker)
    several.benches["ingestor-2"].publish(operator.act(operator.order()))
    several.pass_time(1)
    assert len(ears.commands()) == 1


def test_a_command_goes_to_a_machine_that_only_the_other_hears(several: Several) -> None:
    several.sample("office")
    several.sample("home")
    several.pass_time(50)
    operator, ears = Operator(several.clock), Ears(several.broker)
    several.benches["ingestor"].publish(operator.act(operator.order()))
    several.pass_time(2)
    assert ears.commands() == [], "it is stale"
    several.sample("office")
    several.sample("home")
    several.pass_time(3)
    assert len(ears.commands()) == 1


def test_what_another_ingestor_writes_of_just_now_is_put_off_and_read_then(several: Several) -> None:
    several.sample("home")
    several.pass_time(1)
    bench = several.benches["ingestor"]
    other = Store(several.fleet, name="other", dead_letter_max=1)
    (machine,) = (machine for machine in other.machines() if machine.org == "home")
    assert other.locks.acquire([machine]) == {machine.id}
    for _ in range(2):
        several.sample("home")
        several.sample("office")
    several.step()
    assert [several.shown(org)[2] for org in ORGS] == [1, 2]
    other.locks.release()
    several.step()
    assert [several.shown(org)[2] for org in ORGS] == [3, 2]
    assert bench.ingestor.counters["database_failures"] == 0


def test_the_newest_reading_is_shown_whoever_was_faster(several: Several) -> None:
    bench, speaker = several.benches["ingestor"], several.speakers["home"]
    older, newer = (
        speaker.telemetry(seq, oldest_seq=1, vitals=speaker.vitals.model_copy(update={"cpu_percent": cpu}))
        for seq, cpu in ((1, 1.0), (2, 2.0))
    )
    bench.publish(newer)
    several.step()
    bench.publish(older)
    several.step()
    with several.fleet.connect() as connection:
        assert connection.scalar(select(tables.state.c.cpu_percent)) == 2.0


def test_the_leader_alone_clears_what_is_retained_by_mistake_and_nobody_takes_that_for_a_message(
    several: Several,
) -> None:
    several.sample("home")
    sample = several.speakers["home"].telemetry(2)
    bench = several.benches["ingestor"]
    bench.publish(Message(sample.topic, sample.payload, 1, retain=True))
    several.pass_time(int(SWEEP_SECONDS) + 4)
    assert sample.topic not in several.broker.retained
    assert counts(several, "unretained") in ([2, 0], [1, 1]), "the message, and the one that cleared it"
    with several.fleet.connect() as connection:
        reasons = list(connection.scalars(select(tables.dead_letter.c.reason)))
    assert reasons == ["retained"]


def test_the_leader_publishes_the_presence_that_another_one_stored(
    several: Several, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = presence_publishers(monkeypatch)
    for _ in range(6):
        several.sample("home")
        several.pass_time(1)
    assert all(counts(several, "stored")), "each has stored some"
    assert {client for client, _ in found} == {"_ingestor"}
    several.pass_time(200)
    assert published_presence(several) == stored_presence(several) == {"home": ("offline", True)}
    for _ in range(2):
        several.sample("home")
        several.step()
    several.pass_time(2)
    assert published_presence(several) == stored_presence(several) == {"home": ("online", True)}
