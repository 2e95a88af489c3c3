"""What each operation answers, on both databases."""

from typing import Any

import pytest
from clocks import Clock
from http_api import HttpApi
from seeding import NOW, Fleet
from sqlalchemy import insert

from dashboard.auth.users import UserRole
from schemas.contract.messages import VITALS
from schemas.database import tables
from schemas.fleet.history import HOUR, MINUTE


@pytest.fixture
def database_url(each_database_url: str) -> str:
    return each_database_url


def request(fleet: Fleet, number: int, kind: str = "act", *, org: str = "home", at: int = NOW, detail: str = "") -> str:
    id_ = f"{number:032x}"
    row = {"id": id_, "org_id": fleet.org(org), "principal": "_dashboard", "actor": "ada", "kind": kind, "batch": id_}
    with fleet.engine.begin() as connection:
        connection.execute(insert(tables.request).values(**row, state="accepted", detail=detail, created_at=at))
    return id_


def command(fleet: Fleet, machine: int, number: int, *, org: str = "home", at: int = NOW, **given: Any) -> str:  # noqa: ANN401
    id_ = f"{number:032x}"
    row: dict[str, Any] = {"id": id_, "machine_id": machine, "request_id": request(fleet, number, org=org, at=at)}
    row |= {"action": "ping", "arguments": {"n": number}, "statement": "{}", "key": "k", "signature": "s"}
    row |= {"expires_at": at + HOUR, "state": "succeeded", "created_at": at, **given}
    change = {"command_id": id_, "at": at, "before": "", "after": "queued", "by": "_dashboard"}
    with fleet.engine.begin() as connection:
        connection.execute(insert(tables.command).values(row))
        connection.execute(insert(tables.command_transition).values(change))
    return id_


# Machines


def test_a_machine_has_the_names_and_units_of_the_contract(api: HttpApi, fleet: Fleet) -> None:
    fleet.machine("a", hostname="a.example.org", labels={"site": "paris"}, cpu_percent=97.0, temperature_celsius=None)
    (found,) = api.get("/machines")["machines"]
    assert (found["machine"], found["hostname"], found["labels"]) == ("a", "a.example.org", {"site": "paris"})
    assert (found["presence"], found["since"], found["verified"]) == ("online", NOW - 3_600_000, True)
    assert (found["current"], found["as_of"], found["last_seen"]) == (True, NOW - 2_000, NOW - 2_000)
    assert tuple(found["vitals"]) == VITALS
    assert (found["vitals"]["cpu_percent"], found["vitals"]["temperature_celsius"]) == (97.0, None)
    assert found["extra"]["fan_rpm"] == 1180.0
    assert found["health"]["status"] in ("warn", "critical")
    alone = api.get("/machines/a")
    assert {name: alone[name] for name in found} == found
    assert (alone["info"]["cpu_count"], alone["created_at"]) == (8, NOW)


def test_values_that_are_not_current_have_their_time_and_no_health(api: HttpApi, fleet: Fleet, clock: Clock) -> None:
    fleet.machine("gone", presence="offline", reason="lost", sampled_at=NOW - 50_000)
    fleet.machine("well")
    fleet.machine("never", stated=False)
    found = {each["machine"]: each for each in api.get("/machines")["machines"]}
    never, gone, well = found["never"], found["gone"], found["well"]
    assert (gone["current"], gone["as_of"], gone["health"]) == (
        False,
        NOW - 50_000,
        {"score": None, "status": "unknown"},
    )
    assert (never["machine"], never["presence"], never["vitals"]["cpu_percent"]) == ("never", "unknown", None)
    assert well["current"]
    clock.advance(60)  # the ingestor is silent
    answer = api.get("/machines")
    assert answer["trouble"] == "no heartbeat from any ingestor for 60 s"
    assert not any(each["current"] or each["verified"] for each in answer["machines"])
    assert api.get("/machines/well")["trouble"] == answer["trouble"]


def test_machines_are_filtered(api: HttpApi, fleet: Fleet) -> None:
    fleet.machine("a", labels={"site": "paris"})
    fleet.machine("b", labels={"site": "lyon"}, presence="offline")
    fleet.machine("c", labels={"site": "nice"}, presence="retired")

    def names(**wanted: Any) -> list[str]:  # noqa: ANN401
        return [each["machine"] for each in api.get("/machines", wanted)["machines"]]

    assert names() == ["a", "b"]
    assert names(presence="retired") == ["c"]
    assert names(presence=["retired", "offline"]) == ["b", "c"]
    assert names(label=["site=paris", "site=lyon"]) == ["a", "b"]
    assert names(label="site=paris") == ["a"]
    assert names(search="lyon") == ["b"]
    assert names(attention="true") == ["b"]
    assert names(health="ok") == ["a"]


def test_pages_neither_repeat_nor_skip_machines_that_come_and_go(api: HttpApi, fleet: Fleet) -> None:
    for name in ("b", "d", "f", "h"):
        fleet.machine(name)
    first = api.get("/machines", limit=2)
    assert ([each["machine"] for each in first["machines"]], first["next"]) == (["b", "d"], "d")
    fleet.machine("a")
    fleet.machine("e")
    second = api.get("/machines", limit=2, after=first["next"])
    assert [each["machine"] for each in second["machines"]] == ["e", "f"]
    last = api.get("/machines", limit=2, after=second["next"])
    assert ([each["machine"] for each in last["machines"]], last["next"]) == (["h"], None)


# History


def test_history_has_the_points_and_the_number_of_samples_of_each(api: HttpApi, fleet: Fleet) -> None:
    times = [NOW - 10_000 * i for i in range(60, 0, -1)]
    fleet.samples(fleet.machine("a"), times, cpu_percent=lambda i: float(i), network_sent_bytes=lambda i: i * 1000)
    found = api.get("/machines/a/history", {"from": NOW - 600_000, "to": NOW, "step": 60_000, "resolution": "samples"})
    assert (found["resolution"], found["step_milliseconds"], sum(found["samples"])) == ("samples", 60_000, 60)
    assert set(found["readings"]) == set(VITALS)
    cpu, sent = found["readings"]["cpu_percent"], found["readings"]["network_sent_bytes"]
    assert len(cpu["average"]) == len(found["at"]) == len(found["samples"])
    assert (cpu["minimum"], cpu["maximum"]) == (None, None)
    assert (sent["average"], sent["maximum"][-1]) == (None, 59_000)
    assert found["readings"]["load_1m"]["average"] == [None] * len(found["at"])


def test_the_range_includes_its_start_and_excludes_its_end(api: HttpApi, fleet: Fleet) -> None:
    fleet.samples(fleet.machine("a"), [NOW - 2000, NOW - 1000, NOW], cpu_percent=1.0)
    found = api.get("/machines/a/history", {"from": NOW - 2000, "to": NOW, "metric": "cpu_percent"})
    assert found["at"] == [NOW - 2000, NOW - 1000]
    assert list(found["readings"]) == ["cpu_percent"]


def test_a_year_is_read_from_hours_with_as_many_points_as_asked_for(api: HttpApi, fleet: Fleet) -> None:
    fleet.hours(fleet.machine("a"), 24 * 30)
    year = {"from": NOW - 365 * 24 * HOUR, "to": NOW + HOUR, "metric": ["cpu_percent", "fan_rpm"]}
    found = api.get("/machines/a/history", year, points=100)
    assert found["resolution"] == "hours"
    assert len(found["at"]) <= 101
    assert found["step_milliseconds"] % HOUR == 0
    assert sum(found["samples"]) == found["completeness"]["samples"] == 24 * 30 * 360
    cpu, fan = found["readings"]["cpu_percent"], found["readings"]["fan_rpm"]
    assert cpu["minimum"][0] < cpu["average"][0] < cpu["maximum"][0]
    assert fan["minimum"][0] == 900.0


def test_the_resolution_can_be_chosen(api: HttpApi, fleet: Fleet) -> None:
    key = fleet.machine("a")
    fleet.minutes(key, [1.0, 2.0, 3.0])
    asked = {"from": NOW // MINUTE * MINUTE - 10 * MINUTE, "to": NOW, "metric": "cpu_percent"}
    found = api.get("/machines/a/history", asked, resolution="minutes")
    assert (found["resolution"], found["readings"]["cpu_percent"]["average"]) == ("minutes", [1.0, 2.0, 3.0])
    assert api.get("/machines/a/history", asked, resolution="samples")["at"] == []


@pytest.mark.parametrize("operation", ["history", "availability"])
def test_a_range_that_ends_before_it_begins_is_refused(api: HttpApi, fleet: Fleet, operation: str) -> None:
    fleet.machine("a")
    token = {"authorization": f"Bearer {api.token()}"}
    answer = api.client.get(f"/api/v1/machines/a/{operation}?from=5&to=5", headers=token)
    assert (answer.status_code, answer.json()["errors"][0]["parameter"]) == (400, "from")


# Completeness and availability


def test_history_and_availability_say_how_complete_they_are(api: HttpApi, fleet: Fleet) -> None:
    key = fleet.machine("a", since_at=NOW - 10 * HOUR)
    fleet.stream(key, "1-90", highest_seq=100, late=7)
    fleet.minutes(key, [1.0] * 30)
    within = {"from": NOW - HOUR, "to": NOW}
    fleet.incident("blind", ended_at=NOW - 30_000)  # from a minute ago, for half of it
    fleet.incident("blind", ended_at=NOW - 30_000)
    fleet.incident("mass-silence", org="home")
    fleet.incident("blind", org="other")
    history = api.get("/machines/a/history", within, resolution="minutes")
    assert history["completeness"] == {
        "samples": 180,
        "expected": 100,
        "stored": 90,
        "late": 7,
        "not_listening_seconds": 30.0,
    }
    assert api.get("/machines/a/availability", within)["completeness"] == history["completeness"]


def test_availability_counts_absences_and_not_the_time_without_the_server(api: HttpApi, fleet: Fleet) -> None:
    key = fleet.machine("a", since_at=NOW - HOUR // 2)
    fleet.transition(key, NOW - HOUR, "online", "offline", "stopped")
    fleet.transition(key, NOW - HOUR // 2, "offline", "online", "connected")
    found = api.get("/machines/a/availability", {"from": NOW - 2 * HOUR, "to": NOW + HOUR})
    assert (found["to"], found["share"]) == (NOW, 0.75)
    assert (found["there_seconds"], found["away_seconds"], found["announced_seconds"]) == (5400, 1800, 1800)
    assert (found["absences"], found["longest_seconds"]) == (1, 1800)
    assert api.get("/machines/a/availability")["share"] == 0.5
    assert api.get("/machines/a/availability", {"from": NOW + HOUR, "to": NOW + 2 * HOUR})["to"] == NOW + HOUR + 1


def test_the_ledger_has_every_stream_and_its_ranges(api: HttpApi, fleet: Fleet) -> None:
    key = fleet.machine("a")
    fleet.stream(key, "1-5,8-10", highest_seq=10, oldest_seq=11, late=2)
    found = api.get("/machines/a/ledger")
    assert (found["expected"], found["stored"], found["late"], found["lost"]) == (10, 8, 2, 2)
    assert found["streams"][0]["stored"] == [[1, 5], [8, 10]]
    fleet.machine("new")
    assert api.get("/machines/new/ledger")["streams"] == []


def test_facts_are_lists_by_kind_the_worst_items_first(api: HttpApi, fleet: Fleet) -> None:
    key = fleet.machine("a")
    fleet.facts(key, "containers", {"web": ("good", {"image": "nginx"}), "db": ("critical", {"restarts": 7.0})})
    fleet.facts(key, "mounts", {"/": (None, {"read_only": False})})
    found = api.get("/machines/a/facts")
    assert [(each["kind"], list(each["items"])) for each in found["facts"]] == [
        ("containers", ["db", "web"]),
        ("mounts", ["/"]),
    ]
    assert found["facts"][0]["items"]["db"]["health"] == "critical"
    assert found["facts"][1]["items"]["/"]["fields"] == {"read_only": False}
    assert [each["kind"] for each in api.get("/machines/a/facts", kind="mounts")["facts"]] == ["mounts"]
    fleet.machine("new")
    assert api.get("/machines/new/facts") == {"machine": "new", "facts": []}


# Alerts, incidents, commands, changes


def test_alerts_have_the_names_of_the_contract_and_pages(api: HttpApi, fleet: Fleet) -> None:
    key = fleet.machine("a", labels={"site": "paris"})
    fleet.alert(key, "cpu", NOW - 1000, value=97.0, unit="percent", severity="critical")
    fleet.alert(key, "disk", NOW - 5000, acknowledged_at=NOW, acknowledged_by="ada", acknowledged_comment="known")
    fleet.alert(key, "away", NOW - 9000, ended_at=NOW - 8000)
    disk, cpu = api.get("/alerts")["alerts"]
    assert (cpu["rule"], cpu["since"], cpu["until"], cpu["value"], cpu["unit"]) == (
        "cpu",
        NOW - 1000,
        None,
        97.0,
        "percent",
    )
    assert (cpu["machine"], cpu["labels"], cpu["acknowledged"]) == ("a", {"site": "paris"}, None)
    assert disk["acknowledged"] == {"by": "ada", "at": NOW, "comment": "known"}
    assert [each["rule"] for each in api.get("/alerts", state="all", severity="warning")["alerts"]] == ["away", "disk"]
    assert [each["until"] for each in api.get("/alerts", state="resolved")["alerts"]] == [NOW - 8000]
    assert [each["rule"] for each in api.get("/alerts", state="all", to=NOW - 6000)["alerts"]] == ["away"]
    assert [each["rule"] for each in api.get("/alerts", {"from": NOW - 7000}, state="all")["alerts"]] == [
        "disk",
        "cpu",
    ]
    first = api.get("/alerts", state="all", limit=2)
    fleet.alert(key, "new", NOW)
    second = api.get("/alerts", state="all", limit=2, after=first["next"])
    assert [each["rule"] for each in (*first["alerts"], *second["alerts"])] == ["away", "disk", "cpu"]
    assert second["next"] is None


def test_incidents_are_the_organisations_and_the_systems(api: HttpApi, fleet: Fleet) -> None:
    fleet.incident("mass-silence", org="home", machines=70, of=100, names=[f"m{i}" for i in range(64)])
    fleet.incident("cloned-identity", org="home", machine="a", ended_at=NOW)
    fleet.incident("blind", ended_at=NOW)
    fleet.incident("noisy", org="other")
    blind, cloned, mass = api.get("/incidents")["incidents"]
    assert (blind["kind"], blind["system"], blind["severity"], blind["until"]) == ("blind", True, "critical", NOW)
    assert (cloned["machines"], cloned["machine_count"], cloned["system"]) == (["a"], 1, False)
    assert (len(mass["machines"]), mass["machine_count"], mass["until"]) == (64, 70, None)
    assert [each["kind"] for each in api.get("/incidents", state="active")["incidents"]] == ["mass-silence"]
    first = api.get("/incidents", limit=1)
    assert [each["kind"] for each in api.get("/incidents", after=first["next"], kind="mass-silence")["incidents"]] == [
        "mass-silence"
    ]


def test_commands_have_pages_and_each_its_output_and_history(api: HttpApi, fleet: Fleet) -> None:
    key = fleet.machine("a")
    ids = [command(fleet, key, number, at=NOW, output=f"out {number}") for number in range(1, 5)]
    ids.append(command(fleet, key, 9, at=NOW - 1000, state="failed", exit_code=1))
    found: list[str] = []
    after: dict[str, str] = {}
    while True:
        page = api.get("/commands", after, limit=2)
        found += [each["id"] for each in page["commands"]]
        command(fleet, key, 100 + len(found), at=NOW + 1)
        if page["next"] is None:
            break
        after = {"after": page["next"]}
    assert found == [*reversed(ids[:4]), ids[4]]
    assert [each["id"] for each in api.get("/commands", state="failed")["commands"]] == [ids[4]]
    assert [each["id"] for each in api.get("/commands", batch=ids[0])["commands"]] == [ids[0]]
    whole = api.get(f"/commands/{ids[0]}")
    assert (whole["machine"], whole["output"], whole["arguments"]) == ("a", "out 1", {"n": 1})
    assert [(each["before"], each["after"]) for each in whole["history"]] == [("", "queued")]
    assert "output" not in api.get("/commands")["commands"][0]


def test_changes_of_users_are_for_admins_and_both_kinds_share_one_list(api: HttpApi, fleet: Fleet) -> None:
    for number in range(1, 4):
        request(fleet, number, "configure-org", detail=f"d{number}")
    request(fleet, 4, "act")
    api.tokens.create("other", "theirs", UserRole.VIEWER, seconds=60, by="root")
    viewers = api.get("/changes")["changes"]
    assert [each["detail"] for each in viewers] == ["d3", "d2", "d1"]
    whole = api.get("/changes", role=UserRole.ADMIN, limit=1000)["changes"]
    assert {each["source"] for each in whole} == {"settings", "users"}
    paged: list[Any] = []
    after: dict[str, str] = {}
    token = {"authorization": f"Bearer {api.token(role=UserRole.ADMIN)}"}
    while True:
        page = api.client.get("/api/v1/changes", params={"limit": 1, **after}, headers=token).json()
        paged += page["changes"]
        if page["next"] is None:
            break
        after = {"after": page["next"]}
    assert [each for each in paged if each["source"] == "settings"] == viewers
    assert len(paged) == len({str(each) for each in paged}) == len(whole) + 1
    assert {each["name"] for each in paged if each["source"] == "users"} >= {"t1", "t2"}
    assert "theirs" not in str(paged)
