"""Alerts and incidents in one list, on both databases."""

import pytest
from seeding import NOW, Fleet
from sqlalchemy import Engine, update

from schemas.database.queries import problems
from schemas.database.queries.problems import ProblemFilter
from schemas.database.tables import alert


@pytest.fixture
def database_url(each_database_url: str) -> str:
    return each_database_url


@pytest.fixture
def mixed(fleet: Fleet) -> Fleet:
    """Active and resolved problems of two organisations and of the system."""
    web, nas = fleet.machine("web", hostname="web.example.org"), fleet.machine("nas")
    fleet.alert(web, "cpu", NOW - 9000, title="High CPU usage", detail="97 %")
    fleet.alert(nas, "disk", NOW - 10_000, title="Disk nearly full", severity="critical")
    fleet.alert(web, "memory", NOW - 60_000, title="Memory nearly full", ended_at=NOW - 10_000)
    fleet.incident("mass-silence", org="home", machines=12, of=60, names=["nas", "till-7"])
    fleet.incident("cloned-identity", org="home", machine="web", ended_at=NOW - 20_000)
    fleet.incident("blind")
    fleet.alert(fleet.machine("web", org="other"), "disk", NOW, title="Theirs")
    fleet.incident("noisy", org="other", machine="web", dropped=3)
    return fleet


def found(engine: Engine, wanted: ProblemFilter | None = None, *, offset: int = 0, limit: int = 20) -> list[str]:
    listed = problems.list_problems(engine, "home", wanted or ProblemFilter(), offset=offset, limit=limit)
    return [problem.rule for problem in listed]


def test_active_ones_are_critical_first_then_the_newest(mixed: Fleet, reader: Engine) -> None:
    assert mixed
    assert found(reader)[0] == "disk"
    assert set(found(reader)[1:3]) == {"mass-silence", "blind"}
    assert found(reader)[3:] == ["cpu"]
    assert problems.count_unattended_problems(reader, "home") == 4


def test_problems_that_somebody_attends_to_are_listed_but_not_counted(mixed: Fleet, reader: Engine) -> None:
    for rule, values in (
        ("disk", {"acknowledged_at": NOW, "acknowledged_by": "ada"}),
        ("cpu", {"silenced_until": NOW}),
    ):
        with mixed.engine.begin() as connection:
            connection.execute(update(alert).where(alert.c.rule == rule, alert.c.ended_at.is_(None)).values(values))
    assert problems.count_unattended_problems(reader, "home") == 2
    listed = {each.rule: each for each in problems.list_problems(reader, "home", ProblemFilter(), offset=0, limit=9)}
    assert (listed["disk"].acknowledged_by, listed["cpu"].silenced_until) == ("ada", NOW)


def test_resolved_ones_are_the_last_to_end_first(mixed: Fleet, reader: Engine) -> None:
    assert mixed
    assert found(reader, ProblemFilter(state="resolved")) == ["memory", "cloned-identity"]


def test_pages_follow_each_other_without_a_gap(mixed: Fleet, reader: Engine) -> None:
    assert mixed
    whole = found(reader)
    assert found(reader, limit=2) + found(reader, offset=2, limit=2) == whole
    assert found(reader, offset=4, limit=2) == []


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        (ProblemFilter(search="DISK"), ["disk"]),
        (ProblemFilter(search="example 97"), ["cpu"]),
        (ProblemFilter(search="till-7"), ["mass-silence"]),
        (ProblemFilter(search="%"), ["cpu"]),
        (ProblemFilter(search="Theirs"), []),
        (ProblemFilter(machine="nas"), ["disk", "mass-silence"]),
        (ProblemFilter(machine="na"), []),
        (ProblemFilter(rule="blind"), ["blind"]),
        (ProblemFilter(rule="cpu", severity="critical"), []),
        (ProblemFilter(severity="warning"), ["cpu"]),
        (ProblemFilter(state="resolved", severity="warning", machine="web"), ["memory", "cloned-identity"]),
    ],
)
def test_each_filter_narrows(mixed: Fleet, reader: Engine, wanted: ProblemFilter, expected: list[str]) -> None:
    assert mixed
    assert found(reader, wanted) == expected


def test_rules_and_machines_to_choose_from_are_those_that_occur(mixed: Fleet, reader: Engine) -> None:
    assert mixed
    choices = problems.list_problem_choices(reader, "home")
    assert choices.machines == ("nas", "web")
    assert choices.rules == {
        "cpu": "High CPU usage",
        "disk": "Disk nearly full",
        "memory": "Memory nearly full",
        "mass-silence": "",
        "cloned-identity": "",
        "blind": "",
    }


def test_a_problem_is_found_by_its_id_and_names_its_machines(mixed: Fleet, reader: Engine) -> None:
    assert mixed
    for problem in problems.list_problems(reader, "home", ProblemFilter(), offset=0, limit=9):
        assert problems.find_problem(reader, "home", problem.id) == problem
    (silence,) = problems.list_problems(reader, "home", ProblemFilter(rule="mass-silence"), offset=0, limit=9)
    assert (silence.is_incident, silence.names) == (True, ("nas", "till-7"))


def test_an_organisation_sees_no_incident_of_the_system_that_ended_before_it_existed(
    fleet: Fleet, reader: Engine
) -> None:
    fleet.org("fresh")
    fleet.incident("blind", ended_at=NOW - 1)
    fleet.incident("blind", ended_at=NOW)
    fleet.incident("blind")
    for state, number in (("resolved", 1), ("active", 1)):
        listed = problems.list_problems(reader, "fresh", ProblemFilter(state=state), offset=0, limit=9)
        assert len(listed) == number
