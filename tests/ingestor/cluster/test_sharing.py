"""Two ingestors that divide the samples by machine, on PostgreSQL: one ledger, one presence, whoever stores.

The machines of these tests, called attic in both organisations, are the second ingestor's; the first is the leader.
"""

import random

import pytest
from acting import Ears, Operator
from clocks import Clock
from ingestion import Bench
from several import ORGS, Several, presence_publishers, published_presence, stored_presence
from sqlalchemy import Engine, select, update

from broker.client.transport import Message
from ingestor.cluster.leases import LEASE_SECONDS, TIMERS
from ingestor.cluster.work_assignment import WorkAssignment, lease_of
from ingestor.domain.machine import Machine
from ingestor.intake.retained_sweep import SWEEP_SECONDS
from ingestor.storage.store import Store
from schemas.contract import topics
from schemas.contract.ack import Ack
from schemas.contract.org_config import OrgConfig
from schemas.contract.topics import Address
from schemas.database import tables
from schemas.fleet.ranges import Ranges


@pytest.fixture
def database_url(postgresql_empty_url: str) -> str:
    return postgresql_empty_url


@pytest.fixture
def several(fleet: Engine, clock: Clock) -> Several:
    found = Several(fleet, clock)
    found.start("ingestor")
    found.start("ingestor-2")
    assert found.owner(TIMERS) == "ingestor"
    assert {found.owner(lease_of(org, "attic")) for org in ORGS} == {"ingestor-2"}
    return found


def counts(several: Several, what: str) -> list[int]:
    return [bench.ingestor.counters[what] for bench in several.benches.values()]


def let_everybody_store(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every ingestor handle the samples of all machines, as one does that does not know of a take-over yet."""
    handles = WorkAssignment.handles

    def handles_samples(self: WorkAssignment, address: Address | None) -> bool:
        return (address is not None and address.topic is topics.TELEMETRY) or handles(self, address)

    monkeypatch.setattr(WorkAssignment, "handles", handles_samples)


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


def test_a_large_organisation_is_divided_evenly_and_only_one_holds_the_timers(several: Several) -> None:
    assignments = [bench.ingestor._assignment for bench in several.benches.values()]
    assert [assignment.leads for assignment in assignments] == [True, False]
    addresses = [Address(topics.TELEMETRY, org="home", machine=f"m{number}") for number in range(5000)]
    handled = [{address for address in addresses if assignment.handles(address)} for assignment in assignments]
    assert handled[0] | handled[1] == set(addresses)
    assert not handled[0] & handled[1]
    assert [len(some) for some in handled] == [pytest.approx(2500, rel=0.02)] * 2


def test_a_machine_stays_with_one_ingestor_that_reads_it_once_and_stores_all_its_samples(
    several: Several, monkeypatch: pytest.MonkeyPatch
) -> None:
    read_again: list[Machine] = []
    adopt = Machine.adopt

    def noted(self: Machine, stored: Machine) -> None:
        read_again.append(self)
        adopt(self, stored)

    monkeypatch.setattr(Machine, "adopt", noted)
    for _ in range(9):
        several.sample("home")
        several.pass_time(1)
    stored = several.benches["ingestor-2"].ingestor._cache.get("home", "attic")
    assert sum(each is stored for each in read_again) <= 1, "its state was inserted by this ingestor or another one"
    several.pass_time(3)
    assert counts(several, "stored") == [0, 9]
    assert counts(several, "elsewhere") == [9, 0]
    assert several.shown("home") == ("online", True, 9)
    assert str(acked(several.benches["ingestor"])) == "1-9"
    with several.fleet.connect() as connection:
        assert len(connection.execute(select(tables.sample)).all()) == 9
        assert connection.scalar(select(tables.stream.c.number)) == 1


def test_a_machine_that_changes_hands_has_one_ledger_and_the_fleet_is_not_loaded_again(
    fleet: Engine, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    several = Several(fleet, clock)
    first = several.start("ingestor")
    monkeypatch.setattr(first.ingestor._cache, "load", pytest.fail)
    for _ in range(4):
        several.sample("home")
        several.pass_time(1)
    several.start("ingestor-2")
    several.pass_time(2)
    for _ in range(5):
        several.sample("home")
        several.pass_time(1)
    several.pass_time(3)
    assert counts(several, "stored") == [4, 5]
    assert several.shown("home") == ("online", True, 9)
    assert str(acked(several.benches["ingestor-2"])) == "1-9"


def test_a_sample_that_another_stored_is_known_for_a_duplicate(
    several: Several, monkeypatch: pytest.MonkeyPatch
) -> None:
    let_everybody_store(monkeypatch)
    several.benches["ingestor"].publish(several.speakers["home"].telemetry(1))
    several.step()
    assert counts(several, "stored") == [1, 0]
    assert counts(several, "duplicate") == [0, 1]


def test_what_both_handle_in_any_order_and_again_is_stored_once(
    several: Several, monkeypatch: pytest.MonkeyPatch
) -> None:
    let_everybody_store(monkeypatch)
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
    assert min(counts(several, "stored")) > 0
    assert (row.stored, row.highest_seq, row.duplicate) == ("1-60", 60, 20 + 80)


def test_a_machine_that_only_the_other_hears_is_not_shown_as_silent(several: Several) -> None:
    for _ in range(40):
        several.sample("home")
        several.sample("office")
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


def test_when_the_leader_dies_the_samples_of_the_other_ones_machines_do_not_wait(several: Several) -> None:
    several.sample("home")
    several.pass_time(1)
    several.kill("ingestor")
    for _ in range(round(LEASE_SECONDS) + 3):
        several.sample("home")
        several.pass_time(1)
        assert several.shown("home") == ("online", True, several.numbers["home"])
    assert several.owner(TIMERS) == "ingestor-2"
    operator, ears = Operator(several.clock), Ears(several.broker)
    several.benches["ingestor-2"].publish(operator.act(operator.order()))
    several.pass_time(1)
    assert len(ears.commands()) == 1


def test_when_another_one_dies_its_machines_are_not_shown_as_silent_and_what_they_send_again_is_stored(
    several: Several,
) -> None:
    with several.fleet.begin() as connection:
        strict = OrgConfig(stale_intervals=1, stale_seconds=4).model_dump(mode="json")
        connection.execute(update(tables.org).values(config=strict))
    several.pass_time(5)
    bench, speaker = several.benches["ingestor"], several.speakers["home"]
    bench.publish(speaker.status(interval_seconds=1.0), speaker.telemetry(1))
    several.pass_time(6)
    assert several.shown("home")[0] == "stale", "it is silent"
    bench.publish(speaker.telemetry(2, oldest_seq=1))
    several.pass_time(1)
    several.kill("ingestor-2")
    last = 2 + round(LEASE_SECONDS) + 3
    for seq in range(3, last + 1):
        bench.publish(speaker.telemetry(seq, oldest_seq=1))
        several.pass_time(1)
        assert several.shown("home")[0] == "online"
    assert several.owner(lease_of("home", "attic")) == several.owner(TIMERS) == "ingestor"
    assert 2 < several.shown("home")[2] < last, "what nobody stored was not acknowledged"
    bench.publish(speaker.backfill(*range(1, last + 1)))
    several.pass_time(1)
    with several.fleet.connect() as connection:
        assert connection.scalar(select(tables.stream.c.stored)) == f"1-{last}"


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
    assert counts(several, "unretained") == [1, 1], "the message, and the one that cleared it"
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
    assert counts(several, "stored") == [0, 6]
    assert {client for client, _ in found} == {"_ingestor"}
    several.pass_time(200)
    assert published_presence(several) == stored_presence(several) == {"home": ("offline", True)}
    for _ in range(2):
        several.sample("home")
        several.step()
    several.pass_time(2)
    assert published_presence(several) == stored_presence(several) == {"home": ("online", True)}
