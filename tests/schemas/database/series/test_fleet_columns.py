"""Chosen columns of the fleet on both databases: numbers, order, and what can be chosen."""

from collections.abc import Sequence

import pytest
from seeding import Fleet
from sqlalchemy import Engine, event

from schemas.database.chosen_columns import is_chosen_column
from schemas.database.queries.fleet_order import is_sort_order
from schemas.database.queries.machines import Filters, find_page, matching_names
from schemas.database.series.fleet_columns import ChosenNumber, list_column_choices, read_numbers

DISK, BATTERY, QUEUE = "series-disk_used_percent", "series-battery_percent", "extra-queue"
CONTAINERS, SERVICES, UPDATES, CHECKS = "facts-containers", "facts-services", "facts-updates", "facts-checks"
CODES = (DISK, BATTERY, QUEUE, CONTAINERS, SERVICES, UPDATES, CHECKS)


@pytest.fixture
def database_url(each_database_url: str) -> str:
    return each_database_url


@pytest.fixture(autouse=True)
def reporting(fleet: Fleet) -> None:
    metrics = [
        {"name": "queue", "unit": "jobs", "title": "Queue"},
        {"name": "disk_used_percent", "unit": "percent", "title": "Used", "location": "series", "device": "mount"},
        {
            "name": "net",
            "unit": "bytes",
            "title": "Net",
            "location": "series",
            "device": "interface",
            "kind": "counter",
        },
        {"name": "cpu_percent", "unit": "percent", "title": "CPU"},
    ]
    web = fleet.machine("web", extra={"queue": 7.5}, info={"metrics": metrics})
    fleet.series_of(web, [{"disk_used_percent": {"/": 40, "/data": 95.5}, "battery_percent": {"a": 80, "b": 7}}])
    stopped, paused = ("fair", {"state": "exited"}), ("fair", {"state": "paused"})
    fleet.facts(web, "containers", {"a": stopped, "b": ("good", {"state": "running"}), "c": paused})
    fleet.facts(web, "services", {"nginx": ("critical", {}), "cron": ("fair", {}), "ssh": ("good", {})})
    fleet.facts(web, "updates", {"apt": ("fair", {"pending_count": 12.0}), "pip": (None, {"pending_count": "12 x"})})
    fleet.facts(web, "checks", {"a": ("critical", {}), "b": ("fair", {}), "c": ("unknown", {})})
    calm = fleet.machine("calm", info=None)
    fleet.series_of(calm, [{"disk_used_percent": {"/": 50.0}}, {"disk_used_percent": {"/": 60.0, "/gone": None}}])
    fleet.facts(calm, "services", {})
    away = fleet.machine("away", presence="offline", info=None)
    fleet.series_of(away, [{"disk_used_percent": {"/": 99.0}}])
    fleet.machine("bare", info=None)
    theirs = fleet.machine("theirs", org="other", info=None)
    fleet.series_of(theirs, [{"disk_used_percent": {"/": 100.0}}])


def test_a_column_has_the_worst_device_or_the_number_of_items_and_nothing_where_none_is_reported(
    reader: Engine,
) -> None:
    found = read_numbers(reader, "home", ["web", "calm", "bare", "theirs"], CODES)
    assert found["web"] == {
        DISK: ChosenNumber(95.5, "/data"),
        BATTERY: ChosenNumber(7, "b"),
        QUEUE: ChosenNumber(7.5),
        CONTAINERS: ChosenNumber(2),
        SERVICES: ChosenNumber(1),
        UPDATES: ChosenNumber(12),
        CHECKS: ChosenNumber(2),
    }
    assert found["calm"] == {DISK: ChosenNumber(60.0, "/"), SERVICES: ChosenNumber(0)}
    assert found["bare"] == {}
    assert "theirs" not in found


@pytest.mark.parametrize(
    ("code", "rising"),
    [
        (DISK, ["calm", "web"]),
        (BATTERY, ["web"]),
        (QUEUE, ["web"]),
        (CONTAINERS, ["web"]),
        (SERVICES, ["calm", "web"]),
        (UPDATES, ["web"]),
        (CHECKS, ["web"]),
    ],
)
def test_the_fleet_is_sorted_by_a_column_and_what_is_not_current_or_not_reported_is_last(
    reader: Engine, code: str, rising: Sequence[str]
) -> None:
    assert is_sort_order(code)
    names = list(matching_names(reader, "home", Filters(order=code)))
    assert names[: len(rising)] == rising
    assert sorted(names) == ["away", "bare", "calm", "web"]
    falling = list(matching_names(reader, "home", Filters(order=code, descending=True)))
    assert falling[: len(rising)] == rising[::-1]


def test_only_names_of_the_contract_are_columns() -> None:
    for code in ("series-", "series-a'b", "series-$", "vitals-cpu", "facts-a b", "extra-é", "series-a\n"):
        assert not is_chosen_column(code)
        assert not is_sort_order(code)


def test_what_machines_report_can_be_chosen_but_neither_vitals_nor_counters(reader: Engine) -> None:
    found = list_column_choices(reader, "home")
    assert [choice.code for choice in found] == [CONTAINERS, SERVICES, UPDATES, CHECKS, QUEUE, DISK]
    assert [(choice.title, choice.unit) for choice in found[-2:]] == [("Queue", "jobs"), ("Used", "percent")]
    assert list_column_choices(reader, "other") == []


def test_a_page_of_the_fleet_without_such_a_column_reads_neither_series_nor_facts(reader: Engine) -> None:
    statements: list[str] = []
    event.listen(reader, "before_cursor_execute", lambda *given: statements.append(given[2]))
    names, _total = find_page(reader, "home", Filters(), offset=0, limit=50)
    assert read_numbers(reader, "home", names, ()) == {}
    assert statements
    assert not [each for each in statements if "series" in each or "fact" in each]
