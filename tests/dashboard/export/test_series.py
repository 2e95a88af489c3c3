"""The export of series has every reading of the devices in the time, in every format, and only the organisation's."""

import csv
import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from pyarrow import parquet
from series import START, SeriesKeeper, with_series
from sqlalchemy import Engine

from broker.access.policy import Principal, Role
from dashboard.export import series
from dashboard.export.files import writing
from dashboard.export.history import HistoryRange
from ingestor.admin.access import add_org, add_principal
from schemas.fleet.history import HOURS, MINUTE, SAMPLES, Resolution

NAMES = ("attic", "cellar")


@pytest.fixture
def database_url(each_database_url: str) -> str:
    return each_database_url


@pytest.fixture
def keeper(database: Engine) -> SeriesKeeper:
    for org in ("home", "other"):
        add_org(database, org, now=lambda: 0)
        for name in NAMES:
            add_principal(database, Principal(Role.MACHINE, org, name), "made-up", now=lambda: 0)
    keeper = SeriesKeeper(database)
    for minute in range(150):
        readings: dict[str, dict[str, float | None]] = {
            "disk_used_percent": {"/": 40.5, "=data": minute / 2},
            "network_received_bytes": {"eth0": 2**50 + minute, "gone": None},
        }
        keeper.write(*(with_series(key, START + minute * MINUTE, minute + 1, readings) for key in (1, 3)))
    keeper.tend(hours=2.1)
    return keeper


def wanted(resolution: Resolution = SAMPLES, *, start: int = 0, end: int = 150) -> HistoryRange:
    return HistoryRange("home", (), START + start * MINUTE, START + end * MINUTE, resolution)


def written(form: str, file: Path, keeper: SeriesKeeper, what: HistoryRange) -> Path:
    with writing(form, file, series.fields(what)) as write:
        for some in series.rows(keeper.engine, what):
            write(some)
    return file


def test_every_reading_is_a_row_whether_its_hour_is_closed_or_not(keeper: SeriesKeeper, tmp_path: Path) -> None:
    with written("csv", tmp_path / "file", keeper, wanted()).open(newline="") as text:
        found = list(csv.DictReader(text))
    assert len(found) == 150 * 3
    assert {row["machine"] for row in found} == {"attic"}
    data = [row for row in found if row["device"] == "'=data"]
    assert [float(row["value"]) for row in data] == [minute / 2 for minute in range(150)]
    assert [row["time"] for row in data] == sorted(row["time"] for row in data)
    assert "gone" not in {row["device"] for row in found}


@pytest.mark.parametrize("resolution", [SAMPLES, HOURS])
def test_a_time_of_any_length_is_exported_at_once(keeper: SeriesKeeper, resolution: Resolution) -> None:
    ever = HistoryRange("home", (), 0, 10**15, resolution)
    found = [row for some in series.rows(keeper.engine, ever) for row in some]
    assert found
    assert found == [row for some in series.rows(keeper.engine, wanted(resolution)) for row in some]


def test_the_time_is_a_range_with_its_start_and_without_its_end(keeper: SeriesKeeper) -> None:
    found = [row for some in series.rows(keeper.engine, wanted(start=59, end=61)) for row in some]
    assert sorted({row["time"] for row in found}) == [START + 59 * MINUTE, START + 60 * MINUTE]


def test_hours_have_the_summary_of_their_readings(keeper: SeriesKeeper, tmp_path: Path) -> None:
    lines = written("jsonl", tmp_path / "file", keeper, wanted(HOURS)).read_text().splitlines()
    (first, second) = [json.loads(line) for line in lines if '"=data"' in line]
    moment = datetime.fromtimestamp(START / 1000, UTC).strftime("%Y-%m-%dT%H:00:00.000Z")
    place = {"machine": "attic", "time": moment, "metric": "disk_used_percent", "device": "=data"}
    assert first == {**place, "count": 60, "minimum": 0.0, "average": 14.75, "maximum": 29.5}
    assert (second["count"], second["maximum"]) == (60, 59.5)


def test_a_parquet_file_has_the_types(keeper: SeriesKeeper, tmp_path: Path) -> None:
    table = parquet.read_table(written("parquet", tmp_path / "file", keeper, wanted()))
    rows = table.to_pylist()
    assert len(rows) == 150 * 3
    last = next(row for row in reversed(rows) if row["device"] == "eth0")
    assert last["value"] == 2**50 + 149
    assert last["time"] == datetime.fromtimestamp((START + 149 * MINUTE) / 1000, UTC)
    assert (last["machine"], last["metric"]) == ("attic", "network_received_bytes")
