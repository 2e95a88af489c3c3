"""Series of live and late samples: stored once, with the sample that they belong to, and found as the newest."""

import json

import pytest
from ingestion import Bench, Readings, Speaker
from sqlalchemy import Engine, func, insert, select

from broker.client.transport import Message
from ingestor.intake.ingress import READINGS_PER_SAMPLE
from ingestor.storage import series_rows
from schemas.contract.messages import Vitals
from schemas.database import tables
from schemas.database.queries.dead_letters import list_dead_letters
from schemas.database.series.latest import list_machines_with_series, read_latest
from schemas.database.series.stored_series import read_samples
from schemas.database.tables import mount_forecast
from schemas.fleet.forecast import DAY
from schemas.fleet.history import HOUR

DATA: Readings = {"disk_used_percent": {"/": 40.5, "/data": 91.5}, "network_received_bytes": {"eth0": 12, "eth1": None}}


def stored(fleet: Engine) -> dict[int, object]:
    return {sample.seq: sample.readings for sample in read_samples(fleet, 1, start=0, end=2**62)}


def count(fleet: Engine, name: str) -> int:
    with fleet.connect() as connection:
        return connection.scalar(select(func.count()).select_from(tables.metadata.tables[name])) or 0


def test_the_newest_series_of_a_machine_are_listed_with_their_time(
    bench: Bench, speaker: Speaker, fleet: Engine
) -> None:
    bench.publish(speaker.status(), speaker.telemetry(1, series=DATA))
    bench.step()
    at = bench.clock.now()
    forecasts = (("/", "no-trend", None), ("/data", "full", at + 5 * DAY // 2), ("/new", "short", None))
    with fleet.begin() as connection:
        for mount, outlook, full_at in forecasts:
            values = {"machine_id": 1, "mount": mount, "outlook": outlook, "full_at": full_at}
            connection.execute(insert(mount_forecast).values(values))
    bench.step(10)
    bench.publish(speaker.telemetry(2))
    bench.step()
    attic = next(row for row in list_machines_with_series(fleet, now=at) if row["org"] == "home")
    known = {"disk_used_percent": {"/": 40.5, "/data": 91.5}, "network_received_bytes": {"eth0": 12}}
    assert (attic["series"], attic["series_as_of"]) == (known, at)
    assert attic["disk_days_left"] == {"/": None, "/data": 2.5}
    json.dumps(attic)
    other = next(row for row in list_machines_with_series(fleet, now=at) if row["org"] == "office")
    assert (other["series"], other["series_as_of"]) == ({}, None)
    assert read_latest(fleet, "office", ["attic"]) == {}


def test_a_sample_without_series_writes_nothing_beside_itself(bench: Bench, speaker: Speaker, fleet: Engine) -> None:
    bench.publish(speaker.telemetry(1))
    bench.step()
    assert [count(fleet, name) for name in ("sample", "series_sample", "series_due")] == [1, 0, 0]


def test_series_of_a_sample_that_comes_twice_are_stored_once(bench: Bench, speaker: Speaker, fleet: Engine) -> None:
    bench.publish(speaker.telemetry(1, series=DATA), speaker.telemetry(1, series=DATA))
    bench.step()
    bench.publish(speaker.backfill(1, 2, series={1: DATA, 2: DATA}))
    bench.step()
    assert stored(fleet) == {1: DATA | {"network_received_bytes": {"eth0": 12}}, 2: stored(fleet)[1]}
    assert count(fleet, "series_sample") == 2


def test_series_of_a_backfill_are_stored_at_the_time_of_their_samples(
    bench: Bench, speaker: Speaker, fleet: Engine
) -> None:
    bench.publish(speaker.backfill(*range(1, 8), series={1: DATA, 7: {"sensor_celsius": {"Core 0": 51.0}}}))
    bench.step()
    found = read_samples(fleet, 1, start=0, end=2**62)
    assert [(sample.seq, bench.clock.now() - sample.at) for sample in found] == [(1, 6000), (7, 0)]
    assert found[1].readings == {"sensor_celsius": {"Core 0": 51.0}}


def test_series_of_a_wrong_clock_are_stored_at_the_servers_time(bench: Bench, speaker: Speaker, fleet: Engine) -> None:
    right = bench.clock.now()
    message = json.loads(speaker.telemetry(1, series=DATA).payload)
    message["sampled_at"] = right - 40 * HOUR
    wrong = Message(speaker.telemetry(1).topic, json.dumps(message).encode(), 1)
    bench.publish(wrong)
    bench.step()
    assert [sample.at for sample in read_samples(fleet, 1, start=0, end=2**62)] == [right]


@pytest.mark.parametrize("reading", ["text", 1e301, {"a": 1}])
def test_of_a_backfill_with_one_bad_reading_only_its_sample_is_rejected(
    bench: Bench, speaker: Speaker, fleet: Engine, reading: object
) -> None:
    message = speaker.backfill(1, 2, 3, series={1: DATA, 3: DATA})
    payload = json.loads(message.payload)
    payload["series"]["readings"]["disk_used_percent"]["/data"][1] = reading
    bench.publish(Message(message.topic, json.dumps(payload).encode(), 1))
    bench.step()
    assert list(stored(fleet)) == [1]
    assert count(fleet, "sample") == 2
    (letter,) = list_dead_letters(fleet, limit=10)
    assert letter["reason"] == "invalid"
    assert "/data" in letter["detail"]


@pytest.mark.parametrize(
    "series", [3, [], {"seq": 1}, {"seq": [1], "readings": []}, {"seq": [1], "readings": {"a": {"b": [1, 2]}}}]
)
def test_series_that_are_not_aligned_reject_the_batch(
    bench: Bench, speaker: Speaker, fleet: Engine, series: object
) -> None:
    message = speaker.backfill(1, 2)
    payload = json.loads(message.payload) | {"series": series}
    bench.publish(Message(message.topic, json.dumps(payload).encode(), 1))
    bench.step()
    assert stored(fleet) == {}
    assert [letter["reason"] for letter in list_dead_letters(fleet, limit=10)] == ["invalid"]


def test_the_numbers_of_any_valid_reading_are_stored_exactly(bench: Bench, speaker: Speaker, fleet: Engine) -> None:
    numbers: dict[str, float | None] = {
        "a": 2**53 - 1,
        "b": -(2**53) + 1,
        "c": 0.1 + 0.2,
        "d": 1e300,
        "e": -5e-324,
        "f\u202eö 'x\"": 1.0,
    }
    bench.publish(speaker.telemetry(1, series={"t": numbers}))
    bench.step()
    assert stored(fleet) == {1: {"t": numbers}}


def test_the_mark_of_an_hour_is_written_once_and_again_after_the_hour_was_closed(
    bench: Bench, speaker: Speaker, fleet: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(series_rows, "CLOSE_DELAY", 0)
    for seq in (1, 2):
        bench.publish(speaker.telemetry(seq, series=DATA, vitals=Vitals()))
        bench.step(1)
    assert count(fleet, "series_due") == 1
    bench.step(3600)
    bench.step(5, steps=3)
    assert (count(fleet, "series_due"), count(fleet, "series_hour")) == (0, 1)
    bench.publish(speaker.backfill(3, 4, series={3: DATA}))
    bench.step(1)
    bench.step(3600)
    bench.step(5, steps=3)
    assert count(fleet, "series_due") == 0
    assert list(stored(fleet)) == [1, 2, 3]


def test_readings_are_charged_to_the_samples_of_a_machine(bench: Bench, speaker: Speaker) -> None:
    many: Readings = {f"m{metric}": {str(device): 1.0 for device in range(64)} for metric in range(8)}
    bench.publish(speaker.telemetry(1, series=many), speaker.telemetry(2))
    with_limits = bench.ingestor._ingress._limits
    before = with_limits.machine.samples
    bench.step()
    assert with_limits._buckets["home", "attic"].samples == before - 512 / READINGS_PER_SAMPLE
