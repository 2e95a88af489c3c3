"""Which machines come first, and that no reader takes an old reading for a current one; on both databases."""

from typing import Any

import pytest
from seeding import NOW, Fleet
from sqlalchemy import Engine

from schemas.database.queries import machines, report
from schemas.database.queries.machines import Filters


@pytest.fixture
def database_url(each_database_url: str) -> str:
    return each_database_url


def names(engine: Engine, filters: Filters) -> list[str]:
    return list(machines.find_page(engine, "home", filters, offset=0, limit=50)[0])


NOT_CURRENT: list[dict[str, Any]] = [
    {"presence": "offline"},
    {"presence": "stale"},
    {"presence": "expired"},
    {"presence": "unknown"},
    {"presence": "retired"},
    {"verified": False},
]


@pytest.mark.parametrize("given", NOT_CURRENT)
def test_a_machine_that_is_not_online_has_no_health_and_its_readings_are_of_their_time(
    fleet: Fleet, reader: Engine, given: dict[str, Any]
) -> None:
    """Every reader has its rows from these queries."""
    fleet.machine("m", cpu_percent=99.0, sampled_at=NOW - 50_000, clock_offset_milliseconds=-1000, **given)
    (row,) = machines.find_rows(reader, "home", ["m"])
    (plain,) = machines.list_machines(reader)
    for found in (row, machines.find_machine(reader, "home", "m")):
        assert found is not None
        assert (found.current, found.health_status, found.health_score) == (False, "unknown", None)
        assert (found.as_of, found.cpu_percent) == (NOW - 51_000, 99.0)
    assert (plain["current"], plain["health"]) == (False, {"score": None, "status": "unknown"})
    assert (plain["vitals"]["as_of"], plain["vitals"]["cpu_percent"]) == (NOW - 51_000, 99.0)
    assert [each.health_status for each in report.list_machine_states(reader, "home")] == ["unknown"]
    retired = Filters(presences=(row.presence,))
    assert names(reader, Filters(presences=(row.presence,), healths=("critical", "warn", "ok"))) == []
    assert names(reader, retired) == ["m"]


def test_a_machine_that_is_online_and_verified_is_current(fleet: Fleet, reader: Engine) -> None:
    fleet.machine("m", cpu_percent=99.0)
    (row,) = machines.find_rows(reader, "home", ["m"])
    assert (row.current, row.health_status, row.as_of) == (True, "critical", NOW - 2000)
    (plain,) = machines.list_machines(reader)
    assert (plain["current"], plain["health"]["status"], plain["as_of"]) == (True, "critical", NOW - 2000)


def test_while_no_ingestor_listens_nothing_is_current(fleet: Fleet, reader: Engine) -> None:
    fleet.machine("m")
    (row,) = machines.list_machines(reader, trouble="no ingestor has run yet")
    assert (row["verified"], row["current"], row["health"]) == (False, False, {"score": None, "status": "unknown"})


@pytest.mark.parametrize(
    ("sampled_at", "offset", "as_of"),
    [
        (2**63 - 1, 2**62, NOW - 2000),
        (0, -(2**62), NOW - 2000),
        (NOW, 0, NOW - 2000),
        (None, 0, None),
        (NOW - 9000, None, NOW - 9000),
    ],
)
def test_the_time_of_readings_is_never_after_the_machine_was_last_heard_whatever_its_clock_says(
    fleet: Fleet, reader: Engine, sampled_at: int | None, offset: int | None, as_of: int | None
) -> None:
    fleet.machine("m", sampled_at=sampled_at, clock_offset_milliseconds=offset)
    assert machines.find_rows(reader, "home", ["m"])[0].as_of == as_of


def test_the_most_severe_machine_comes_first_then_the_lowest_score(fleet: Fleet, reader: Engine) -> None:
    fleet.machine("ok-90", health_score=90)
    fleet.machine("ok-80", health_score=80)
    fleet.machine("warn", cpu_percent=88.0)
    fleet.machine("critical", cpu_percent=99.0)
    fleet.machine("unmeasured", cpu_percent=None)
    fleet.machine("unverified", verified=False)
    fleet.machine("never", stated=False)
    fleet.machine("gone", presence="expired")
    fleet.machine("stale", presence="stale")
    fleet.machine("off-long", presence="offline", since_at=NOW - 90_000)
    fleet.machine("off-just", presence="offline", since_at=NOW - 1000)
    expected = ["off-just", "off-long", "stale", "unverified", "never", "unmeasured", "gone"]
    expected += ["critical", "warn", "ok-80", "ok-90"]
    assert names(reader, Filters()) == expected
    assert [row["machine"] for row in machines.list_machines(reader)] == expected
    assert names(reader, Filters(descending=True))[-2:] == ["off-just", "off-long"]


def test_readings_that_are_not_current_are_sorted_as_if_they_were_not_measured(fleet: Fleet, reader: Engine) -> None:
    fleet.machine("off", presence="offline", cpu_percent=99.0)
    fleet.machine("low", cpu_percent=5.0)
    fleet.machine("high", cpu_percent=95.0)
    assert names(reader, Filters(order="cpu", descending=True)) == ["high", "low", "off"]


def test_who_needs_attention_is_offline_or_stale_not_well_or_alerted_and_is_counted_once(
    fleet: Fleet, reader: Engine
) -> None:
    fleet.machine("well")
    fleet.machine("never", stated=False)
    fleet.machine("unverified", verified=False)
    over = fleet.machine("over")
    fleet.alert(over, "clock", NOW - 9000, ended_at=NOW)
    retired = fleet.machine("retired", presence="retired", cpu_percent=99.0)
    fleet.alert(retired, "clock", NOW)
    fleet.alert(fleet.machine("theirs", org="other"), "clock", NOW)
    alerted = fleet.machine("alerted")
    offline = fleet.machine("offline", presence="offline", since_at=NOW - 77, cpu_percent=99.0)
    for key in (alerted, offline):
        fleet.alert(key, "clock", NOW)
        fleet.alert(key, "disk", NOW)
    fleet.machine("stale", presence="stale", since_at=NOW - 99)
    fleet.machine("gone", presence="expired", since_at=NOW)
    fleet.machine("warn", cpu_percent=88.0)
    expected = ["alerted", "gone", "offline", "stale", "warn"]
    assert sorted(names(reader, Filters(attention=True))) == expected
    counts = machines.count_by_status(reader, "home", Filters())
    assert counts.of(attention=True) == len(expected)
    assert counts.of() == 9
    assert counts.newest_change == NOW - 77


def test_the_disk_that_is_full_first_comes_first_and_none_without_a_forecast(fleet: Fleet, reader: Engine) -> None:
    for name, days in (("later", 90), ("soon", 3), ("never", None)):
        fleet.forecast(fleet.machine(name), None if days is None else NOW + days * 86_400_000)
    fleet.forecast(fleet.machine("off", presence="offline"), NOW)
    assert names(reader, Filters(order="full")) == ["soon", "later", "never", "off"]
