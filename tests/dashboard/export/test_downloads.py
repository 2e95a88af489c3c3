"""Downloads of the fleet and of a machine's history, on both databases."""

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from clocks import Clock
from seeding import NOW, Fleet
from sqlalchemy import Engine
from starlette.applications import Starlette
from starlette.testclient import TestClient

from dashboard.export import fleet as fleet_export
from dashboard.export.downloads import Downloads
from runtime.urls import sqlite_url
from schemas.database.engine import open_engine

Fetch = Callable[..., str]


@pytest.fixture
def database_url(each_database_url: str) -> str:
    return each_database_url


@pytest.fixture
def client(reader: Engine) -> TestClient:
    return TestClient(Starlette(routes=Downloads(reader, Clock()).routes()))


@pytest.fixture
def fetch(client: TestClient) -> Fetch:
    def fetch(path: str, *, org: str = "home") -> str:
        answer = client.get(path, headers={"x-df-org": org})
        assert answer.status_code == 200, answer.text
        assert answer.headers["cache-control"] == "no-store"
        return answer.text

    return fetch


def table(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text, newline="")))


def test_the_file_has_the_machines_of_the_address_in_its_order(fleet: Fleet, fetch: Fetch) -> None:
    fleet.machine("a", cpu_percent=20.0, labels={"site": "paris"})
    fleet.machine("b", cpu_percent=90.0, labels={"site": "paris"})
    fleet.machine("c", cpu_percent=50.0)
    fleet.machine("old", presence="retired")
    fleet.machine("theirs", org="other")
    assert [row["machine"] for row in table(fetch("/export/fleet.csv?sort=cpu&dir=desc"))] == ["b", "c", "a"]
    assert [row["machine"] for row in table(fetch("/export/fleet.csv?label=site%3Dparis&page=7"))] == ["b", "a"]
    assert [row["machine"] for row in table(fetch("/export/fleet.csv", org="other"))] == ["theirs"]
    assert table(fetch("/export/fleet.csv", org="nowhere")) == []


def test_a_machine_is_told_by_codes_numbers_and_times(fleet: Fleet, fetch: Fetch) -> None:
    fleet.machine("a", hostname="=cmd()", since_at=NOW, last_seen_at=None, cpu_percent=None, labels={"site": "paris"})
    (row,) = table(fetch("/export/fleet.csv"))
    assert list(row) == list(fleet_export.COLUMNS)
    assert row["hostname"] == "'=cmd()"
    assert (row["presence"], row["since"], row["last_seen"]) == ("online", "2023-11-14T22:13:20.000Z", "")
    assert (row["cpu_percent"], row["memory_percent"], row["labels"]) == ("", "40.0", '{"site":"paris"}')
    said = json.loads(fetch("/export/fleet.jsonl"))
    assert (said["hostname"], said["labels"], said["cpu_percent"]) == ("=cmd()", {"site": "paris"}, None)
    assert list(said) == list(fleet_export.COLUMNS)


def test_the_file_has_the_readings_that_the_table_has_with_their_devices(fleet: Fleet, fetch: Fetch) -> None:
    full = fleet.machine("full", extra={"queue": 7.5})
    fleet.series_of(full, [{"disk_used_percent": {"/": 40.0, "=cmd": 95.5}}])
    fleet.machine("bare")
    query = "readings=series-disk_used_percent,extra-queue&sort=series-disk_used_percent&dir=desc"
    first, second = table(fetch(f"/export/fleet.csv?{query}"))
    added = ["series-disk_used_percent", "series-disk_used_percent-device", "extra-queue"]
    assert list(first) == [*fleet_export.COLUMNS, *added]
    assert [first[name] for name in ("machine", *added)] == ["full", "95.5", "'=cmd", "7.5"]
    assert [second[name] for name in ("machine", *added)] == ["bare", "", "", ""]
    said = json.loads(fetch(f"/export/fleet.jsonl?{query}").splitlines()[0])
    assert [said[name] for name in added] == [95.5, "=cmd", 7.5]


def test_a_large_fleet_comes_whole_and_in_parts(fleet: Fleet, fetch: Fetch, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fleet_export, "BATCH_SIZE", 7)
    fleet.crowd(30)
    names = [row["machine"] for row in table(fetch("/export/fleet.csv?sort=machine"))]
    assert names == [f"web-{i:03}" for i in range(30)]


def test_history_is_as_fine_as_it_is_kept_for_so_long(fleet: Fleet, fetch: Fetch) -> None:
    key = fleet.machine("a")
    fleet.samples(
        key, [NOW - 10_000 * i for i in range(200, 0, -1)], cpu_percent=lambda i: float(i % 100), extra={"=f": 1}
    )
    fleet.hours(key, 3)
    rows = table(fetch("/export/machine.csv?id=a&range=1h"))
    assert len(rows) == 200
    assert [row["time"] for row in rows] == sorted(row["time"] for row in rows)
    assert rows[1]["cpu_percent"] == "1.0"
    assert rows[1]["extra"] == '{"=f":1}'
    hours = [json.loads(line) for line in fetch("/export/machine.jsonl?id=a&range=1y").splitlines()]
    assert len(hours) == 3
    assert hours[0]["cpu_percent_max"] > hours[0]["cpu_percent_avg"]


def test_history_with_many_samples_in_a_second_comes_whole_and_in_order(
    fleet: Fleet, fetch: Fetch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dashboard.export.downloads._ROWS_MAX", 10)
    monkeypatch.setattr("dashboard.export.history.BATCH_SIZE", 4)
    times = [*range(NOW - 5_000, NOW - 4_900), *(NOW - 3_000 for _ in range(30)), *range(NOW - 2_000, NOW, 100)]
    fleet.samples(fleet.machine("a"), times, cpu_percent=lambda i: float(i % 100))
    rows = table(fetch("/export/machine.csv?id=a&range=1h"))
    assert len(rows) == len(times)
    assert [row["time"] for row in rows] == sorted(row["time"] for row in rows)


def test_the_history_of_a_free_range_is_that_of_the_charts(fleet: Fleet, fetch: Fetch) -> None:
    fleet.samples(fleet.machine("a"), [NOW - 10_000 * i for i in range(200, 0, -1)], cpu_percent=1.0)
    rows = table(fetch(f"/export/machine.csv?id=a&from={NOW - 600_000}&to={NOW - 300_000}"))
    assert len(rows) == 30


@pytest.mark.parametrize(
    "path",
    [
        "/export/fleet.exe",
        "/export/machine.csv?id=a&range=2h",
        "/export/machine.csv?id=a",
        "/export/machine.csv?id=a&from=2&to=1",
        "/export/machine.csv?id=a&range=1h&from=1&to=999999999999",
        "/export/machine.csv?id=gone&range=1h",
        "/export/machine.csv?id=theirs&range=1h",
        "/export/machine.csv?id=..%2F%22%0a&range=1h",
    ],
)
def test_what_is_not_there_or_not_ours_is_not_found(fleet: Fleet, client: TestClient, path: str) -> None:
    fleet.machine("a")
    fleet.machine("theirs", org="other")
    assert client.get(path, headers={"x-df-org": "home"}).status_code == 404


def test_a_file_has_a_name_of_its_own_and_is_kept_not_shown(fleet: Fleet, client: TestClient) -> None:
    fleet.machine("web-1")
    answer = client.get("/export/machine.csv?id=web-1&range=1h", headers={"x-df-org": "home"})
    assert answer.headers["content-disposition"] == 'attachment; filename="web-1-20231114T221320Z.csv"'
    assert answer.headers["content-type"].startswith("text/csv")


def test_a_database_that_is_away_is_said(tmp_path: Path) -> None:
    engine = open_engine(sqlite_url(tmp_path / "none.db"), read_only=True)
    client = TestClient(Starlette(routes=Downloads(engine, Clock()).routes()))
    answer = client.get("/export/fleet.csv", headers={"x-df-org": "home"})
    assert (answer.status_code, answer.text) == (503, "the database cannot be read now: try again later\n")
