"""The ingestor on a real database and a broker in memory, one step at a time."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from clocks import Clock
from ingestion import STREAM, Bench, Speaker
from sqlalchemy import Engine, select, update
from sqlalchemy import event as sqlalchemy_event
from sqlalchemy.exc import OperationalError

from broker.client.transport import Message
from schemas.contract import topics
from schemas.contract.ack import Ack, Range
from schemas.contract.messages import EarlierStream, Vitals
from schemas.contract.org_config import OrgConfig
from schemas.database import tables
from schemas.database.queries.heartbeat import ROW_SECONDS, Heartbeat, latest_heartbeat
from schemas.database.queries.machines import list_machines

ATTIC = {"org": "home", "machine": "attic"}


def shown(fleet: Engine) -> dict[str, Any]:
    """What the list of machines says of the attic at home."""
    return next(row for row in list_machines(fleet) if (row["org"], row["machine"]) == ("home", "attic"))


def rows(fleet: Engine, table: Any) -> list[Any]:  # noqa: ANN401 - a table
    with fleet.connect() as connection:
        return list(connection.execute(select(table)))


def acks(bench: Bench) -> list[Ack]:
    """The acknowledgements that have reached the attic at home."""
    received = bench.client.receive(1000, 0)
    topic = topics.ACK.at(**ATTIC)
    return [
        Ack.decode(message.payload) for message in received if isinstance(message, Message) and message.topic == topic
    ]


def test_a_sample_is_stored_and_then_acknowledged(bench: Bench, speaker: Speaker, fleet: Engine) -> None:
    bench.publish(speaker.telemetry(1))
    bench.step()
    assert [(row.seq, row.cpu_percent) for row in rows(fleet, tables.sample)] == [(1, 10.0)]
    assert [ack.ranges for ack in acks(bench)] == [(Range(first=1, last=1),)]
    assert shown(fleet)["vitals"]["memory_percent"] == 20
    assert shown(fleet)["health"] == {"score": 100, "status": "ok"}


def test_nothing_is_acknowledged_that_was_not_committed(bench: Bench, speaker: Speaker, fleet: Engine) -> None:
    with refusing_commits(fleet):
        bench.publish(speaker.telemetry(1))
        bench.step()
    assert acks(bench) == []
    assert rows(fleet, tables.sample) == []


def test_a_sample_that_comes_again_is_stored_once_and_acknowledged_again(
    bench: Bench, speaker: Speaker, fleet: Engine
) -> None:
    bench.publish(speaker.telemetry(1))
    bench.step()
    acks(bench)
    bench.publish(speaker.backfill(1, 2))
    bench.step()
    assert sorted(row.seq for row in rows(fleet, tables.sample)) == [1, 2]
    assert [ack.ranges for ack in acks(bench)] == [(Range(first=1, last=2),)]
    assert shown(fleet)["ledger"] == {
        "expected": 2, "stored": 2, "late": 1, "duplicate": 1, "dropped": 0, "waiting": 0, "rejected": 0, "lost": 0,
    }  # fmt: skip


def test_two_samples_of_one_millisecond_are_both_kept(bench: Bench, speaker: Speaker, fleet: Engine) -> None:
    bench.publish(speaker.telemetry(1), speaker.telemetry(2))
    bench.step()
    assert len(rows(fleet, tables.sample)) == 2


def test_the_ledger_tells_waiting_dropped_and_lost_apart(bench: Bench, speaker: Speaker, fleet: Engine) -> None:
    speaker.dropped = 3
    bench.publish(speaker.backfill(5, 6), speaker.telemetry(20, oldest_seq=15))
    bench.step()
    ledger = shown(fleet)["ledger"]
    assert ledger["expected"] == 20
    assert ledger["stored"] == 3
    assert ledger["waiting"] == 5, "15 to 19 are still in the outbox"
    assert ledger["dropped"] == 3
    assert ledger["lost"] == 20 - 3 - 5 - 3


def test_a_restarted_ingestor_goes_on_with_the_same_ledger(
    make_bench: Callable[[], Bench], speaker: Speaker, fleet: Engine
) -> None:
    first = make_bench()
    first.publish(*(speaker.telemetry(seq) for seq in range(1, 6)))
    first.step()
    first.ingestor.stop()
    second = make_bench()
    second.publish(speaker.telemetry(5), speaker.telemetry(6))
    second.step()
    assert shown(fleet)["ledger"]["stored"] == 6
    assert shown(fleet)["ledger"]["duplicate"] == 1


def test_presence_follows_birth_goodbye_and_is_kept_as_transitions(
    bench: Bench, speaker: Speaker, fleet: Engine
) -> None:
    bench.publish(speaker.status())
    bench.step()
    assert (shown(fleet)["presence"], shown(fleet)["reason"]) == ("online", "connected")
    bench.publish(speaker.status("stopped"))
    bench.step()
    assert (shown(fleet)["presence"], shown(fleet)["reason"]) == ("offline", "stopped")
    changes = [(row.before, row.after, row.reason) for row in rows(fleet, tables.transition)]
    assert changes == [("unknown", "online", "connected"), ("online", "offline", "stopped")]


def test_a_will_makes_a_machine_offline_within_three_seconds(bench: Bench, speaker: Speaker, fleet: Engine) -> None:
    bench.publish(speaker.status(), speaker.status("lost"))
    bench.step()
    assert shown(fleet)["presence"] == "online"
    bench.step(1.0, steps=3)
    assert (shown(fleet)["presence"], shown(fleet)["reason"]) == ("offline", "lost")


def test_a_silent_machine_becomes_stale_and_then_offline(bench: Bench, speaker: Speaker, fleet: Engine) -> None:
    bench.publish(speaker.status(), speaker.telemetry(1))
    bench.step()
    bench.step(5.0, steps=9)
    assert shown(fleet)["presence"] == "stale"
    bench.step(5.0, steps=27)
    assert (shown(fleet)["presence"], shown(fleet)["reason"]) == ("offline", "silent")


def test_a_silent_machine_is_stale_not_later_than_its_time_whatever_the_rhythm_of_the_ticks(
    bench: Bench, speaker: Speaker, fleet: Engine
) -> None:
    bench.publish(speaker.status(), speaker.telemetry(1))
    bench.step()
    heard = bench.clock.now()
    while shown(fleet)["presence"] == "online":
        bench.step(0.13)
    assert 44_000 < bench.clock.now() - heard <= 45_000


def test_while_the_broker_is_away_machines_are_unverified_and_nobody_goes_offline(
    bench: Bench, speaker: Speaker, fleet: Engine
) -> None:
    bench.publish(speaker.status(), speaker.telemetry(1))
    bench.step()
    bench.broker.stop()
    bench.step(10.0, steps=60)
    assert (shown(fleet)["presence"], shown(fleet)["verified"]) == ("online", False)
    bench.broker.start()
    bench.step(1.0, steps=3)
    bench.client.receive(100, 0)
    bench.client.receive(100, 0)
    bench.publish(speaker.telemetry(2))
    bench.step()
    assert (shown(fleet)["presence"], shown(fleet)["verified"]) == ("online", True)
    assert [row.after for row in rows(fleet, tables.transition)] == ["online"]


def test_a_restart_makes_no_transitions_for_machines_that_are_heard_again(
    make_bench: Callable[[], Bench], speaker: Speaker, fleet: Engine
) -> None:
    first = make_bench()
    first.publish(speaker.status(), speaker.telemetry(1))
    first.step()
    second = make_bench()
    assert shown(fleet)["verified"] is False
    second.publish(speaker.telemetry(2))
    second.step()
    assert shown(fleet)["verified"] is True
    assert len(rows(fleet, tables.transition)) == 1


def test_the_inventory_is_stored(bench: Bench, speaker: Speaker, fleet: Engine) -> None:
    bench.publish(speaker.info(os="Debian", labels={"room": "attic"}))
    bench.step()
    row = next(row for row in rows(fleet, tables.machine) if row.hostname)
    assert (row.hostname, row.os, row.labels) == ("attic.example", "Debian", {"room": "attic"})
    assert row.info["python_version"] == "3"


def test_the_clock_of_a_machine_moves_its_history_but_never_its_presence(
    bench: Bench, speaker: Speaker, fleet: Engine
) -> None:
    day = 86_400_000
    clock = bench.clock
    clock.milliseconds -= day
    vitals = Vitals(cpu_percent=1.0, uptime_seconds=5000)
    late_clock = [speaker.telemetry(1, vitals=vitals), speaker.status()]
    clock.milliseconds += day
    bench.publish(*late_clock)
    bench.step()
    (row,) = rows(fleet, tables.sample)
    assert row.sampled_at + row.clock_offset_milliseconds == pytest.approx(clock.now(), abs=1000)
    assert shown(fleet)["clock_offset_milliseconds"] == pytest.approx(day, abs=1000)
    assert shown(fleet)["presence"] == "online"


HOUR = 3600.0


def history_times(fleet: Engine) -> list[int]:
    """When the samples were taken, by the server's clock, in the order of their numbers."""
    ordered = sorted(rows(fleet, tables.sample), key=lambda row: row.seq)
    return [row.sampled_at + row.clock_offset_milliseconds for row in ordered]


def test_an_uptime_that_stood_still_does_not_move_what_is_measured_now(
    bench: Bench, speaker: Speaker, fleet: Engine
) -> None:
    bench.publish(speaker.telemetry(1, vitals=Vitals(uptime_seconds=1000)))
    bench.step()
    bench.step(HOUR)
    bench.publish(speaker.telemetry(2, vitals=Vitals(uptime_seconds=1010)))
    bench.step()
    assert history_times(fleet)[-1] == bench.clock.now()


def test_a_server_whose_clock_was_set_dates_new_samples_by_the_new_time(bench: Bench, fleet: Engine) -> None:
    machines_clock = Speaker(Clock())
    bench.clock.milliseconds = machines_clock.clock.milliseconds - round(2 * HOUR * 1000)
    bench.publish(machines_clock.telemetry(1, vitals=Vitals(uptime_seconds=1000)))
    bench.step()
    bench.clock.milliseconds = machines_clock.clock.milliseconds
    for seq in range(2, 8):
        bench.publish(machines_clock.telemetry(seq, vitals=Vitals(uptime_seconds=1000 + seq)))
        machines_clock.clock.advance(1.0)
        bench.step(1.0)
    assert history_times(fleet)[-1] == pytest.approx(bench.clock.now(), abs=2000)


def test_samples_that_waited_are_dated_by_uptime_when_the_machines_clock_was_set_meanwhile(
    bench: Bench, speaker: Speaker, fleet: Engine
) -> None:
    start = bench.clock.now()
    bench.publish(speaker.telemetry(1, vitals=Vitals(uptime_seconds=1000)))
    bench.step()
    sample = {"seq": [2], "sampled_at": [start - 86_400_000], "vitals": {"uptime_seconds": [1300]}}
    batch = {"session": 1, "stream": STREAM, "oldest_seq": 2, **sample}
    bench.step(HOUR / 2)
    bench.publish(Message(topics.BACKFILL.at(**ATTIC), json.dumps(batch).encode()))
    bench.step()
    assert history_times(fleet)[1] == pytest.approx(start + 300_000, abs=1000)


@pytest.mark.parametrize("hours", [-24.0, -2.0, 2.0, 24.0])
def test_setting_the_servers_clock_makes_nobody_stale_and_does_not_stop_the_timers(
    bench: Bench, speaker: Speaker, fleet: Engine, hours: float
) -> None:
    bench.publish(speaker.status(), speaker.telemetry(1))
    bench.step(1.0)
    bench.clock.set_by(hours * HOUR)
    bench.step(1.0)
    assert (shown(fleet)["presence"], shown(fleet)["verified"]) == ("online", False)
    bench.publish(speaker.telemetry(2))
    bench.step(1.0)
    assert (shown(fleet)["presence"], shown(fleet)["verified"]) == ("online", True)
    bench.step(5.0, steps=10)
    assert shown(fleet)["presence"] == "stale"
    assert [row.after for row in rows(fleet, tables.transition)] == ["online", "stale"]


def test_an_ingestor_that_stood_still_calls_nobody_stale_for_it(bench: Bench, speaker: Speaker, fleet: Engine) -> None:
    bench.publish(speaker.status(), speaker.telemetry(1))
    bench.step(1.0)
    bench.step(300.0)
    assert (shown(fleet)["presence"], shown(fleet)["verified"]) == ("online", False)


def test_a_configuration_that_is_wrong_leaves_the_defaults_in_force(
    make_bench: Callable[[], Bench], speaker: Speaker, fleet: Engine
) -> None:
    with fleet.begin() as connection:
        connection.execute(update(tables.org).values(config={"stale_seconds": "soon"}))
    bench = make_bench()
    bench.publish(speaker.telemetry(1))
    bench.step(6.0)
    assert shown(fleet)["ledger"]["stored"] == 1


def test_two_streams_may_use_one_number_in_one_millisecond(bench: Bench, speaker: Speaker, fleet: Engine) -> None:
    other = Speaker(speaker.clock, stream="00000000000000bb")
    bench.publish(speaker.telemetry(1), other.telemetry(1))
    bench.step()
    assert len(rows(fleet, tables.sample)) == 2
    assert shown(fleet)["ledger"]["stored"] == 2


def test_what_an_earlier_stream_still_misses_is_lost_once_the_outbox_holds_nothing_of_it(
    bench: Bench, speaker: Speaker, fleet: Engine
) -> None:
    bench.publish(speaker.telemetry(10, oldest_seq=6))
    bench.step()
    assert shown(fleet)["ledger"]["waiting"] == 4
    speaker.session = 2
    bench.publish(speaker.info(stream="00000000000000bb"))
    bench.step()
    ledger = shown(fleet)["ledger"]
    assert (ledger["waiting"], ledger["lost"]) == (0, 9)


def test_what_an_outbox_dropped_of_an_earlier_stream_is_counted(bench: Bench, speaker: Speaker, fleet: Engine) -> None:
    earlier = EarlierStream(stream=STREAM, highest_seq=2000, oldest_seq=1990, dropped=1989)
    bench.publish(speaker.info(stream="00000000000000bb", earlier_streams=(earlier,)))
    bench.step()
    ledger = shown(fleet)["ledger"]
    assert (ledger["expected"], ledger["dropped"], ledger["waiting"], ledger["lost"]) == (2000, 1989, 11, 0)


def test_a_machine_cannot_grow_the_ledger_without_bound(
    bench: Bench, speaker: Speaker, fleet: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ingestor.domain.machine.STREAMS_MAX", 3)
    monkeypatch.setattr("ingestor.intake.message_handlers.RANGES_MAX", 3)
    for number in range(5):
        speaker.stream = f"{number:016x}"
        bench.publish(speaker.telemetry(1))
    speaker.stream = f"{0:016x}"
    bench.publish(*(speaker.telemetry(seq) for seq in (3, 5, 7, 9)))
    bench.step()
    reasons = sorted(row.reason for row in rows(fleet, tables.dead_letter))
    assert reasons == ["too-many-gaps", "too-many-gaps", "too-many-streams", "too-many-streams"]
    bench.publish(speaker.backfill(2, 4))
    bench.step()
    assert shown(fleet)["ledger"]["stored"] == 3 + 2 + 2, "what fills a gap is always welcome"


def telemetry_with(cpu_percent: str) -> bytes:
    return (
        b'{"v":1,"seq":1,"sampled_at":1,"session":1,"oldest_seq":1,"stream":"00000000000000aa",'
        b'"vitals":{"cpu_percent":' + cpu_percent.encode() + b"}}"
    )


BAD = {
    "not JSON": (b"{", "not-json"),
    "empty": (b"", "not-json"),
    "not UTF-8": (b"\xff\xfe", "not-json"),
    "deep": (b"[" * 100_000, "not-json"),
    "wrong type": (b"[]", "invalid"),
    "wrong version": (b'{"v": 2}', "wrong-version"),
    "NaN": (telemetry_with("NaN"), "invalid"),
    "above 100": (telemetry_with("100.1"), "invalid"),
    "huge": (b" " * 300_000, "too-large"),
    "huge number": (telemetry_with("1" * 5000), "not-json"),
}


@pytest.mark.parametrize("topic", [topics.TELEMETRY, topics.BACKFILL, topics.STATUS, topics.INFO])
@pytest.mark.parametrize("case", sorted(BAD))
def test_bad_input_is_counted_and_set_aside_and_the_next_good_message_is_stored(
    bench: Bench, speaker: Speaker, fleet: Engine, topic: topics.Topic, case: str
) -> None:
    payload, reason = BAD[case]
    if topic.retain and not payload:
        pytest.skip("an empty payload clears a retained message and is no mistake")
    bench.publish(Message(topic.at(**ATTIC), payload), speaker.telemetry(1))
    bench.step()
    (letter,) = rows(fleet, tables.dead_letter)
    assert letter.topic == topic.at(**ATTIC)
    assert letter.reason == reason
    assert letter.size_bytes == len(payload)
    assert len(letter.payload_start) <= 4096 * 4
    assert bench.ingestor.counters[f"rejected.{reason}"] == 1
    assert [row.seq for row in rows(fleet, tables.sample)] == [1]


def test_a_message_of_a_machine_that_nobody_enrolled_is_set_aside(
    bench: Bench, speaker: Speaker, fleet: Engine
) -> None:
    speaker.name = "stranger"
    bench.publish(speaker.telemetry(1))
    bench.step()
    assert [row.reason for row in rows(fleet, tables.dead_letter)] == ["unknown-machine"]


def test_a_machine_that_is_enrolled_later_is_found_without_a_restart(
    bench: Bench, speaker: Speaker, fleet: Engine
) -> None:
    speaker.name = "cellar"
    bench.publish(speaker.telemetry(1))
    bench.step()
    with fleet.begin() as connection:
        connection.execute(tables.machine.insert().values(org_id=1, name="cellar", created_at=0))
    bench.step(6.0)
    bench.publish(speaker.telemetry(2))
    bench.step()
    assert [row.seq for row in rows(fleet, tables.sample)] == [2]


def test_dead_letters_are_kept_up_to_their_bound(bench: Bench, fleet: Engine) -> None:
    for _ in range(6):
        bench.publish(*(Message(topics.TELEMETRY.at(**ATTIC), b"x") for _ in range(50)))
        bench.step()
    assert len(rows(fleet, tables.dead_letter)) <= 200
    assert bench.ingestor.counters["rejected.not-json"] == 300


def test_a_machine_that_was_removed_meanwhile_costs_only_its_own_message(
    bench: Bench, speaker: Speaker, fleet: Engine
) -> None:
    office = Speaker(speaker.clock, org="office", stream="00000000000000bb")
    bench.publish(speaker.telemetry(1), office.telemetry(1))
    bench.step()
    with fleet.begin() as connection:
        connection.execute(tables.machine.delete().where(tables.machine.c.org_id == 2))
    bench.publish(office.telemetry(2), speaker.telemetry(2))
    bench.step()
    assert [row.seq for row in rows(fleet, tables.sample)] == [1, 2]
    assert [row.reason for row in rows(fleet, tables.dead_letter)] == ["unknown-machine"]


def test_a_database_that_is_away_is_taken_up_again_when_it_returns(
    bench: Bench, speaker: Speaker, fleet: Engine
) -> None:
    bench.publish(speaker.status(), speaker.telemetry(1))
    bench.step()
    with refusing_commits(fleet):
        bench.publish(speaker.telemetry(2))
        bench.step(1.0, steps=5)
    bench.step(1.0, steps=3)
    acks(bench)
    bench.publish(speaker.backfill(2, 3))
    bench.step()
    assert shown(fleet)["ledger"]["stored"] == 3
    assert [ack.stream for ack in acks(bench)] == [STREAM]
    assert bench.ingestor.counters["database_failures"] >= 1


def test_every_org_learns_its_configuration_and_each_change_of_it(bench: Bench, fleet: Engine) -> None:
    topic = topics.ORG_CONFIG.at(org="home")

    def configs() -> list[OrgConfig]:
        received = bench.client.receive(1000, 0)
        return [OrgConfig.decode(m.payload) for m in received if isinstance(m, Message) and m.topic == topic]

    assert configs()[-1].time_to_live_seconds == 86_400
    changed = OrgConfig(time_to_live_seconds=600).model_dump(mode="json")
    with fleet.begin() as connection:
        connection.execute(update(tables.org).where(tables.org.c.name == "home").values(config=changed))
    bench.step(6.0)
    assert [config.time_to_live_seconds for config in configs()] == [600]


def test_the_ingestor_says_that_it_lives_and_what_it_has_done(bench: Bench, speaker: Speaker, fleet: Engine) -> None:
    bench.publish(speaker.telemetry(1))
    bench.step(3.0)
    bench.step(3.0)
    assert latest_heartbeat(fleet) == Heartbeat(bench.clock.now(), broker_connected=True)
    bench.step(ROW_SECONDS)
    (beat,) = rows(fleet, tables.ingestor)
    assert beat.beat_at == bench.clock.now()
    assert beat.broker_connected
    assert beat.counters["stored"] == 1
    bench.ingestor.stop()
    (beat,) = rows(fleet, tables.ingestor)
    assert not beat.broker_connected
    assert latest_heartbeat(fleet) == Heartbeat(bench.clock.now(), broker_connected=False)


def test_what_was_on_its_way_when_the_ingestor_stops_is_stored(bench: Bench, speaker: Speaker, fleet: Engine) -> None:
    bench.publish(speaker.status(), speaker.status("stopped"))
    bench.ingestor.stop()
    assert (shown(fleet)["presence"], shown(fleet)["reason"]) == ("offline", "stopped")


def test_extra_metrics_travel_into_the_history(bench: Bench, fleet: Engine) -> None:
    telemetry = {
        "seq": 1, "sampled_at": 1, "session": 1, "oldest_seq": 1, "stream": STREAM, "vitals": {}, "extra": {"fans": 3},
    }  # fmt: skip
    bench.publish(Message(topics.TELEMETRY.at(**ATTIC), json.dumps(telemetry).encode()))
    bench.step()
    assert [row.extra for row in rows(fleet, tables.sample)] == [{"fans": 3}]
    assert shown(fleet)["health"] == {"score": None, "status": "unknown"}


class refusing_commits:  # noqa: N801 - reads as a function
    """While entered, every commit fails as when the database has gone away."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def __enter__(self) -> None:
        sqlalchemy_event.listen(self._engine, "commit", self._refuse)

    def __exit__(self, *_: object) -> None:
        sqlalchemy_event.remove(self._engine, "commit", self._refuse)

    @staticmethod
    def _refuse(_connection: object) -> None:
        raise OperationalError("COMMIT", {}, ConnectionError("the server closed the connection"))
