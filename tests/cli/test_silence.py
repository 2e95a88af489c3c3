"""`dashfleet silence` and `dashfleet alerts acknowledge` on a fleet with alerts."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import Engine, select
from typer.testing import CliRunner, Result

import dashfleet
from cli.output import utc
from runtime.errors import UserError
from schemas.database import tables

RUNNER = CliRunner()


def run(fleet: Engine, *arguments: str) -> Result:
    return RUNNER.invoke(
        dashfleet.application(), [*arguments, "--database", fleet.url.render_as_string(hide_password=False)]
    )


def listed(fleet: Engine, *arguments: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(run(fleet, *arguments, "--json").stdout)
    return found


def refusal(fleet: Engine, *arguments: str) -> str:
    """The sentence with which a command line is refused."""
    error = run(fleet, *arguments).exception
    assert isinstance(error, UserError)
    return str(error)


@pytest.fixture
def alert(fleet: Engine) -> int:
    """An open alert of the attic at home."""
    with fleet.begin() as connection:
        machine = connection.scalar(select(tables.machine.c.id).join(tables.org).where(tables.org.c.name == "home"))
        values = {"machine_id": machine, "rule": "disk", "title": "Disk", "severity": "critical", "started_at": 1000}
        return int(connection.execute(tables.alert.insert().values(values).returning(tables.alert.c.id)).scalar_one())


def test_a_silence_is_added_listed_and_ended(fleet: Engine) -> None:
    added = run(fleet, "silence", "add", "--label", "site=nantes", "--label", "env=prod", "--machine", "attic",
                "--rule", "disk", "--for", "2h", "--reason", "disk\x1b replacement")  # fmt: skip
    (silence,) = listed(fleet, "silence", "list")
    assert added.exit_code == 0, added.output
    assert added.stdout.startswith(f"Silence {silence['id']}: env=prod, site=nantes, attic, disk (disk")
    assert added.stdout.rstrip().endswith(f", {utc(silence['starts_at'])} to {utc(silence['ends_at'])}")
    assert "\x1b" not in added.stdout
    assert (silence["org"], silence["state"], silence["rule"]) == ("home", "active", "disk")
    assert silence["selector"]["labels"] == {"site": "nantes", "env": "prod"}
    assert silence["selector"]["machines"] == ["attic"]
    assert silence["ends_at"] - silence["starts_at"] == 7_200_000
    assert silence["created_by"]
    assert "\x1b" not in run(fleet, "silence", "list").stdout
    assert "office has no silence" in refusal(fleet, "silence", "end", str(silence["id"]), "--org", "office")
    assert run(fleet, "silence", "end", str(silence["id"])).exit_code == 0
    assert listed(fleet, "silence", "list") == []
    (past,) = listed(fleet, "silence", "list", "--past")
    assert (past["state"], past["ended_by"]) == ("past", past["created_by"])
    assert "over already" in refusal(fleet, "silence", "end", str(silence["id"]))


def test_a_silence_of_a_machine_that_does_not_exist_is_added_and_noted(fleet: Engine) -> None:
    arguments = ("--for", "2h", "--reason", "new switch")
    added = run(fleet, "silence", "add", "--machine", "attic", "--machine", "attik", *arguments)
    assert added.stdout.startswith("Silence 1: attic | attik, all rules")
    assert added.stderr == "home has no machine attik yet: dashfleet machines lists them\n"
    assert run(fleet, "silence", "add", "--machine", "attic", *arguments).stderr == ""


def test_a_silence_of_a_rule_that_does_not_exist_is_added_and_noted(fleet: Engine) -> None:
    arguments = ("--for", "2h", "--reason", "new disk")
    added = run(fleet, "silence", "add", "--rule", "dsk", *arguments)
    assert added.stdout.startswith("Silence 1: all machines, dsk")
    assert added.stderr.startswith("home has no rule dsk, unless it is one in Python: dashfleet rule list")
    assert run(fleet, "silence", "add", "--rule", "disk", *arguments).stderr == ""


def test_a_weekly_silence_has_days_times_and_a_zone(fleet: Engine) -> None:
    weekly = ("--weekly", "sat-mon,tue 22:00-02:00", "--zone", "Europe/Paris")
    assert run(fleet, "silence", "add", "--all", *weekly, "--reason", "backup", "--org", "office").exit_code == 0
    (silence,) = listed(fleet, "silence", "list", "--org", "office")
    assert silence["weekly"] == {
        "days": ["mon", "tue", "sat", "sun"], "start": "22:00", "end": "02:00", "zone": "Europe/Paris",
    }  # fmt: skip
    assert silence["ends_at"] is None
    assert len(silence["window"]) == 2
    assert "mon,tue,sat,sun 22:00-02:00 Europe/Paris" in run(fleet, "silence", "list").stdout
    assert listed(fleet, "silence", "list", "--org", "home") == []


def test_a_silence_is_planned_in_local_time(fleet: Engine) -> None:
    year = datetime.now(UTC).year + 1
    start = ("--start", f"{year}-01-01T01:00", "--zone", "Europe/Paris")
    added = run(fleet, "silence", "add", "--all", "--for", "1h", *start, "--reason", "New Year")
    assert added.exit_code == 0, added.output
    (silence,) = listed(fleet, "silence", "list")
    assert silence["state"] == "planned"
    assert datetime.fromtimestamp(silence["starts_at"] / 1000, UTC) == datetime(year, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--for", "2h"], "name what to silence"),
        (["--all"], "either --for or --weekly"),
        (["--all", "--for", "2h", "--weekly", "mon 22:00-23:00"], "either --for or --weekly"),
        (["--all", "--for", "soon"], "is not a duration"),
        (["--all", "--for", "31d"], "--for must be at most 30 d"),
        (["--label", "nantes", "--for", "1h"], "write KEY=VALUE"),
        (["--all", "--weekly", "monday 22:00-23:00"], "is not a schedule"),
        (["--all", "--weekly", "mon 22:00"], "is not a schedule"),
        (["--all", "--weekly", "mon 25:00-26:00"], "--weekly must be a time such as 22:00"),
        (["--all", "--weekly", "mon 22:00-23:00", "--zone", "Europe/Nowhere"], "--zone: there is no time zone"),
        (["--all", "--for", "1h", "--start", "tomorrow"], "--start 'tomorrow' is not a time: write 2026-12-01T22:00"),
        (["--all", "--for", "1h", "--start", "22:00"], "--start '22:00' is not a time: write 2026-12-01T22:00"),
        (["--all", "--for", "1h", "--start", "2026-12-01", "--zone", "Mars"], "there is no time zone"),
        (["--all", "--for", "1h", "--start", "2001-01-01"], "in the past"),
        (["--all", "--for", "1h", "--org", "nowhere"], "no organisation nowhere"),
        (["--rule", "Not A Rule", "--for", "1h"], "--rule must be lower-case letters"),
    ],
)
def test_a_silence_that_cannot_be_is_refused_with_a_sentence(
    fleet: Engine, arguments: list[str], sentence: str
) -> None:
    assert sentence in refusal(fleet, "silence", "add", "--reason", "test", *arguments)
    assert listed(fleet, "silence", "list", "--past") == []


def test_an_alert_is_acknowledged_by_its_id_or_its_machine_and_rule(fleet: Engine, alert: int) -> None:
    assert "no open alert of the rule cpu" in refusal(
        fleet, "alerts", "acknowledge", "--machine", "attic", "--rule", "cpu"
    )
    assert "by their ids" in refusal(fleet, "alerts", "acknowledge")
    assert "no such open alert" in refusal(fleet, "alerts", "acknowledge", str(alert), "--org", "office")
    done = run(fleet, "alerts", "acknowledge", str(alert), "--comment", "on my way")
    assert done.stdout == "Acknowledged attic: disk (on my way)\n"
    (found,) = listed(fleet, "alerts", "--org", "home")
    assert (found["id"], found["acknowledged_comment"]) == (alert, "on my way")
    assert found["acknowledged_at"]
    assert "acknowledged by" in run(fleet, "alerts").stdout
    assert listed(fleet, "alerts", "--unattended") == []
    again = refusal(fleet, "alerts", "acknowledge", "--machine", "attic", "--rule", "disk")
    assert "already acknowledged" in again
    withdrawn = run(fleet, "alerts", "acknowledge", "--withdraw", "--machine", "attic", "--rule", "disk")
    assert withdrawn.stdout == "No longer acknowledged: attic: disk\n"
    assert [row["id"] for row in listed(fleet, "alerts", "--unattended")] == [alert]
    assert "no such acknowledged alert" in refusal(fleet, "alerts", "acknowledge", "--withdraw", str(alert))


def test_alerts_are_filtered(fleet: Engine, alert: int) -> None:
    assert [row["id"] for row in listed(fleet, "alerts", "--rule", "disk", "--severity", "critical")] == [alert]
    assert listed(fleet, "alerts", "--rule", "cpu") == []
    assert listed(fleet, "alerts", "--severity", "warning") == []
    assert "no severity" in refusal(fleet, "alerts", "--severity", "urgent")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("alerts",), "No active alerts."),
        (("alerts", "--over"), "No alerts."),
        (("alerts", "--rule", "disk"), "No alert matches these options."),
        (("silence", "list"), "No active or planned silences."),
        (("silence", "list", "--past"), "No silences."),
    ],
)
def test_an_empty_list_is_a_sentence_and_empty_json(fleet: Engine, arguments: tuple[str, ...], said: str) -> None:
    shown = run(fleet, *arguments)
    assert (shown.stdout, shown.stderr.splitlines()[0]) == ("", said)
    assert listed(fleet, *arguments) == []
