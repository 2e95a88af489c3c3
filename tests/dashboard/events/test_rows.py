"""Events as rows: the time that they open, and where they lead."""

from datetime import UTC
from typing import Any

import pytest

from dashboard.events import rows
from dashboard.events.event import Event
from dashboard.i18n.text import Word
from schemas.fleet.history import DAY, HOUR, MINUTE

AT = 1_700_000_000_000
NOW = AT + 30 * DAY


def event(**given: Any) -> Event:  # noqa: ANN401 - fields of any type
    return Event(**{"kind": "presence", "key": 1, "at": AT, "word": Word("Offline", "bad"), "title": "lost", **given})


@pytest.mark.parametrize(
    ("given", "before", "after"),
    [
        ({}, 15 * MINUTE, 15 * MINUTE),
        ({"lasts": True, "ended_at": AT + 20 * MINUTE}, 15 * MINUTE, 35 * MINUTE),
        ({"lasts": True, "ended_at": AT + 8 * HOUR}, 2 * HOUR, 10 * HOUR),
        ({"lasts": True}, 6 * HOUR, 30 * HOUR),
        ({"lasts": True, "ended_at": AT - HOUR}, 15 * MINUTE, 15 * MINUTE),
    ],
)
def test_an_event_is_shown_with_the_time_around_it_and_at_most_its_first_day(
    given: dict[str, Any], before: int, after: int
) -> None:
    assert rows.window(event(**given), NOW) == (AT - before, AT + after)


def test_the_time_around_an_event_does_not_reach_into_the_future() -> None:
    assert rows.window(event(lasts=True), AT + MINUTE) == (AT - 15 * MINUTE, AT + MINUTE)
    assert rows.window(event(), AT) == (AT - 15 * MINUTE, AT + 1)


def test_a_row_leads_to_the_machine_at_that_time_and_its_link_to_the_details() -> None:
    of_machine = event(machine="attic", page="activity", query={"command": "c1"})
    (row,) = rows.of_a_fleet([of_machine], NOW, UTC)
    assert row["href"] == f"/machine?id=attic&from={AT - 15 * MINUTE}&to={AT + 15 * MINUTE}"
    link = row["cells"][-1]
    assert (link["href"], link["opens"]) == ("/activity?command=c1", f"details.{row['id']}")
    (row,) = rows.of_a_fleet([event(page="problems", query={"id": "incident-1"})], NOW, UTC)
    assert row["href"] == "/problems?id=incident-1"


def test_an_event_names_its_machine_with_the_id_that_the_hostname_does_not_say_and_several_by_their_number() -> None:
    found = [
        event(machine="vm", hostname="vm.example.org"),
        event(machine="vm-2", hostname="vm"),
        event(machine="vm-3"),
        event(machines="3 machines"),
    ]
    names = [row["cells"][3]["text"] for row in rows.of_a_fleet(found, NOW, UTC)]
    assert names == ["vm.example.org", "vm (vm-2)", "vm-3", "3 machines"]


def test_an_event_that_leads_nowhere_is_no_link() -> None:
    (row,) = rows.of_a_fleet([event(detail="retired")], NOW, UTC)
    assert row["cells"][2] == {"kind": "text", "text": "lost · retired", "hint": ""}


def test_the_duration_says_whether_an_event_is_over() -> None:
    assert rows.lasted(event(), NOW) == ""
    assert rows.lasted(event(lasts=True, ended_at=AT + HOUR), NOW) == "1 h"
    assert rows.lasted(event(lasts=True), AT + HOUR) == "1 h, ongoing"
