"""Lists of facts on their way into the database: newest wins, repetitions change nothing, kinds are bounded."""

from collections.abc import Callable

from facts import DOWN, UP, changes, items, kinds, retained, state
from ingestion import Bench, Speaker
from sqlalchemy import Engine, select

from broker.client.transport import Message
from ingestor.intake.fact_queue import PACE_SECONDS
from schemas.contract.ack import Ack
from schemas.contract.facts import FACT_KINDS_MAX
from schemas.database import tables


def test_numbers_change_the_item_but_record_nothing_and_keep_the_time_since_which_it_is_so(
    bench: Bench, speaker: Speaker, fleet: Engine
) -> None:
    state(bench, speaker.facts("containers", web=UP))
    query = select(tables.fact.c.fields, tables.fact.c.since_at)
    with fleet.connect() as connection:
        (_, since) = connection.execute(query).one()
    state(bench, speaker.facts("containers", web={**UP, "fields": {"state": "running", "cpu_percent": 93.5}}))
    with fleet.connect() as connection:
        assert tuple(connection.execute(query).one()) == ({"state": "running", "cpu_percent": 93.5}, since)
    assert changes(fleet) == []


def test_the_output_of_a_program_is_recorded_with_a_change_but_is_none_itself(
    bench: Bench, speaker: Speaker, fleet: Engine
) -> None:
    for health, output in (("good", "load 1"), ("good", "load 2"), ("critical", "load 9"), ("critical", "load 8")):
        state(bench, speaker.facts("checks", load={"health": health, "fields": {"state": "up", "output": output}}))
    assert changes(fleet) == [("load", "changed", {"output": "load 2"}, {"output": "load 9"})]


def test_the_processes_of_a_moment_are_stored_and_are_no_changes(bench: Bench, speaker: Speaker, fleet: Engine) -> None:
    for name in ("python 1", "chromium 2"):
        state(bench, speaker.facts("processes", {name: UP, "init 1": DOWN if name == "python 1" else UP}))
    assert set(items(fleet, "processes")) == {"chromium 2", "init 1"}
    assert changes(fleet) == []


def test_repetitions_older_messages_and_older_sessions_change_nothing(
    bench: Bench, make_bench: Callable[[], Bench], speaker: Speaker, fleet: Engine
) -> None:
    old = speaker.facts("containers", web=UP)
    state(bench, old)
    bench.clock.advance(1)
    new = speaker.facts("containers", web=DOWN)
    speaker.session = 9
    bench.clock.advance(1)
    newest = speaker.facts("containers", web=DOWN, db=UP)
    state(bench, new)
    state(bench, newest)
    found = items(fleet), changes(fleet)
    for message in (old, new, newest, old):
        state(bench, message)
        assert (items(fleet), changes(fleet)) == found
    bench.publish(newest)  # is retained now, and read by the next ingestor
    bench.ingestor.stop()
    make_bench().step(PACE_SECONDS, steps=3)
    assert (items(fleet), changes(fleet)) == found


def test_of_a_burst_only_the_newest_list_is_handled(bench: Bench, speaker: Speaker, fleet: Engine) -> None:
    for number in range(20):
        bench.clock.advance(0.01)
        bench.publish(speaker.facts("containers", web={"health": "good", "fields": {"state": f"state {number}"}}))
    bench.step(steps=2)
    assert items(fleet) == {"web": ("good", "state 19")}
    bench.clock.advance(0.1)
    bench.publish(speaker.facts("containers", web=DOWN))
    bench.step(steps=2)
    assert items(fleet) == {"web": ("good", "state 19")}  # it waits
    bench.step(PACE_SECONDS, steps=2)
    assert items(fleet) == {"web": ("critical", "exited")}


def test_an_incomplete_list_does_not_show_that_items_appear_or_disappear(
    bench: Bench, speaker: Speaker, fleet: Engine
) -> None:
    state(bench, speaker.facts("containers", web=UP, db=UP))
    state(bench, speaker.facts("containers", web=UP, truncated=1))
    state(bench, speaker.facts("containers", web=UP, db=UP))
    assert changes(fleet) == []
    assert list(items(fleet)) == ["web", "db"] or list(items(fleet)) == ["db", "web"]


def test_an_empty_payload_clears_a_kind(bench: Bench, speaker: Speaker, fleet: Engine) -> None:
    state(bench, speaker.facts("containers", web=UP), speaker.facts("services", nginx=UP))
    state(bench, speaker.no_facts("containers"))
    assert (kinds(fleet), items(fleet), changes(fleet)) == (["services"], {}, [])


def test_above_the_bound_a_kind_is_rejected_answered_and_no_longer_retained(
    bench: Bench, speaker: Speaker, fleet: Engine
) -> None:
    for number in range(FACT_KINDS_MAX + 1):
        state(bench, speaker.facts(f"kind-{number}", item=UP))
    bench.step(2.0, steps=3)
    assert len(kinds(fleet)) == FACT_KINDS_MAX
    told = [each for each in bench.client.receive(1000, 0) if isinstance(each, Message) and each.topic.endswith("/ack")]
    (rejection,) = [each for message in told for each in Ack.decode(message.payload).rejected]
    assert (rejection.reason, rejection.topic.rpartition("/")[2]) == ("too-many-kinds", f"kind-{FACT_KINDS_MAX}")
    assert len(retained(bench)) == FACT_KINDS_MAX
    assert f"kind-{FACT_KINDS_MAX}" not in retained(bench)


def test_an_invalid_list_is_a_dead_letter_and_the_stored_one_stays(
    bench: Bench, speaker: Speaker, fleet: Engine
) -> None:
    good = speaker.facts("containers", web=UP)
    state(bench, good)
    state(bench, Message(good.topic, b'{"session": 1, "at": 5, "items": {"web": {"health": "fine"}}}', 1, retain=False))
    assert items(fleet) == {"web": ("good", "running")}
    with fleet.connect() as connection:
        assert connection.scalars(select(tables.dead_letter.c.reason)).all() == ["invalid"]
