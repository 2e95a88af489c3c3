"""Samples with series wait in the outbox, and travel as backfill, like any other."""

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from outboxes import OutboxMachine, damage_readings
from readings import Devices

from agent.outbox.backfill import BACKFILL_MAX_BYTES, encoded
from agent.outbox.outbox import Outbox, OutboxBatch
from agent.outbox.queued_sample import QueuedSample, SampleStream, StreamRange, encoded_body
from agent.outbox.sample_file import SampleFile
from runtime.settings.agent import AgentSettings
from schemas.contract.backfill import BATCH_COLUMNS_MAX, Backfill
from schemas.contract.messages import DEVICES_MAX, SERIES_MAX, SERIES_READINGS_MAX, Sample, Series, Vitals

SERIES: Series = {"disk_used_percent": {"/": 71.5, "/data \N{SNOWMAN}": None}, "disk_read_bytes": {"sda": 2**53 - 1}}
GOLDEN = Path(__file__).parents[2] / "schemas" / "contract" / "golden"


def batch_of(outbox: Outbox) -> OutboxBatch:
    batch = outbox.batch(500)
    assert batch is not None
    return batch


def test_series_survive_the_hot_store_a_crash_and_the_cold_store(machine: OutboxMachine) -> None:
    outbox = machine.open()
    outbox.append(1, Vitals(cpu_percent=1.0), {"fan_rpm": 7.0}, SERIES)
    outbox.append(2, Vitals(cpu_percent=2.0), {})
    assert [sample.series for sample in batch_of(outbox).samples] == [SERIES, {}]

    machine.kill()
    outbox = machine.open()
    outbox.spill()
    machine.reboot()

    samples = batch_of(machine.open()).samples
    assert [sample.series for sample in samples] == [SERIES, {}]
    assert samples[0].extra == {"fan_rpm": 7.0}
    assert isinstance(samples[0].series["disk_read_bytes"]["sda"], int)


def test_a_sample_without_series_is_stored_as_it_always_was(machine: OutboxMachine) -> None:
    assert encoded_body(Vitals(cpu_percent=1.0), {"fan_rpm": 7.0}, {}) == '[{"cpu_percent":1.0},{"fan_rpm":7.0}]'
    assert QueuedSample(1, 2, 3, '[{"cpu_percent":1.0},{}]').decoded().series == {}
    outbox = machine.open()
    assert outbox.append(1, Vitals(), {}).series == {}


@pytest.mark.parametrize(
    "series", ['{"a": 7}', '{"Not A Name": {"a": 1}}', '{"a": {"b": "c"}}', "7", '{"a": {"b": NaN}}', '{"a": {}}']
)
def test_damaged_series_drop_the_sample_and_no_other(machine: OutboxMachine, series: str) -> None:
    outbox = machine.open()
    for number in range(3):
        outbox.append(number, Vitals(), {}, SERIES)
    outbox.spill()
    damage_readings(outbox, 2, f"[{{}},{{}},{series}]")

    assert [sample.seq for sample in batch_of(outbox).samples] == [1, 3]
    assert outbox.dropped == 1


def sample(seq: int, series: Series) -> Sample:
    return Sample.model_construct(seq=seq, sampled_at=seq, vitals=Vitals(), extra={}, series=series)


def sent(samples: list[Sample]) -> list[Backfill]:
    """Return the messages that carry these samples."""
    messages = []
    while samples:
        some, payload = encoded(OutboxBatch("0" * 16, 1, 0, samples), 7)
        assert len(payload) <= BACKFILL_MAX_BYTES or len(some) == 1
        messages.append(Backfill.decode(payload))
        samples = samples[len(some) :]
    return messages


def restored(messages: list[Backfill]) -> list[Series]:
    return [sample.series for message in messages for sample in message.samples()]


def test_devices_that_come_and_go_split_a_batch_so_that_its_columns_stay_in_bounds() -> None:
    per_sample = SERIES_READINGS_MAX // 8
    series: list[Series] = [{"reads": {f"{seq}-{i}": i for i in range(per_sample)}} for seq in range(1, 101)]

    messages = sent([sample(seq, each) for seq, each in enumerate(series, 1)])

    assert restored(messages) == series
    columns = [sum(map(len, message.series.readings.values())) for message in messages if message.series]
    assert max(columns) <= BATCH_COLUMNS_MAX < sum(columns)


def test_metrics_that_come_and_go_split_a_batch() -> None:
    series: list[Series] = [{f"metric_{seq}": {"a": 1}} for seq in range(1, 3 * SERIES_MAX)]

    messages = sent([sample(seq, each) for seq, each in enumerate(series, 1)])

    assert restored(messages) == series
    assert len(messages) > 2


def test_the_widest_samples_travel_in_messages_that_fit() -> None:
    metrics = SERIES_READINGS_MAX // DEVICES_MAX
    wide: Series = {
        f"metric_{m}": {f"device {d} {'x' * 40}": 123456789012 + d for d in range(DEVICES_MAX)} for m in range(metrics)
    }

    messages = sent([sample(seq, wide) for seq in range(1, 121)])

    assert restored(messages) == [wide] * 120


def test_an_hour_of_samples_with_sixty_readings_is_one_message_of_few_bytes_per_reading() -> None:
    samples = [
        sample(seq, {"used": {f"/mnt/{i}": 50.5 for i in range(20)}, "reads": {f"sd{i}": seq * 999 for i in range(40)}})
        if seq % 6 == 1
        else sample(seq, {})
        for seq in range(1, 361)
    ]

    (message,) = sent(samples)

    assert message.series is not None
    assert len(json.dumps(message.series.model_dump(), separators=(",", ":"))) / (60 * 60) < 8


def test_a_week_of_sixty_readings_a_minute_and_all_other_samples_fits_into_the_usual_outbox(tmp_path: Path) -> None:
    usual = AgentSettings.model_fields["outbox_max_bytes"].default
    vitals = Vitals.model_validate(json.loads((GOLDEN / "telemetry.json").read_text())["vitals"])
    devices, week = Devices(), 7 * 24 * 60
    detailed = [encoded_body(vitals, {}, devices.read()) for _ in range(100)]
    plain = encoded_body(vitals, {}, {})
    samples = [
        QueuedSample(1, 6 * minute + part + 1, 10_000 * minute, detailed[minute % 100] if part == 0 else plain)
        for minute in range(week)
        for part in range(6)
    ]
    file = SampleFile.open(tmp_path / "outbox.db", durable=False)
    file.add([SampleStream(1, "0" * 16, len(samples) + 1)], samples)
    assert file.used_bytes() <= usual * 3 // 4
    file.close()


def test_an_empty_file_of_the_former_form_is_renewed_and_one_with_samples_is_read(tmp_path: Path) -> None:
    path = tmp_path / "outbox.db"
    sample = QueuedSample(1, 1, 5, encoded_body(Vitals(cpu_percent=1.0), {}, SERIES))
    SampleFile.open(path, durable=False).close()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("DROP TABLE sample")
        connection.execute(
            "CREATE TABLE sample (stream_id INTEGER NOT NULL, seq INTEGER NOT NULL, sampled_at INTEGER NOT NULL, "
            "body TEXT NOT NULL, PRIMARY KEY (stream_id, seq)) WITHOUT ROWID"
        )
        connection.execute("INSERT INTO sample VALUES (?, ?, ?, ?)", sample)
        connection.commit()

    def form() -> str:
        with closing(sqlite3.connect(path)) as connection:
            return str(connection.execute("SELECT sql FROM sqlite_master WHERE name = 'sample'").fetchone()[0])

    file = SampleFile.open(path, durable=False)
    assert file.samples() == [sample]
    file.delete([StreamRange(1, 1, 1)])
    file.close()
    assert "WITHOUT ROWID" in form()
    SampleFile.open(path, durable=False).close()
    assert "WITHOUT ROWID" not in form()
