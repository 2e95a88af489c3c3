"""`dashfleet drill`: its list, its account, and whole drills, of which most run only with DASHFLEET_FAULTS=whole."""

import json
import os
from pathlib import Path

import pytest
from command_line import dashfleet, refusal
from faults.scale import IS_WHOLE

from agent.simulation.faults import Faults
from cli.drill import drills
from cli.drill.drill import all_drills
from cli.drill.run import DrillReport
from cli.drill.site import DrillSite

KEPT = DrillReport(
    drill="x",
    title="x",
    machines=3,
    taken=10,
    stored=10,
    late=4,
    duplicates=1,
    dropped=0,
    rejected=0,
    lost=0,
    back_seconds=1.0,
)


def test_the_list_names_every_drill_with_a_sentence() -> None:
    listed = json.loads(dashfleet("drill", "list", "--json").stdout)
    assert [each["name"] for each in listed] == sorted(all_drills())
    assert {"broker-killed", "ingestor-killed", "agent-killed", "disk-full", "link-cut"} <= all_drills().keys()
    assert all(each["title"].endswith(".") for each in listed)
    files = {path.stem.replace("_", "-") for path in Path(*drills.__path__).glob("*.py")} - {"--init--"}
    assert files == all_drills().keys()


def test_the_faults_of_simulated_machines_are_those_of_simulate() -> None:
    for drill in all_drills().values():
        assert (Faults.parse(drill.faults) == Faults()) == (not drill.faults)


def test_an_unknown_drill_is_refused_before_anything_starts() -> None:
    assert "there is no drill broker-klled: dashfleet drill list shows them" in refusal("drill", "run", "broker-klled")


def changed(**fields: float | None) -> DrillReport:
    return DrillReport(**{name: getattr(KEPT, name) for name in DrillReport.__slots__} | fields)


def test_late_and_repeated_samples_are_kept_and_any_that_is_not_stored_fails_the_drill() -> None:
    assert KEPT.passed
    for field in ("lost", "dropped", "rejected"):
        assert not changed(**{field: 1}).passed
    assert not changed(back_seconds=None).passed


def test_a_part_is_killed_and_started_again_and_no_setting_of_the_environment_reaches_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in os.environ if name.startswith("DASHFLEET_")]:
        monkeypatch.setenv(name, os.environ[name])  # to be restored
    monkeypatch.setenv("DASHFLEET_BROKER_DATABASE", "postgresql+psycopg://production.invalid/fleet")
    monkeypatch.setenv("DASHFLEET_BROKER_PORT", "1")
    site = DrillSite(tmp_path, interval_seconds=1.0, seconds=1.0)
    assert not [name for name in os.environ if name.startswith("DASHFLEET_")]
    from cli.up.creation import create_missing

    create_missing(site.state, site.state.database_url, machine="real")
    site.start("broker")
    first = site.pid("broker")
    site.kill("broker")
    site.start("broker")
    second = site.pid("broker")
    site.stop("broker")
    assert first != second
    for pid in (first, second):
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


@pytest.mark.skipif(not IS_WHOLE, reason="takes half a minute each; DASHFLEET_FAULTS=whole runs them")
@pytest.mark.parametrize("name", sorted(all_drills()))
def test_nothing_is_lost_in_any_drill(name: str) -> None:
    done = dashfleet("drill", "run", name, "--machines", "4", "--seconds", "3", "--json")
    (report,) = json.loads(done.stdout)
    assert (done.returncode, report["passed"], report["lost"]) == (0, True, 0), done.stdout + done.stderr
    assert report["taken"] == report["stored"] > 0
