"""The timeline as one list of several sources: its order, its pages, and that a new source needs one file only."""

import random
import sys
from dataclasses import replace
from datetime import UTC
from pathlib import Path
from types import ModuleType
from typing import get_args

import pytest
from clocks import Clock
from seeding import NOW, Fleet
from sqlalchemy import Engine

from dashboard.auth.users import UserRole
from dashboard.events import sources, timeline
from dashboard.events.event import Event, EventSource, discover
from dashboard.events.sources import settings
from dashboard.events.timeline import EventPage, EventPosition
from dashboard.i18n.language import marked
from dashboard.i18n.text import Word
from dashboard.machine import event_list
from dashboard.page.page import PageContext
from schemas.contract.administration import Administration
from schemas.database.events.event_queries import EventRange
from schemas.fleet.history import DAY, HOUR

WANTED = EventRange(0, 1000, limit=7)


@pytest.fixture
def context(reader: Engine) -> PageContext:
    return PageContext(reader, Clock(), "home", "vera", UserRole.VIEWER, UTC, refresh_seconds=5.0)


def event(kind: str, at: int, key: int) -> Event:
    return Event(kind, key, at, Word("", "plain"), f"{kind} {key}")


def source(kind: str, order: int, events: list[Event]) -> EventSource:
    """A source that answers as a database does."""

    def find(_context: PageContext, wanted: EventRange) -> list[Event]:
        def is_in(each: Event) -> bool:
            if each.at == wanted.end:
                return wanted.below_key is not None and int(each.key) < int(wanted.below_key)
            return wanted.start <= each.at < wanted.end

        found = sorted(filter(is_in, events), key=lambda each: (-each.at, -int(each.key)))
        return found[: wanted.limit]

    return EventSource(kind, marked(kind), order, find)


@pytest.mark.parametrize("seed", range(5))
def test_the_pages_contain_each_event_once_and_newest_first(context: PageContext, seed: int) -> None:
    """With times so close that several events of several sources happen in the same millisecond."""
    dice = random.Random(seed)  # noqa: S311 - a repeatable one
    every = {kind: [event(kind, dice.randrange(10), key) for key in range(20)] for kind in "abc"}
    found = [source(kind, order, every[kind]) for order, kind in enumerate(every)]
    seen: list[Event] = []
    after = None
    while True:
        page = timeline.read_page(context, found, WANTED, after)
        seen += page.events
        if page.following is None:
            break
        assert len(page.events) == WANTED.limit
        after = EventPosition.parse(str(page.following))
        assert after == page.following
    assert sorted(map(repr, seen)) == sorted(repr(each) for kind in every.values() for each in kind)
    assert [each.at for each in seen] == sorted((each.at for each in seen), reverse=True)


def test_a_position_survives_a_change_of_the_filter(context: PageContext) -> None:
    found = [source("a", 0, [event("a", 5, 1), event("a", 4, 2)])]
    page = timeline.read_page(context, found, WANTED, EventPosition(5, "hidden", 3))
    assert [each.at for each in page.events] == [4]


@pytest.mark.parametrize("text", ["", "5", "5.a", "x.a.1", "5..1", "-5.a.1", f"5.a.{'1' * 200}", "²5.a.1"])
def test_an_address_that_names_no_position_is_none(text: str) -> None:
    assert EventPosition.parse(text) is None


def test_a_key_that_is_text_stays_text_and_a_number_a_number() -> None:
    assert EventPosition.parse("5.command.0a1b") == EventPosition(5, "command", "0a1b")
    assert EventPosition.parse("5.presence.17") == EventPosition(5, "presence", 17)


def test_a_file_is_all_that_a_source_needs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "more_sources"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "facts.py").write_text(
        "from dashboard.events.event import EventSource\n"
        "from dashboard.i18n.language import marked\n"
        "SOURCE = EventSource('fact', marked('Facts'), order=5, find=lambda context, wanted: [])\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    module = ModuleType("more_sources")
    module.__path__ = [str(package)]
    monkeypatch.setitem(sys.modules, "more_sources", module)
    assert [each.kind for each in discover(module)] == ["fact"]


def test_sources_have_their_own_places_and_users_are_for_admins(context: PageContext) -> None:
    found = discover(sources)
    assert len({each.order for each in found}) == len({each.kind for each in found}) == len(found)
    kinds = [each.kind for each in event_list.visible(context)]
    assert kinds == ["presence", "alert", "facts", "incident", "command", "settings"]
    admin = replace(context, role=UserRole.ADMIN)
    assert {each.kind for each in event_list.visible(admin)} - set(kinds) == {"user"}
    assert "user" not in {each.kind for each in event_list.of_machines(admin)}


def test_every_administrative_change_has_a_title() -> None:
    kinds = {kind.model_fields["kind"].default for kind in get_args(Administration)}
    assert kinds <= set(settings.KINDS)


def test_what_happened_to_a_machine_is_one_list(fleet: Fleet, context: PageContext) -> None:
    attic, cellar = fleet.machine("attic"), fleet.machine("cellar")
    fleet.transition(attic, NOW - 9 * HOUR, "online", "offline", "lost")
    fleet.transition(attic, NOW - HOUR, "offline", "online", "connected")
    fleet.transition(cellar, NOW - HOUR, "offline", "online", "connected")
    fleet.alert(attic, "away", NOW - 8 * HOUR, ended_at=NOW - HOUR, title="Machine offline", severity="critical")
    fleet.incident("mass-silence", org="home", names=["attic", "cellar"], machines=2, of=2)
    wanted = EventRange(NOW - DAY, NOW + 1, machine="attic")
    page = timeline.read_page(context, event_list.of_machines(context), wanted)
    assert page.following is None
    shown = [(each.word.label, each.title, each.ended_at) for each in page.events]
    assert shown == [
        ("Open", "2 of 2 machines stopped reporting at the same time: attic, cellar", None),
        ("Online", "connected", None),
        ("Critical", "Machine offline", NOW - HOUR),
        ("Offline", "the connection was lost", NOW - HOUR),
    ]
    assert event_list.find(page, f"details.{EventPosition.of(page.events[0])}") == page.events[0]
    assert event_list.find(EventPage(()), "") is None
