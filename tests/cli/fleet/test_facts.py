"""`dashfleet facts` on a fleet with lists."""

import json

from facts import DOWN, UP, state
from ingestion import Bench, Speaker
from sqlalchemy import Engine
from typer.testing import CliRunner

import dashfleet

RUNNER = CliRunner()


def url(fleet: Engine) -> list[str]:
    return ["--database", fleet.url.render_as_string(hide_password=False)]


def test_the_lists_of_a_machine_are_shown_worst_first_as_a_table_and_as_json(
    bench: Bench, speaker: Speaker, fleet: Engine
) -> None:
    listed = {"web": UP, "db": DOWN, "\x1b[31mevil": {"health": None, "fields": {"state": "x\x1b", "ready": True}}}
    state(bench, speaker.facts("containers", listed, truncated=3), speaker.facts("services", nginx=UP))
    (found,) = json.loads(
        RUNNER.invoke(dashfleet.application(), ["facts", "attic", "containers", "--json", *url(fleet)]).stdout
    )
    assert (found["org"], found["machine"], found["kind"], found["truncated"]) == ("home", "attic", "containers", 3)
    assert [(key, item["health"]) for key, item in found["items"].items()][:2] == [("db", "critical"), ("web", "good")]
    assert found["items"]["db"]["fields"] == {"state": "exited", "cpu_percent": 0.0}
    every = json.loads(RUNNER.invoke(dashfleet.application(), ["facts", "attic", "--json", *url(fleet)]).stdout)
    assert [each["kind"] for each in every] == ["containers", "services"]
    table = RUNNER.invoke(dashfleet.application(), ["facts", "attic", *url(fleet)])
    assert table.exit_code == 0
    assert "state exited" in table.stdout
    assert table.stdout.index("exited") < table.stdout.index("running")
    assert "\x1b" not in table.stdout
    assert "3 more containers were left out" in table.stderr


def test_a_large_number_has_all_its_digits_and_a_fraction_few(bench: Bench, speaker: Speaker, fleet: Engine) -> None:
    disk = {"health": None, "fields": {"size_bytes": 274_878_000_000, "used_percent": 12.345678}}
    state(bench, speaker.facts("disks", sda=disk))
    table = RUNNER.invoke(dashfleet.application(), ["facts", "attic", *url(fleet)], env={"COLUMNS": "200"})
    assert "size_bytes 274878000000, used_percent 12.35" in table.stdout


def test_an_unknown_machine_and_an_unknown_kind_are_errors_of_the_user(
    bench: Bench, speaker: Speaker, fleet: Engine
) -> None:
    state(bench, speaker.facts("containers", web=UP))
    for words, said in (
        (["nobody"], "no machine nobody"),
        (["attic", "--org", "nowhere"], "no machine attic"),
        (["attic", "checks"], "it states containers"),
        (["attic", "containers", "--org", "office"], "it states nothing"),
    ):
        result = RUNNER.invoke(dashfleet.application(), ["facts", *words, *url(fleet)])
        assert said in str(result.exception)
