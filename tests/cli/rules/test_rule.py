"""`dashfleet rule`: rules are added, listed, changed, tested and removed."""

import json
from typing import Any

import pytest
from seeding import NOW, Fleet
from sqlalchemy import Engine
from typer.testing import CliRunner, Result

import dashfleet
from runtime.errors import UserError

RUNNER = CliRunner()
ADD = ("rule", "add", "hot", "--metric", "cpu_percent", "--above", "90", "--for", "5m", "--severity", "warning")


def run(fleet: Engine, *arguments: str) -> Result:
    return RUNNER.invoke(
        dashfleet.application(), [*arguments, "--database", fleet.url.render_as_string(hide_password=False)]
    )


def rules(fleet: Engine, *arguments: str) -> dict[str, dict[str, Any]]:
    result = run(fleet, "rule", "list", "--json", *arguments)
    return {rule["name"]: rule for rule in json.loads(result.stdout) if rule["org"] == "home"}


def refusal(fleet: Engine, *arguments: str) -> str:
    """The sentence with which a command line is refused."""
    error = run(fleet, *arguments).exception
    assert isinstance(error, UserError), error
    return str(error)


def test_a_rule_is_added_listed_changed_and_removed(fleet: Engine) -> None:
    assert set(rules(fleet)) == {"away", "clock", "cpu", "disk", "memory", "unmeasured"}
    assert run(fleet, *ADD, "--label", "site=nantes").exit_code == 0
    found = rules(fleet)["hot"]
    assert (found["kind"], found["metric"], found["threshold"], found["for_seconds"]) == (
        "above",
        "cpu_percent",
        90,
        300,
    )
    assert (found["title"], found["severity"], found["enabled"]) == ("Hot", "warning", True)
    assert found["selector"]["labels"] == {"site": "nantes"}
    assert (found["condition"], found["machines"], found["active"]) == ("cpu_percent at least 90", "site=nantes", 0)
    assert "hot" in run(fleet, "rule", "list").stdout
    run(fleet, "rule", "edit", "hot", "--above", "95", "--clear-at", "85", "--all-machines")
    run(fleet, "rule", "disable", "hot")
    found = rules(fleet)["hot"]
    assert (found["threshold"], found["clear_threshold"], found["for_seconds"], found["enabled"]) == (
        95,
        85,
        300,
        False,
    )
    assert found["selector"]["labels"] == {}
    run(fleet, "rule", "enable", "hot")
    shown = json.loads(run(fleet, "rule", "show", "hot", "--json").stdout)
    assert (shown["name"], shown["enabled"]) == ("hot", True)
    assert "cpu_percent at least 95, for 5 min, clear at 85" in run(fleet, "rule", "show", "hot").stdout
    assert run(fleet, "rule", "remove", "hot").stdout == "Removed hot.\n"
    assert "hot" not in rules(fleet)


@pytest.mark.parametrize(
    ("arguments", "fields"),
    [
        (("--metric", "fan_rpm", "--below", "300"), {"kind": "below", "metric": "fan_rpm", "threshold": 300}),
        (("--metric", "network_sent_bytes", "--above", "1e6", "--rate"), {"kind": "rate-above", "threshold": 1e6}),
        (("--kind", "no-data", "--metric", "fan_rpm"), {"kind": "no-data", "threshold": None}),
        (("--kind", "changed", "--metric", "boot", "--clear-for", "1h"), {"kind": "changed", "clear_seconds": 3600}),
        (("--kind", "disk-full", "--threshold", "7"), {"kind": "disk-full", "threshold": 7}),
        (("--kind", "clock", "--threshold", "30"), {"kind": "clock", "threshold": 30}),
        (("--kind", "rejected", "--threshold", "5"), {"kind": "rejected", "threshold": 5}),
        (("--kind", "above", "--metric", "disk_percent"), {"kind": "above", "threshold": None}),
        (("--kind", "away", "--machine", "attic"), {"kind": "away"}),
        (
            ("--metric", "disk_used_percent", "--device", "/data*", "--above", "90"),
            {"kind": "above", "device": "/data*", "condition": "disk_used_percent of /data* at least 90"},
        ),
    ],
)
def test_every_kind_can_be_added(fleet: Engine, arguments: tuple[str, ...], fields: dict[str, Any]) -> None:
    result = run(fleet, "rule", "add", "one", *arguments)
    assert result.exit_code == 0, result.exception
    assert fields.items() <= rules(fleet)["one"].items()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("rule", "add", "x"), "name the condition with --above, --below or --kind"),
        (("rule", "add", "x", "--above", "1"), "a rule of kind above needs a metric, such as --metric cpu_percent"),
        (("rule", "add", "x", "--above", "1", "--below", "2"), "name one of --above, --below and --kind"),
        (("rule", "add", "X", "--kind", "away"), "the name must be lower-case letters, digits and inner hyphens"),
        (
            ("rule", "add", "x", "--above", "1", "--metric", "CPU"),
            "--metric must be lower-case letters, digits and under",
        ),
        (("rule", "add", "x", "--kind", "late"), "--kind must be one of above, below, "),
        (("rule", "add", "x", "--kind", "away", "--for", "soon"), "'soon' is no"),
        (("rule", "add", "x", "--kind", "away", "--label", "site"), "'site' is not a label"),
        (("rule", "add", "cpu", "--kind", "away"), "home has a rule cpu already"),
        (("rule", "add", "x", "--kind", "away", "--org", "nowhere"), "there is no organisation nowhere"),
        (("rule", "show", "x"), "home has no rule x"),
        (("rule", "remove", "x"), "home has no rule x: dashfleet rule list shows them"),
        (("rule", "remove", "x", "--org", "nowhere"), "there is no organisation nowhere"),
    ],
)
def test_a_wrong_rule_is_refused_with_a_sentence(fleet: Engine, arguments: tuple[str, ...], said: str) -> None:
    assert refusal(fleet, *arguments).startswith(said.partition("'soon'")[0])


def test_a_rule_is_tested_against_the_present_and_the_past(
    fleet: Engine, database: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    seeded = Fleet(database)
    busy = seeded.machine("busy", cpu_percent=97.0)
    seeded.minutes(busy, [10.0] * 10 + [99.0] * 10 + [10.0] * 10)
    monkeypatch.setattr("cli.rules.rule.CLOCK", type("Fixed", (), {"now": lambda _: NOW})())
    found = json.loads(run(fleet, "rule", "test", "cpu", "--json").stdout)
    assert found["now"] == [{"machine": "busy", "value": "97 %"}]
    assert [(alert["machine"], alert["until"] - alert["since"]) for alert in found["alerts"]] == [("busy", 600_000)]
    assert "1 fulfil the condition now" in run(fleet, "rule", "test", "cpu").stdout
    assert "does not contain the signal" in run(fleet, "rule", "test", "clock").stdout


def test_a_metric_that_no_machine_reports_is_accepted_and_noted(fleet: Engine, database: Engine) -> None:
    Fleet(database).machine("fan", extra={"fan_rpm": 900.0})
    added = run(fleet, "rule", "add", "x", "--metric", "cpu_percnt", "--above", "1")
    assert added.stdout.startswith("x: ")
    assert added.stderr.startswith("No machine reports cpu_percnt. The metrics of home are: cpu_percent, ")
    assert added.stderr.endswith(", fan_rpm.\n")
    for metric in ("cpu_percent", "fan_rpm"):
        assert run(fleet, "rule", "edit", "x", "--metric", metric).stderr == ""
    assert run(fleet, "rule", "add", "y", "--kind", "changed", "--metric", "boot").stderr == ""


def test_a_metric_with_and_without_devices_is_listed_once(fleet: Engine, database: Engine) -> None:
    seeded = Fleet(database)
    seeded.series_of(seeded.machine("disks"), [{"disk_used_bytes": {"/": 1.0}}])
    note = run(fleet, "rule", "add", "x", "--metric", "cpu_percnt", "--above", "1").stderr
    assert note.count("disk_used_bytes") == 1


def test_a_machine_that_does_not_exist_is_accepted_and_noted(fleet: Engine, database: Engine) -> None:
    Fleet(database).machine("fan")
    condition = ("--metric", "cpu_percent", "--above", "1")
    added = run(fleet, "rule", "add", "x", *condition, "--machine", "fan", "--machine", "fam")
    assert added.exit_code == 0
    assert added.stderr == "home has no machine fam yet: dashfleet machines lists them\n"
    assert run(fleet, "rule", "edit", "x", "--machine", "fan").stderr == ""


def test_one_machine_is_in_the_singular(fleet: Engine, database: Engine) -> None:
    Fleet(database).machine("busy", cpu_percent=97.0)
    run(fleet, "rule", "edit", "cpu", "--machine", "busy")
    assert run(fleet, "rule", "test", "cpu").stdout.startswith("Selects 1 machine; ")


def test_a_rule_is_run_over_the_stored_samples_of_a_period(fleet: Engine, database: Engine) -> None:
    seeded = Fleet(database, now=NOW)
    times = [NOW - 3_600_000 + 10_000 * number for number in range(300)]
    seeded.samples(seeded.machine("busy"), times, cpu_percent=lambda i: 99.0 if 100 <= i < 200 else 10.0)
    period = ("--from", "2023-11-14T21:13:20", "--to", "2023-11-14T22:13:20")
    (found,) = json.loads(run(fleet, "rule", "test", "cpu", *period, "--json").stdout)
    assert found == {"machine": "busy", "since": times[100], "until": times[200], "detail": "99 %"}
    assert run(fleet, "rule", "test", "cpu", *period).stdout.startswith(
        "Alerts from 2023-11-14 21:13:20Z to 2023-11-14 22:13:20Z: 1."
    )
    assert "--from must be before --to" in refusal(fleet, "rule", "test", "cpu", *period[:2], "--to", "2023-11-01")
    assert "--to needs --from" in refusal(fleet, "rule", "test", "cpu", *period[2:])
    assert "no sample decides the rule away" in refusal(fleet, "rule", "test", "away", *period)


def test_durations_can_be_taken_away_again(fleet: Engine) -> None:
    run(fleet, *ADD)
    assert run(fleet, "rule", "edit", "hot", "--for", "0", "--clear-for", "0s").exit_code == 0
    assert (rules(fleet)["hot"]["for_seconds"], rules(fleet)["hot"]["clear_seconds"]) == (0, 0)


def test_a_rule_that_becomes_one_of_another_kind_keeps_nothing_that_this_kind_has_not(fleet: Engine) -> None:
    run(fleet, *ADD, "--clear-at", "80")
    for kind, more in (
        ("disk-full", ("--threshold", "7")),
        ("away", ()),
        ("no-data", ()),
        ("rejected", ("--threshold", "3")),
    ):
        assert run(fleet, "rule", "edit", "hot", "--kind", kind, *more).exit_code == 0, kind
        rule = rules(fleet)["hot"]
        assert (rule["kind"], rule["metric"], rule["clear_threshold"]) == (kind, "", None)
        assert rule["for_seconds"] == 300
