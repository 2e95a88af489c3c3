"""Stored history as messages: all that is stored, once, in order, whatever way it came in and lies there now."""

import shutil
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path

import pytest
from clocks import Clock
from ingestion import Speaker, open_bench
from sqlalchemy import Engine, Table, func, select

from broker.access.policy import Principal, Role
from broker.client.memory import MemoryBroker
from broker.client.transport import Message
from ingestor.admin.access import add_org, add_principal
from runtime.urls import sqlite_url
from schemas.contract import topics
from schemas.contract.alerts import AlertMessage, ResolvedMessage
from schemas.contract.backfill import Backfill
from schemas.contract.messages import Info, Sample, Telemetry, Vitals
from schemas.contract.presence import PresenceMessage
from schemas.contract.topics import Topic
from schemas.database import tables
from schemas.database.engine import open_engine, upgrade
from schemas.database.replay import stored_messages
from schemas.database.replay.machine_past import StoredMessage
from schemas.database.replay.stored_messages import StoredPeriod, begin_with_data, read_messages, windows
from schemas.database.replay.stored_samples import StoredSample, read_stored_samples
from schemas.database.replay.stored_times import first_stored
from schemas.fleet.history import HOUR, MINUTE

NAMES = ("attic", "cellar")
SAMPLES = 200
INTERVAL = 20
BUSY = range(50, 100)
"""Samples during which `attic` is busy for long enough that an alert begins."""
OUTAGE = range(125, 150)
"""Samples of `cellar` that arrive late."""

Streams = Mapping[int, tuple[str, int]]


class Told:
    """What two machines have told an ingestor: with all SAMPLES, in a little more than an hour."""

    def __init__(self, engine: Engine, samples: int = SAMPLES) -> None:
        clock = Clock()
        add_org(engine, "home", now=clock.now)
        for name in NAMES:
            add_principal(engine, Principal(Role.MACHINE, "home", name), "made-up", now=clock.now)
        self.engine = engine
        self.bench = bench = open_bench(engine, clock, MemoryBroker())
        self.started_at = clock.now()
        self.speakers = [Speaker(clock, name, session=10 + i) for i, name in enumerate(NAMES)]
        self.sent: dict[str, list[Telemetry]] = {name: [] for name in NAMES}
        bench.step(steps=3)
        for speaker in self.speakers:
            bench.publish(speaker.info(), speaker.status())
        for seq in range(1, samples + 1):
            bench.clock.advance(INTERVAL)
            for speaker in self.speakers:
                self._sample(speaker, seq)
            bench.step()
        bench.publish(self.speakers[1].status("stopped"))
        bench.step(0.0, steps=3)
        self.ended_at = bench.clock.now() + 1

    @property
    def period(self) -> StoredPeriod:
        return StoredPeriod("home", (), self.started_at, self.ended_at)

    def replayed(self, period: StoredPeriod | None = None) -> list[StoredMessage]:
        return list(read_messages(self.engine, period or self.period))

    def count(self, table: Table) -> int:
        with self.engine.connect() as connection:
            return connection.scalar(select(func.count()).select_from(table)) or 0

    def expect_all(self, messages: list[StoredMessage]) -> None:
        """Fail unless each sample is there once, as it was sent, in order."""
        assert [each.at for each in messages] == sorted(each.at for each in messages)
        for name in NAMES:
            found = [Telemetry.decode(each.payload) for each in of_topic(messages, topics.REPLAYED_TELEMETRY, name)]
            assert found == [each.model_copy(update={"oldest_seq": each.seq}) for each in self.sent[name]]

    def _sample(self, speaker: Speaker, seq: int) -> None:
        cpu = 99.0 if speaker.name == "attic" and seq in BUSY else round(10 + seq / 100, 2)
        vitals = Vitals(cpu_percent=cpu, memory_percent=40.0, disk_percent=30.0, uptime_seconds=seq * INTERVAL)
        series = {"disk_used_percent": {"/": 30.5, "/data": None if seq % 30 else 9}} if seq % 3 == 0 else {}
        message = speaker.telemetry(seq, vitals=vitals, series=series)
        told = Telemetry.decode(message.payload)
        self.sent[speaker.name].append(told.model_copy(update={"series": _known(series)}))
        if speaker.name != "cellar" or seq not in OUTAGE:
            self.bench.publish(message)
        if speaker.name == "cellar" and seq == OUTAGE.stop:
            late = [Sample.model_validate(each.model_dump()) for each in self.sent["cellar"] if each.seq in OUTAGE]
            batch = Backfill.of(late, session=speaker.session, stream=speaker.stream, oldest_seq=1, dropped=0)
            self.bench.publish(Message(topics.BACKFILL.at(org="home", machine="cellar"), batch.encode()))


def _known(series: dict[str, dict[str, float | None]]) -> dict[str, dict[str, float]]:
    """Series as they are stored: without readings that are null."""
    return {
        metric: {device: number for device, number in devices.items() if number is not None}
        for metric, devices in series.items()
    }


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory, migrated_file: Path) -> Iterator[Told]:
    file = tmp_path_factory.mktemp("told") / "fleet.db"
    shutil.copyfile(migrated_file, file)
    engine = open_engine(sqlite_url(file))
    yield Told(engine)
    engine.dispose()


def of_topic(messages: list[StoredMessage], topic: Topic, machine: str) -> Iterator[StoredMessage]:
    return (each for each in messages if each.topic is topic and each.machine == machine)


def test_every_stored_sample_is_replayed_once_as_it_was_sent_and_in_order(told: Told) -> None:
    assert told.count(tables.series_hour), "some series are in blocks"
    assert told.count(tables.series_sample), "and some in rows"
    assert told.count(tables.sample) == len(NAMES) * SAMPLES
    told.expect_all(told.replayed())


def test_so_it_is_with_postgresql(postgresql_empty_url: str) -> None:
    engine = open_engine(postgresql_empty_url)
    upgrade(engine)
    told = Told(engine, samples=30)
    told.expect_all(told.replayed())
    assert any(each.topic is topics.REPLAYED_PRESENCE for each in told.replayed())
    engine.dispose()


def test_the_presence_and_the_alerts_come_where_they_happened(told: Told) -> None:
    messages = told.replayed(told.period)
    presence = [PresenceMessage.decode(each.payload) for each in of_topic(messages, topics.REPLAYED_PRESENCE, "attic")]
    counts = [count for count, _ in groupby(each.alerts.warning + each.alerts.critical for each in presence)]
    assert (counts, {each.presence for each in presence}) == ([0, 1, 0], {"online"})
    active, over = (each.payload for each in of_topic(messages, topics.REPLAYED_ALERT, "attic"))
    (resolved,) = (ResolvedMessage.decode(e.payload) for e in of_topic(messages, topics.REPLAYED_RESOLVED, "attic"))
    alert = AlertMessage.decode(active)
    assert (over, resolved.since, alert.since) == (b"", alert.since, told.started_at + BUSY.start * INTERVAL * 1000)
    assert resolved.until == told.started_at + BUSY.stop * INTERVAL * 1000
    (*_, last) = of_topic(messages, topics.REPLAYED_PRESENCE, "cellar")
    stopped = PresenceMessage.decode(last.payload)
    assert (stopped.presence, stopped.reason) == ("offline", "stopped")


def test_a_replay_from_the_middle_begins_with_the_state_of_that_moment(told: Told) -> None:
    middle = told.started_at + 75 * INTERVAL * 1000
    messages = told.replayed(StoredPeriod("home", ("attic",), middle, told.ended_at))
    opening = [each for each in messages if each.topic is not topics.REPLAYED_TELEMETRY and each.at == middle]
    assert [each.topic for each in opening] == [
        topics.REPLAYED_INFO,
        topics.REPLAYED_PRESENCE,
        topics.REPLAYED_ALERT,
        topics.REPLAYED_PRESENCE,
    ]
    assert Info.decode(opening[0].payload).hostname == "attic.example"
    assert PresenceMessage.decode(opening[1].payload).presence == "online"
    first = next(of_topic(messages, topics.REPLAYED_TELEMETRY, "attic"))
    assert Telemetry.decode(first.payload).seq == 75
    assert {each.machine for each in messages} == {"attic"}


def test_the_parts_of_a_period_are_the_period(told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = told.replayed(told.period)
    monkeypatch.setattr(stored_messages, "WHOLE_HOURS_MAX", 0)
    read: list[int] = []

    def spied(engine: Engine, key: int, *, start: int, end: int, streams: Streams) -> list[StoredSample]:
        read.append(end - start)
        return read_stored_samples(engine, key, start=start, end=end, streams=streams)

    monkeypatch.setattr(stored_messages, "read_stored_samples", spied)
    assert told.replayed() == whole
    assert max(read) <= MINUTE


def test_nothing_of_another_organisation_is_replayed(told: Told) -> None:
    assert told.replayed(StoredPeriod("work", (), told.started_at, told.ended_at)) == []


@pytest.mark.parametrize("machines", [1, 20, 21, 1000, 100_000])
def test_the_windows_cover_a_period_without_gap_and_are_shorter_for_many_machines(machines: int) -> None:
    period = StoredPeriod("home", (), 5 * HOUR + 1, 8 * HOUR + 7)
    found = list(windows(period, machines, lambda at: at if at < period.end else None))
    assert [start for start, _ in found] == [period.start, *(end for _, end in found[:-1])]
    assert found[-1][1] == period.end
    longest = max(end - start for start, end in found)
    assert longest * machines <= HOUR * stored_messages.WHOLE_HOURS_MAX or longest <= MINUTE


def test_a_replay_of_all_time_reads_only_the_hours_of_which_something_is_stored(
    told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = told.replayed()
    period = StoredPeriod("home", (), -62_000_000_000_000, told.ended_at + 10**13)
    began = begin_with_data(told.engine, period)
    assert 0 <= told.started_at - began.start < HOUR
    asked: list[int] = []

    def spied(engine: Engine, keys: Sequence[int], start: int, end: int) -> int | None:
        asked.append(start)
        return first_stored(engine, keys, start, end)

    monkeypatch.setattr(stored_messages, "first_stored", spied)
    replayed = told.replayed(period)
    assert replayed[-len(expected) + 3 :] == expected[3:]  # without the description and state at its begin
    assert len(asked) <= 4


def test_of_a_period_of_which_nothing_is_stored_only_the_descriptions_are_replayed(told: Told) -> None:
    early = StoredPeriod("home", (), 0, told.started_at - HOUR)
    assert begin_with_data(told.engine, early) == early
    assert {each.topic for each in told.replayed(early)} == {topics.REPLAYED_INFO}
