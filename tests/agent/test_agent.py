"""Messages of the agent and their times, step by step, with a broker in memory and a manual clock."""

import logging
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import TypeVar

import pytest
from clocks import Clock
from outboxes import OutboxMachine, count_waiting

from agent.agent import STEP_SECONDS, Agent
from agent.collection.sample_runner import CollectorRunner
from agent.collector import Collector, Readings
from agent.outbox.backfill import BACKFILL_MAX_BYTES
from agent.outbox.outbox import SPILL_SECONDS, Outbox
from agent.session_counter import SessionCounter
from broker.client.memory import MemoryBroker, MemoryTransport
from broker.client.transport import Backoff, Message, Transport, WillMaker
from runtime.settings.agent import AgentSettings
from schemas.contract import topics
from schemas.contract.ack import Ack, Range, Rejection
from schemas.contract.backfill import Backfill
from schemas.contract.messages import (
    BACKFILL_MAX_SAMPLES,
    INTEGER_MAX,
    SESSION_MAX,
    VITALS,
    Info,
    Metric,
    Status,
    Telemetry,
)
from schemas.contract.messages import Payload as Payload
from schemas.contract.org_config import OrgConfig

OWN = {"org": "home", "machine": "attic"}
M = TypeVar("M", bound=Payload)


class Fake(Collector):
    """Returns the readings that the test sets, after the time that it sets."""

    metrics = (Metric(name="cpu_percent", unit="percent", title="CPU"),)

    def __init__(self, settings: AgentSettings, clock: Clock) -> None:
        super().__init__(settings)
        self.readings: dict[str, float | int | None] = {"cpu_percent": 12.5}
        self.seconds = 0.0
        self.metrics = Fake.metrics  # type: ignore[misc]  # each test's own
        self._clock = clock

    def collect(self) -> Readings:
        self._clock.advance(self.seconds)
        return self.readings


class Bench:
    """An agent, and an observer of everything that it publishes."""

    def __init__(self, machine: OutboxMachine, clock: Clock, directory: Path) -> None:
        self.machine, self.clock, self.directory = machine, clock, directory
        self.broker = MemoryBroker()
        self.seen: list[tuple[float, Message]] = []
        self.observer = MemoryTransport(
            self.broker, client_id="observer", subscriptions=[(topics.STATUS.filter(), 1), ("dashfleet/v1/+/+/up/+", 1)]
        )
        self.observer.receive(10, 0)
        self.settings = AgentSettings(data=directory, machine="attic")
        self.start()

    def start(self, **settings: object) -> None:
        """Start the agent, after a crash if it ran."""
        self.settings = AgentSettings.model_validate({**dict(self.settings), **settings})
        if self.broker.clients.get("home.attic") is not None:
            self.transport.cut(send_will=False)
        self.machine.close()
        self.collector = Fake(self.settings, self.clock)
        self.runner = CollectorRunner([self.collector], timeout_seconds=5)
        self.outbox: Outbox = self.machine.open()
        self.sessions = SessionCounter(self.directory / "session", self.clock)
        self.agent = Agent(
            self.settings,
            open_transport=self._open_transport,
            outbox=self.outbox,
            runner=self.runner,
            sessions=self.sessions,
            clock=self.clock,
        )

    def _open_transport(self, *, subscriptions: list[tuple[str, int]], will: WillMaker, backoff: Backoff) -> Transport:
        self.backoff, self.will = backoff, will
        self.transport = MemoryTransport(
            self.broker,
            client_id="home.attic",
            subscriptions=subscriptions,
            will=will,
            pass_time=lambda seconds: self.clock.advance(max(seconds, 0.001)),  # the resolution of the clock
        )
        return self.transport

    def run(self, seconds: float) -> None:
        end = self.clock.monotonic() + seconds
        while self.clock.monotonic() < end:
            self.step()

    def step(self) -> None:
        self.agent.step()
        self.look()

    def look(self) -> None:
        self.seen += [
            (self.clock.monotonic(), event) for event in self.observer.receive(10_000, 0) if isinstance(event, Message)
        ]

    def forget(self) -> None:
        self.look()
        self.seen.clear()

    def all(self, topic: topics.Topic, kind: type[M]) -> list[M]:
        self.look()
        return [kind.decode(message.payload) for _, message in self.seen if message.topic == topic.at(**OWN)]

    @property
    def statuses(self) -> list[Status]:
        return self.all(topics.STATUS, Status)

    @property
    def live(self) -> list[Telemetry]:
        return self.all(topics.TELEMETRY, Telemetry)

    @property
    def batches(self) -> list[Backfill]:
        return self.all(topics.BACKFILL, Backfill)

    def say(self, topic: topics.Topic, payload: bytes, *, retain: bool = False) -> None:
        levels = {"org": "home"} if topic is topics.ORG_CONFIG else OWN
        self.broker.route(Message(topic.at(**levels), payload, topic.qos, retain))

    def ack(self, stream: str, numbers: Sequence[int]) -> None:
        ranges = tuple(Range(first=number, last=number) for number in numbers)
        self.say(topics.ACK, Ack(stream=stream, ranges=ranges).encode())

    def ack_live(self) -> None:
        self.ack(self.outbox.stream, [sample.seq for sample in self.live])

    def disconnect(self) -> None:
        self.broker.running = False
        self.transport.cut(send_will=False)

    def reconnect(self) -> None:
        self.broker.running = True


@pytest.fixture
def bench(machine: OutboxMachine, clock: Clock, tmp_path: Path) -> Iterator[Bench]:
    made = Bench(machine, clock, tmp_path)
    yield made
    made.transport.close()


# Connecting.


def test_every_connection_has_a_birth_an_inventory_and_a_will_with_a_higher_session_of_its_own(bench: Bench) -> None:
    sessions = []
    for _ in range(3):
        bench.forget()
        bench.step()
        bench.step()
        (born,) = bench.statuses
        (info,) = bench.all(topics.INFO, Info)
        assert (born.state, born.reason, born.interval_seconds) == ("online", None, 10.0)
        bench.forget()
        bench.transport.cut()
        (will,) = bench.statuses
        assert (will.state, will.reason) == ("offline", "lost")
        assert born.session == info.session == will.session
        sessions.append(born.session)

    assert all(later > earlier for earlier, later in pairwise(sessions))


def test_a_session_is_on_disk_before_its_connection_is_made(bench: Bench) -> None:
    will = bench.will()

    assert will is not None
    assert (bench.directory / "session").read_text() == str(Status.decode(will.payload).session)


def test_sessions_go_on_after_a_restart_though_the_clock_was_set_back(bench: Bench) -> None:
    bench.step()
    before = bench.statuses[-1].session
    bench.agent.stop()
    bench.clock.advance(-86_400)
    bench.start()
    bench.step()

    assert bench.statuses[-1].session > before


def test_birth_and_inventory_are_retained_and_samples_are_not(bench: Bench) -> None:
    bench.run(12)

    retained = bench.broker.retained
    assert set(retained) == {topics.STATUS.at(**OWN), topics.INFO.at(**OWN)}


def test_the_inventory_says_what_is_measured(bench: Bench) -> None:
    bench.step()

    (info,) = bench.all(topics.INFO, Info)
    assert [(metric.name, metric.location) for metric in info.metrics] == [
        (metric.name, "vitals" if metric.name in VITALS else "extra") for metric in Fake.metrics
    ]
    assert info.interval_seconds == 10.0


def test_the_goodbye_has_a_reason_and_no_will_follows(bench: Bench) -> None:
    bench.run(3)
    bench.forget()
    bench.agent.stop("rebooting")

    (goodbye,) = bench.statuses
    assert (goodbye.state, goodbye.reason) == ("offline", "rebooting")
    assert not bench.agent.connected


def test_a_stop_waits_for_the_goodbye_to_be_sent(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.run(1)
    order: list[str] = []
    monkeypatch.setattr(MemoryTransport, "flush", lambda *_: order.append("flush"))
    monkeypatch.setattr(MemoryTransport, "close", lambda *_: order.append("close"))
    bench.agent.stop()

    assert order == ["flush", "close"]


def test_a_stop_puts_on_disk_what_waits(bench: Bench) -> None:
    bench.run(25)
    waiting = count_waiting(bench.outbox)
    assert waiting > 0
    bench.agent.stop()
    bench.machine.kill()
    bench.machine.hot.unlink()

    assert count_waiting(bench.machine.open()) == waiting


def test_a_stop_without_a_connection_says_nothing(bench: Bench) -> None:
    bench.broker.running = False
    bench.run(3)
    bench.agent.stop()

    assert bench.statuses == []


# Live samples.


def test_a_sample_is_published_the_moment_it_is_taken(bench: Bench) -> None:
    bench.run(35)

    assert len(bench.live) == bench.outbox.next_seq - 1 >= 4
    for at, message in bench.seen:
        if message.topic == topics.TELEMETRY.at(**OWN):
            assert at - Telemetry.decode(message.payload).sampled_at / 1000 <= STEP_SECONDS + 0.01


def test_a_live_sample_tells_its_stream_its_number_and_what_waits(bench: Bench) -> None:
    bench.run(25)
    first, *_, last = bench.live

    assert (first.seq, first.oldest_seq, first.dropped, first.stream) == (1, 1, 0, bench.outbox.stream)
    assert first.session == bench.statuses[0].session
    assert last.oldest_seq == 1
    bench.ack_live()
    bench.run(10)
    assert bench.live[-1].oldest_seq == bench.live[-1].seq


def test_a_live_sample_with_all_vitals_stays_under_500_bytes(bench: Bench) -> None:
    bench.collector.readings = {
        "cpu_percent": 99.9,
        "memory_percent": 99.9,
        "memory_used_bytes": 2**41 - 1,
        "disk_percent": 99.9,
        "disk_used_bytes": 2**47 - 1,
        "swap_percent": 99.9,
        "uptime_seconds": 99_999_999,
        "load_1m": 1234.56,
        "network_received_bytes": 2**50 - 1,
        "network_sent_bytes": 2**50 - 1,
        "process_count": 99_999,
        "temperature_celsius": 100.5,
    }
    assert set(bench.collector.readings) == set(VITALS)
    bench.step()
    bench.outbox._current = bench.outbox._current._replace(next_seq=50_000_000)
    bench.run(3)

    (message,) = [message for _, message in bench.seen if message.topic == topics.TELEMETRY.at(**OWN)]
    assert None not in Telemetry.decode(message.payload).vitals.model_dump().values()
    assert len(message.payload) < 500


# The sampling grid.


def moments(bench: Bench) -> list[int]:
    return [sample.sampled_at for sample in bench.live]


@pytest.mark.parametrize("interval", [0.05, 1.0, 10.0, 90.0])
def test_samples_keep_to_a_grid_without_drift(bench: Bench, interval: float) -> None:
    bench.start(interval_seconds=interval)
    bench.collector.seconds = interval / 50
    bench.run(interval * 40)

    steady = moments(bench)[2:]
    assert len(steady) >= 36
    gaps = [later - earlier for earlier, later in pairwise(steady)]
    assert all(abs(gap - interval * 1000) <= 2 for gap in gaps)
    assert abs(steady[-1] - steady[0] - (len(steady) - 1) * interval * 1000) <= 2


def test_the_first_sample_comes_soon_after_the_start(bench: Bench) -> None:
    started = bench.clock.now()
    bench.start(interval_seconds=3600.0)
    bench.run(3)

    assert moments(bench)[0] - started == 1000


def test_a_slow_collector_skips_no_sample(bench: Bench) -> None:
    bench.collector.seconds = 9.0
    bench.run(200)

    steady = moments(bench)[2:]
    assert {later - earlier for earlier, later in pairwise(steady)} == {10_000}


def test_a_collector_that_takes_longer_than_the_interval_leaves_room_for_the_rest(bench: Bench) -> None:
    bench.collector.seconds = 14.0
    bench.run(200)

    assert len(bench.live) == len(moments(bench)) >= 9
    assert len(bench.statuses) == 1


def test_a_long_pause_is_followed_by_one_sample_and_no_burst(bench: Bench) -> None:
    bench.run(35)
    before = len(bench.live)
    bench.clock.advance(8 * 3600 + 3)
    woken = bench.clock.now()
    bench.run(30)

    later = moments(bench)[before:]
    assert later[0] == woken
    assert 3 <= len(later) <= 4
    assert all(after - earlier >= 2_500 for earlier, after in pairwise(later))


def test_the_samples_of_a_fleet_are_spread_over_the_interval(clock: Clock, tmp_path: Path) -> None:
    phases = []
    for i in range(40):
        place = OutboxMachine(tmp_path / f"machine-{i}", clock)
        bench = Bench(place, clock, tmp_path)
        clock.milliseconds = 1_700_000_000_000
        bench.start(machine=f"attic-{i}")
        phases.append((bench.agent._schedule._grid - clock.monotonic()) / 10)
        bench.agent.stop()

    assert all(0 <= phase < 1 for phase in phases)
    assert {int(phase * 4) for phase in phases} == {0, 1, 2, 3}
    assert max(later - earlier for earlier, later in pairwise(sorted(phases))) < 0.25


# Offline, and reconnecting.


def test_samples_of_an_outage_wait_and_travel_in_batches_one_at_a_time(bench: Bench) -> None:
    bench.start(interval_seconds=0.05)
    bench.broker.running = False
    bench.run(60)
    waiting = count_waiting(bench.outbox)
    assert waiting > 2 * BACKFILL_MAX_SAMPLES
    assert bench.live == []
    bench.reconnect()
    bench.run(5)

    (batch,) = bench.batches
    assert batch.seq == list(range(1, BACKFILL_MAX_SAMPLES + 1))
    assert (batch.stream, batch.oldest_seq, batch.dropped) == (bench.outbox.stream, 1, 0)
    assert batch.session == bench.statuses[-1].session

    bench.ack(batch.stream, batch.seq)
    bench.step()
    assert [batch.seq[0] for batch in bench.batches] == [1, BACKFILL_MAX_SAMPLES + 1]


def test_rejected_samples_leave_the_outbox_are_counted_and_let_the_next_batch_go(bench: Bench) -> None:
    bench.start(interval_seconds=0.05)
    bench.broker.running = False
    bench.run(60)
    bench.reconnect()
    bench.run(5)
    (batch,) = bench.batches
    waiting = count_waiting(bench.outbox)
    rejection = Rejection(
        topic=topics.BACKFILL.at(**OWN),
        stream=batch.stream,
        ranges=(Range(first=1, last=1), Range(first=batch.seq[-1], last=batch.seq[-1])),
        reason="invalid",
        detail="cpu_percent",
    )
    bench.say(topics.ACK, Ack(rejected=(rejection,)).encode())
    bench.say(topics.ACK, Ack(rejected=(rejection,)).encode())
    bench.ack(batch.stream, batch.seq[1:-1])
    bench.step()
    assert bench.agent.rejected_samples == 2
    assert count_waiting(bench.outbox) <= waiting - len(batch.seq) + 1
    assert [batch.seq[0] for batch in bench.batches] == [1, BACKFILL_MAX_SAMPLES + 1]


def test_live_samples_go_on_while_a_batch_is_on_its_way(bench: Bench) -> None:
    bench.start(interval_seconds=1.0)
    bench.broker.running = False
    bench.run(100)
    bench.reconnect()
    bench.run(8)

    assert len(bench.batches) == 1
    assert len(bench.live) >= 7
    assert not {sample.seq for sample in bench.live} & set(bench.batches[0].seq)


def test_a_batch_that_nobody_acks_is_sent_again_later_and_later(bench: Bench) -> None:
    bench.broker.running = False
    bench.run(30)
    bench.reconnect()
    bench.run(1300)

    sent = [at for at, message in bench.seen if message.topic == topics.BACKFILL.at(**OWN)]
    gaps = [later - earlier for earlier, later in pairwise(sent)]
    assert [round(gap) for gap in gaps[:7]] == [10, 20, 40, 80, 160, 300, 300]
    assert {batch.seq[0] for batch in bench.batches} == {1}


def test_a_batch_that_got_lost_is_sent_again_soon_after_anything_is_answered(bench: Bench) -> None:
    bench.broker.running = False
    bench.run(30)
    bench.reconnect()
    bench.run(75)
    assert len(bench.batches) == 4, "the fifth would go after 80 more seconds"
    stream = bench.batches[0].stream
    bench.forget()
    bench.ack(stream, [1])
    bench.run(11)
    assert len(bench.batches) == 1


def test_a_batch_that_was_acked_is_not_sent_again(bench: Bench) -> None:
    bench.broker.running = False
    bench.run(30)
    bench.reconnect()
    bench.run(2)
    (batch,) = bench.batches
    bench.ack(batch.stream, batch.seq)
    for _ in range(60):
        bench.run(1)
        bench.ack_live()

    assert len(bench.batches) == 1
    assert count_waiting(bench.outbox) <= 1


def test_fresh_live_samples_are_not_sent_again(bench: Bench) -> None:
    bench.run(SPILL_SECONDS)

    assert len(bench.live) >= 2
    assert bench.batches == []


def test_a_live_sample_that_is_not_acked_in_time_is_sent_again(bench: Bench) -> None:
    bench.run(SPILL_SECONDS + 5)

    assert bench.batches[0].seq[0] == 1


def test_after_a_reconnect_everything_unacked_travels_again_at_once(bench: Bench) -> None:
    bench.run(15)
    bench.disconnect()
    bench.run(2)
    bench.reconnect()
    bench.run(2)

    assert bench.batches[0].seq == [sample.seq for sample in bench.live][: len(bench.batches[0].seq)]


def test_offline_samples_are_on_disk_at_once(bench: Bench) -> None:
    bench.broker.running = False
    bench.run(25)

    assert bench.outbox._hot.count() == 0
    assert count_waiting(bench.outbox) >= 3


def test_a_batch_fits_through_the_broker_however_much_a_sample_carries(bench: Bench) -> None:
    bench.start(interval_seconds=0.05)
    bench.collector.metrics = tuple(  # type: ignore[misc, assignment]
        Metric(name=f"metric_number_{i}", unit="", title="") for i in range(60)
    )
    bench.collector.readings = {f"metric_number_{i}": 0.1234567890123 + i for i in range(60)}
    bench.broker.running = False
    bench.run(40)
    bench.reconnect()
    arrived: list[int] = []
    while count_waiting(bench.outbox) > 40:
        bench.step()
        for batch in bench.batches:
            arrived += batch.seq
            bench.ack(batch.stream, batch.seq)
        for _, message in bench.seen:
            assert len(message.payload) <= BACKFILL_MAX_BYTES
        bench.forget()

    assert arrived == list(range(1, len(arrived) + 1))
    assert len(arrived) > 500


def test_a_backlog_from_before_the_collectors_changed_still_gets_through(bench: Bench) -> None:
    bench.start(interval_seconds=1.0)
    bench.broker.running = False
    for generation in "abc":
        names = [f"metric_{generation}_{i}" for i in range(50)]
        bench.collector.metrics = tuple(Metric(name=name, unit="", title="") for name in names)  # type: ignore[misc, assignment]
        bench.collector.readings = dict.fromkeys(names, 1.0)
        bench.run(20)
    bench.collector.readings = {}
    bench.reconnect()
    arrived: set[int] = set()
    for _ in range(100):
        bench.step()
        for batch in bench.batches:
            arrived |= set(batch.seq)
            bench.ack(batch.stream, batch.seq)
        bench.forget()

    assert arrived >= set(range(1, 58))


# Incoming messages.


def test_messages_that_cannot_be_read_are_counted_logged_and_ignored(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    bench.run(2)
    for payload in (b"", b"\xff", b"{}", b"[" * 100_000, b'{"stream": 7, "ranges": []}'):
        bench.say(topics.ACK, payload)
    bench.say(topics.ORG_CONFIG, b'{"reconnect_spread_seconds": -1}')
    bench.say(topics.STATUS, b"no status")
    bench.run(10)

    assert bench.agent.rejected == 7
    with caplog.at_level(logging.INFO):
        bench.clock.advance(3600)
        bench.run(10)
    assert "in the last 60 min: messages rejected: 7" in caplog.messages
    assert len(bench.live) >= 2


def test_an_emptied_retained_status_is_no_message(bench: Bench) -> None:
    bench.run(2)
    bench.say(topics.STATUS, b"", retain=True)
    bench.run(2)

    assert bench.agent.rejected == 0


def test_the_organisations_spread_reaches_the_backoff(bench: Bench) -> None:
    bench.run(2)
    bench.say(topics.ORG_CONFIG, OrgConfig(reconnect_spread_seconds=42.5).encode(), retain=True)
    bench.step()

    assert bench.backoff.first_seconds == 42.5


def offline(session: int) -> bytes:
    return Status(state="offline", reason="lost", session=session, at=1).encode()


def test_a_will_that_comes_late_is_contradicted_at_once(bench: Bench) -> None:
    bench.run(2)
    session = bench.statuses[-1].session
    bench.forget()
    bench.say(topics.STATUS, offline(session - 5), retain=True)
    bench.step()
    bench.step()

    assert [(status.state, status.session) for status in bench.statuses] == [
        ("offline", session - 5),
        ("online", session),
    ]


def test_a_will_of_the_current_session_is_contradicted_too(bench: Bench) -> None:
    bench.run(2)
    session = bench.statuses[-1].session
    bench.say(topics.STATUS, offline(session), retain=True)
    bench.step()

    assert bench.statuses[-1].state == "online"


def test_the_retained_status_of_the_last_session_needs_no_answer(bench: Bench) -> None:
    bench.say(topics.STATUS, offline(5), retain=True)
    bench.run(3)

    assert [status.state for status in bench.statuses] == ["offline", "online"]


def test_its_own_birth_needs_no_answer(bench: Bench) -> None:
    bench.run(9)

    assert len(bench.statuses) == 1


@pytest.mark.parametrize("state", ["online", "offline"])
def test_a_status_of_a_session_to_come_is_overtaken(bench: Bench, state: str) -> None:
    bench.run(2)
    future = bench.statuses[-1].session + 10**12
    payload = offline(future) if state == "offline" else Status(state="online", session=future, at=1).encode()
    bench.say(topics.STATUS, payload, retain=True)
    bench.step()

    last = bench.statuses[-1]
    assert last.state == "online"
    assert last.session > future
    assert (bench.directory / "session").read_text() == str(last.session)
    bench.run(12)
    assert bench.live[-1].session == last.session


@pytest.mark.parametrize("session", [SESSION_MAX // 2, SESSION_MAX - 1, SESSION_MAX, SESSION_MAX + 1, INTEGER_MAX])
def test_a_session_beyond_reason_is_not_followed(bench: Bench, session: int) -> None:
    bench.run(2)
    payload = offline(7).replace(b'"session":7', f'"session":{session}'.encode())
    bench.say(topics.STATUS, payload, retain=True)
    bench.forget()
    for _ in range(3):
        bench.run(12)
        bench.transport.cut(send_will=False)
    bench.run(2)

    assert bench.statuses[-1].state == "online"
    assert bench.statuses[-1].session < 2 * bench.clock.now()
    assert len(bench.live) >= 2


def test_a_lost_connection_and_a_failing_disk_do_not_stop_the_sampling(bench: Bench) -> None:
    bench.machine.cold.unlink(missing_ok=True)
    bench.broker.running = False
    assert bench.outbox._cold.file is not None
    bench.outbox._cold.file._connection.execute("PRAGMA max_page_count = 1")
    bench.run(300)

    assert bench.outbox.next_seq >= 30
    assert count_waiting(bench.outbox) == bench.outbox.next_seq - 1
