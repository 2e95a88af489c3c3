"""Changes of facts as events of a timeline: whose they are, and how they read."""

from datetime import UTC

from clocks import Clock
from facts import DOWN, UP, state
from ingestion import Bench, Speaker
from ingestor_fixtures import bench, fleet, make_bench, speaker
from sqlalchemy import Engine

from dashboard.auth.users import UserRole
from dashboard.events.sources import facts as source
from dashboard.facts import texts
from dashboard.page.page import PageContext
from schemas.database.events.event_queries import NO_END, EventRange

__all__ = ["bench", "fleet", "make_bench", "speaker"]


def shown(fleet: Engine, org: str, **wanted: str) -> list[tuple[str, str, str, str]]:
    context = PageContext(fleet, Clock(), org, "vera", UserRole.VIEWER, UTC, refresh_seconds=5.0)
    found = source.find(context, EventRange(0, NO_END, **wanted))  # type: ignore[arg-type]  # texts only
    return [(each.machine, each.word.label, each.title, each.detail) for each in found]


def test_what_changed_is_an_event_of_its_organisation_found_by_its_words(
    bench: Bench, speaker: Speaker, fleet: Engine
) -> None:
    state(bench, speaker.facts("services", {"nginx.service": UP}), speaker.facts("disks", sda=UP))
    state(bench, speaker.facts("services", {"nginx.service": DOWN}), speaker.facts("disks", sda=UP, sdb=UP))
    disk = ("attic", "Appeared", "Disk sdb", "State: running")
    service = ("attic", "Critical", "Service nginx.service", "State: running → exited")
    assert sorted(shown(fleet, "home")) == sorted([disk, service])
    assert shown(fleet, "home", machine="attic", search="nginx") == [service]
    assert shown(fleet, "home", search="attic sdb") == [disk]
    assert shown(fleet, "home", machine="cellar") == []
    assert shown(fleet, "office") == []


def test_fields_are_shown_with_the_units_in_their_names() -> None:
    fields = {"memory_bytes": 2048, "cpu_percent": 12.34, "ready": True, "image": "nginx:1.27", "restart_count": 3}
    assert texts.details({**fields, "since": None, "size": 7}) == (
        "Image: nginx:1.27 · Memory: 2 KiB · CPU: 12 % · Ready: yes · Restarts: 3 · Since: – · Size: 7"
    )
    assert texts.details({"pid": 31731.0, "cached_at": 1_700_000_000_000.0, "odd_at": 1e300}).startswith(
        "PID: 31731 · Package lists from: 2023-11-14 22:13 UTC · Odd at: 1"
    )
