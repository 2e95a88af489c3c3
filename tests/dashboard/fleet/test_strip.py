"""What the strip above the fleet says, and where its entries lead."""

from datetime import UTC
from typing import Any

from seeding import NOW, Fleet
from sqlalchemy import Engine

from dashboard.fleet import problem_groups, strip
from dashboard.fleet.strip import StripLink
from schemas.database.queries import choices, problems
from schemas.database.queries.problems import ProblemFilter

MINUTE = 60_000


def links(reader: Engine) -> list[StripLink]:
    absent = problems.list_absent_machines(reader, "home", limit=1000)
    active = problems.list_problems(reader, "home", ProblemFilter(), offset=0, limit=1000)
    counts = dict(choices.count_labels(reader, "home"))
    return strip.links(problem_groups.group(absent, active, counts), NOW, UTC)


def said(reader: Engine) -> list[str]:
    return [link.text for link in links(reader)]


def offline(fleet: Fleet, *names: str, minutes: float = 10, **given: Any) -> None:  # noqa: ANN401 - columns of any type
    for i, name in enumerate(names):
        since = NOW - round(minutes * MINUTE) + 30_000 * i
        fleet.machine(name, **{"presence": "offline", "reason": "lost", "since_at": since, **given})


def test_a_fleet_without_a_problem_has_no_strip(fleet: Fleet, reader: Engine) -> None:
    fleet.machine("fine")
    fleet.machine("retired", presence="retired")
    offline(fleet, "theirs", org="other")
    assert links(reader) == []


def test_the_machines_of_a_site_that_went_together_are_one_entry_that_leads_to_them(
    fleet: Fleet, reader: Engine
) -> None:
    labels = {"site": "nantes", "env": "prod"}
    offline(fleet, "n-1", "n-2", "n-3", "n-4", labels=labels)
    fleet.machine("fine", labels={"env": "prod", "site": "paris"})
    nas = fleet.machine("nas")
    fleet.alert(nas, "disk", NOW - 20 * MINUTE, title="Disk nearly full", detail="99 %", severity="critical")
    site, disk = links(reader)
    assert (site.text, site.tone) == ("4 machines with site=nantes offline since 22:03", "bad")
    assert site.href == "/?status=offline&label=site%3Dnantes"
    assert (disk.text, disk.href) == ("nas: Disk nearly full 99 % since 21:53", "/machine?id=nas")


def test_machines_that_went_at_different_times_are_apart_and_a_single_one_leads_to_its_page(
    fleet: Fleet, reader: Engine
) -> None:
    offline(fleet, "early", minutes=60, hostname="early.example.org")
    offline(fleet, "late-1", "late-2")
    fleet.machine("slow", presence="stale", since_at=NOW - MINUTE)
    assert said(reader) == [
        "late-1, late-2 offline since 22:03",
        "early.example.org offline since 21:13",
        "slow stale since 22:12",
    ]
    assert [link.href for link in links(reader)][:2] == ["/?status=offline", "/machine?id=early"]


def test_machines_that_share_a_hostname_are_told_apart_by_their_ids(fleet: Fleet, reader: Engine) -> None:
    offline(fleet, "vm", "vm-2", hostname="vm")
    fleet.alert(fleet.machine("vm-3", hostname="vm"), "cpu", NOW - MINUTE, title="High CPU usage")
    assert said(reader) == ["vm, vm (vm-2) offline since 22:03", "vm (vm-3): High CPU usage since 22:12"]


def test_a_label_that_most_of_the_fleet_has_names_nothing(fleet: Fleet, reader: Engine) -> None:
    offline(fleet, "a", "b", "c", labels={"env": "prod"})
    for i in range(9):
        fleet.machine(f"fine-{i}", labels={"env": "prod"})
    assert said(reader) == ["3 machines offline since 22:03"]


def test_an_absent_machine_is_said_once_whatever_alert_and_incident_say(fleet: Fleet, reader: Engine) -> None:
    offline(fleet, "a", "b", "c")
    fleet.machine("gone", presence="expired", since_at=NOW - 3 * 86_400_000)
    with fleet.engine.connect():
        fleet.incident("mass-silence", org="home", machines=3, of=9, names=["a", "b", "c"])
    fleet.alert(1, "away", NOW, title="Machine offline", severity="critical")
    assert said(reader) == ["3 machines offline since 22:03", "gone long offline, since 11 Nov, 22:13"]


def test_what_somebody_attends_to_is_left_out_and_an_incident_of_the_same_machines_is_not(
    fleet: Fleet, reader: Engine
) -> None:
    offline(fleet, "known", "muted")
    offline(fleet, "new")
    for number, handling in (
        (1, {"acknowledged_at": NOW, "acknowledged_by": "ada"}),
        (2, {"silenced_until": NOW + MINUTE}),
        (3, {}),
    ):
        fleet.alert(number, "away", NOW, title="Machine offline", severity="critical", **handling)
    busy = fleet.machine("busy")
    fleet.alert(busy, "cpu", NOW, title="High CPU usage", acknowledged_at=NOW, acknowledged_by="ada")
    assert said(reader) == ["new offline since 22:03"]
    fleet.incident("mass-silence", org="home", machines=2, of=4, names=["known", "muted"])
    assert said(reader) == [
        "new offline since 22:03",
        "known, muted: Machines stopped reporting at the same time since 22:12",
    ]


def test_alerts_of_one_rule_are_one_entry_that_leads_to_them(fleet: Fleet, reader: Engine) -> None:
    for i in range(3):
        fleet.alert(fleet.machine(f"m-{i}"), "cpu", NOW - i * MINUTE, title="High CPU usage", detail=f"{i} %")
    (entry,) = links(reader)
    assert entry.text == "3 machines: High CPU usage since 22:11"
    assert (entry.tone, entry.href) == ("fair", "/problems?rule=cpu&severity=warning")


def test_an_incident_leads_to_its_page(fleet: Fleet, reader: Engine) -> None:
    fleet.org()
    fleet.incident("blind")
    fleet.incident("cloned-identity", org="home", machine="web-1")
    blind, cloned = links(reader)
    assert blind.text == "Server lost its broker connection since 22:12"
    assert (blind.href, cloned.href) == ("/problems?id=incident-1", "/problems?id=incident-2")
    assert cloned.text == "web-1: Two machines use one identity since 22:12"


def test_a_long_list_is_cut_and_says_how_much_is_left(fleet: Fleet, reader: Engine) -> None:
    for i in range(strip.GROUPS_MAX + 3):
        offline(fleet, f"m-{i}", minutes=20 * (i + 1))
    assert len(links(reader)) == strip.GROUPS_MAX + 1
    assert (said(reader)[-1], links(reader)[-1].href) == ("and 3 more", "/?need=attention")


def test_what_machines_call_themselves_stays_text(fleet: Fleet, reader: Engine) -> None:
    offline(fleet, "evil", "evil-2", hostname="<img src=x>", labels={"a": "<b>"})
    (entry,) = links(reader)
    assert entry.text == "2 machines with a=<b> offline since 22:03"
    assert "<" not in entry.href


def test_a_click_opens_its_entry_even_if_it_is_gone_meanwhile_and_an_unknown_address_opens_nothing() -> None:
    nas = StripLink("nas offline", "bad", "machine", {"id": "nas"})
    web = StripLink("web offline", "bad", "machine", {"id": "web"})
    before, shown = (nas, web), (web,)
    assert strip.clicked((*before, *shown), "/machine?id=nas") is nas
    assert strip.clicked(shown, "/machine?id=web") is web
    assert strip.clicked(shown, "/machine?id=other") is None
    assert strip.clicked(shown, 0) is None
