import json
import time
from pathlib import Path

import pytest
from command_line import dashfleet
from ingestion import Bench, Speaker
from rich.console import Console
from seeding import NOW, Fleet
from sqlalchemy import Engine

from broker.client.transport import Message
from cli.machines import ledger_table, machine_table
from runtime.state_directory import StateDirectory
from schemas.database import tables
from schemas.database.engine import open_engine
from schemas.database.queries.dead_letters import INCOMPATIBLE_SECONDS, find_incompatible, find_org_incompatible
from schemas.database.queries.machines import list_machines


def test_a_machine_that_was_never_heard_is_listed_as_unknown(fleet: Engine) -> None:
    row = next(row for row in list_machines(fleet) if row["org"] == "home")
    assert (row["org"], row["machine"], row["presence"], row["last_seen"]) == ("home", "attic", "unknown", None)
    assert row["health"] == {"score": None, "status": "unknown"}
    assert row["ledger"]["expected"] == 0
    assert set(row["vitals"]) >= {"cpu_percent", "memory_percent", "disk_percent", "uptime_seconds"}


def test_the_table_names_every_machine_and_fits_a_terminal(bench: Bench, speaker: Speaker, fleet: Engine) -> None:
    bench.publish(speaker.status(), speaker.telemetry(1))
    bench.step()
    console = Console(width=100, no_color=True, record=True)
    with console.capture() as captured:
        console.print(machine_table(list_machines(fleet), now=bench.clock.now() / 1000 + 5))
    lines = captured.get().splitlines()
    heads = ["Machine", "Status", "Since", "Why", "Health", "CPU", "Memory", "Disk", "Up", "Last", "seen"]
    assert lines[0].split() == heads
    assert lines[1].split()[:2] == ["office/attic", "unknown"]
    assert lines[2].split()[:2] == ["home/attic", "online"]
    assert lines[2].split()[3:7] == ["connected", "ok", "100", "10.0"]
    assert lines[2].rstrip().endswith("5 s")


def test_an_agent_of_another_version_of_the_contract_is_named_until_one_of_its_samples_is_stored(
    bench: Bench, speaker: Speaker, fleet: Engine
) -> None:
    bench.publish(speaker.status(), speaker.telemetry(1))
    bench.step()
    other = speaker.telemetry(2)
    bench.clock.advance(10)
    bench.publish(Message(other.topic, other.payload.replace(b'"v":1', b'"v":2')))
    bench.step()
    found = find_incompatible(fleet, now=bench.clock.now())
    assert found == {
        ("home", "attic"): "this server reads version 1 of the contract, not version 2: update the older of the two"
    }
    assert find_org_incompatible(fleet, "office", "attic", bench.clock.now()) == ""
    row = next(row for row in list_machines(fleet) if row["org"] == "home")
    console = Console(width=120, no_color=True)
    with console.capture() as captured:
        console.print(machine_table([{**row, "incompatible": found["home", "attic"]}], now=bench.clock.now() / 1000))
    assert "incompatible agent" in captured.get()
    later = bench.clock.now() + round(INCOMPATIBLE_SECONDS * 1000)
    assert find_incompatible(fleet, now=later) == {}

    bench.clock.advance(10)
    bench.publish(speaker.telemetry(3))
    bench.step()
    assert find_incompatible(fleet, now=bench.clock.now()) == {}


def test_no_figure_of_a_machine_breaks_the_table(bench: Bench, speaker: Speaker, fleet: Engine) -> None:
    bench.publish(speaker.status(), speaker.telemetry(1))
    bench.step()
    found = list_machines(fleet)
    with fleet.begin() as connection:
        connection.execute(tables.state.update().values(uptime_seconds=2**63 - 1, last_seen_at=-(2**63)))
    far = [row for row in list_machines(fleet) if row["last_seen"] is not None]
    console = Console(width=120, no_color=True)
    with console.capture() as captured:
        console.print(machine_table(far, now=bench.clock.now() / 1000))
    assert len(found) == 2
    assert captured.get().splitlines()[1].rstrip().endswith("over 99,999 d  over 99,999 d")


def test_a_machine_that_is_not_online_has_no_health_and_dimmed_readings_of_their_time(database: Engine) -> None:
    fleet = Fleet(database)
    fleet.machine("fine")
    fleet.machine("away", presence="offline", reason="lost", cpu_percent=99.0, sampled_at=NOW - 900_000)
    console = Console(width=120, force_terminal=True, color_system="standard")
    with console.capture() as captured:
        console.print(machine_table(list_machines(database), now=NOW / 1000))
    _head, away, fine = captured.get().splitlines()
    assert "away" in away
    assert "\x1b[2m– as of 21:58Z\x1b[0m" in away
    assert "\x1b[2m99.0 %\x1b[0m" in away
    assert "\x1b[2m" not in fine


@pytest.mark.parametrize("beat_seconds_ago", [None, 60.0])
def test_nothing_is_verified_without_a_living_ingestor(data: Path, beat_seconds_ago: float | None) -> None:
    engine = open_engine(StateDirectory(data).database_url)
    fleet = Fleet(engine, now=round(time.time() * 1000))
    fleet.machine("attic", presence="online", verified=True)
    if beat_seconds_ago is not None:
        fleet.beat(round((time.time() - beat_seconds_ago) * 1000))
    engine.dispose()
    done = dashfleet("machines", "--data", str(data), "--json")
    (row,) = json.loads(done.stdout)
    assert (row["presence"], row["verified"]) == ("online", False)
    assert "ingestor" in done.stderr
    table = dashfleet("machines", "--data", str(data))
    assert "online?" in table.stdout
    assert "ingestor" in table.stderr


def test_with_a_living_ingestor_presence_is_verified(data: Path) -> None:
    engine = open_engine(StateDirectory(data).database_url)
    fleet = Fleet(engine, now=round(time.time() * 1000))
    fleet.machine("attic", presence="online", verified=True)
    fleet.beat(round(time.time() * 1000))
    engine.dispose()
    done = dashfleet("machines", "--data", str(data), "--json")
    assert json.loads(done.stdout)[0]["verified"] is True
    assert done.stderr == ""


def test_the_ledger_says_where_the_samples_of_every_machine_are(bench: Bench, speaker: Speaker, fleet: Engine) -> None:
    bench.publish(*(speaker.telemetry(seq) for seq in range(1, 1001)), speaker.telemetry(1003, oldest_seq=1002))
    bench.step(steps=11)
    console = Console(width=100, no_color=True)
    with console.capture() as captured:
        console.print(ledger_table(list_machines(fleet)))
    head, home, office = captured.get().splitlines()
    assert head.split() == [
        "Machine",
        "Expected",
        "Stored",
        "Late",
        "Duplicate",
        "Dropped",
        "Waiting",
        "Rejected",
        "Lost",
    ]
    assert home.split() == ["home/attic", "1,003", "1,001", "0", "0", "0", "1", "0", "1"]
    assert office.split() == ["office/attic", *["0"] * 8]
