"""The export contains the stored rows unchanged, in every format, and only those of the organisation."""

import csv
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from pyarrow import parquet
from seeding import Fleet
from sqlalchemy import Engine

from dashboard.export import history
from dashboard.export.files import writing
from dashboard.export.history import HistoryRange, count, rows, unknown
from schemas.database.tables import minute
from schemas.fleet.history import HOURS, MINUTES, SAMPLES, Resolution

COUNT = 50


@pytest.fixture
def database_url(each_database_url: str) -> str:
    return each_database_url


@pytest.fixture
def fleet(database: Engine) -> Fleet:
    fleet = Fleet(database)
    for name in ("attic", "cellar"):
        key = fleet.machine(name)
        times = [fleet.now - 1000 * i for i in range(COUNT)]
        fleet.samples(key, times, cpu_percent=12.5, memory_used_bytes=2**40, extra={"=fan": -1.5}, load_1m=None)
        fleet.hours(key, 3)
    fleet.org("other")
    fleet.samples(fleet.machine("attic", org="other"), [fleet.now], cpu_percent=99.0)
    return fleet


def wanted(fleet: Fleet, *machines: str, resolution: Resolution = SAMPLES, ago: int = 10**9) -> HistoryRange:
    return HistoryRange("home", machines, fleet.now - ago, fleet.now + 1, resolution)


def written(form: str, file: Path, fleet: Fleet, what: HistoryRange) -> Path:
    with writing(form, file, what.fields) as write:
        for some in rows(fleet.engine, what):
            write(some)
    return file


def test_rows_come_machine_by_machine_and_the_oldest_first(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history, "BATCH_SIZE", 20)
    parts = list(rows(fleet.engine, wanted(fleet)))
    assert [len(part) for part in parts] == [20, 20, 10] * 2
    found = [(row["machine"], row["time"]) for part in parts for row in part]
    assert found == sorted(found)
    assert count(fleet.engine, wanted(fleet)) == len(found) == 2 * COUNT


def test_machines_and_times_narrow_what_is_exported(fleet: Fleet) -> None:
    (some,) = rows(fleet.engine, wanted(fleet, "cellar", ago=4000))
    assert [row["time"] for row in some] == [fleet.now - 1000 * i for i in (4, 3, 2, 1, 0)]
    assert {row["machine"] for row in some} == {"cellar"}


def test_nothing_of_another_organisation_leaves(fleet: Fleet) -> None:
    assert 99.0 not in {row["cpu_percent"] for some in rows(fleet.engine, wanted(fleet)) for row in some}
    problem = unknown(fleet.engine, wanted(fleet, "attic", "shed", "barn"))
    assert problem == "home has no machine barn, shed: dashfleet machines lists them"
    problem = unknown(fleet.engine, HistoryRange("away", (), 0, 1, SAMPLES))
    assert problem == "there is no organisation away: dashfleet org list shows them"
    assert unknown(fleet.engine, wanted(fleet)) == ""


def test_csv_holds_what_was_stored_and_no_formula(fleet: Fleet, tmp_path: Path) -> None:
    file = written("csv", tmp_path / "file", fleet, wanted(fleet))
    with file.open(newline="") as text:
        found = list(csv.DictReader(text))
    assert len(found) == 2 * COUNT
    last = found[COUNT - 1]
    assert (last["machine"], last["cpu_percent"], last["load_1m"]) == ("attic", "12.5", "")
    assert last["time"] == "2023-11-14T22:13:20.000Z"
    assert json.loads(last["extra"]) == {"=fan": -1.5}
    texts = [row[name] for row in found for name in ("machine", "time", "extra")]
    assert not [text for text in texts if text.startswith(("=", "+", "-", "@", "\t", "\r"))]


def test_json_lines_hold_what_was_stored(fleet: Fleet, tmp_path: Path) -> None:
    lines = written("jsonl", tmp_path / "file", fleet, wanted(fleet)).read_text().splitlines()
    found = [json.loads(line) for line in lines]
    assert len(found) == 2 * COUNT
    assert found[0]["extra"] == {"=fan": -1.5}
    assert (found[0]["load_1m"], found[0]["memory_used_bytes"]) == (None, 2**40)


@pytest.mark.parametrize("resolution", [SAMPLES, HOURS])
def test_parquet_holds_what_was_stored_with_types(fleet: Fleet, tmp_path: Path, resolution: Resolution) -> None:
    what = wanted(fleet, resolution=resolution, ago=10**10)
    found: list[dict[str, Any]] = parquet.read_table(written("parquet", tmp_path / "file", fleet, what)).to_pylist()
    stored = [row for some in rows(fleet.engine, what) for row in some]
    assert len(found) == len(stored) > 0
    for row, kept in zip(found, stored, strict=True):
        assert row["time"] == datetime.fromtimestamp(kept["time"] / 1000, UTC)
        assert json.loads(row["extra"] or "null") == kept["extra"]
        assert {name: row[name] for name in what.columns} == {name: kept[name] for name in what.columns}


@pytest.mark.parametrize("extra", [{}, None, {"fan_rpm": [1, 2.0, 2.0, 2.0]}])
def test_minutes_with_or_without_extra_readings_are_exported(
    fleet: Fleet, tmp_path: Path, extra: dict[str, Any] | None
) -> None:
    fleet.minutes(fleet.machine("mill"), [10.0, 20.0])
    with fleet.engine.begin() as connection:
        connection.execute(minute.update().values(extra=extra))
    what = wanted(fleet, resolution=MINUTES, ago=10**10)
    for form in ("csv", "jsonl", "parquet"):
        file = written(form, tmp_path / form, fleet, what)
        if form == "parquet":
            found = parquet.read_table(file).to_pylist()
            assert len(found) > 1
            assert {row["extra"] for row in found} == {json.dumps(extra, separators=(",", ":")) if extra else None}


@pytest.mark.parametrize("form", ["csv", "jsonl", "parquet"])
def test_an_export_of_nothing_is_a_whole_file(fleet: Fleet, tmp_path: Path, form: str) -> None:
    what = HistoryRange("home", (), 0, 1, SAMPLES)
    file = written(form, tmp_path / "file", fleet, what)
    if form == "parquet":
        assert parquet.read_table(file).num_rows == 0
    else:
        assert len(file.read_text().splitlines()) == (1 if form == "csv" else 0)
