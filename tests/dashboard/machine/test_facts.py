"""The facts of a machine that its page shows."""

from datetime import UTC

import pytest
from seeding import NOW, Fleet
from sqlalchemy import Engine, insert

from dashboard.machine import facts
from schemas.database import tables
from schemas.database.queries.machines import list_transitions
from schemas.fleet.availability import FLAPPING


@pytest.mark.parametrize(
    ("info", "shown"),
    [
        ({"disk_total_bytes": 1 << 30, "disk_path": "/"}, False),
        ({"disk_total_bytes": 1 << 30}, False),
        ({"disk_total_bytes": 1 << 30, "disk_path": "/var"}, True),
        ({"disk_total_bytes": None, "disk_path": "/var"}, None),
    ],
)
def test_the_path_of_the_disk_is_shown_unless_it_is_the_root(info: dict[str, object], shown: bool | None) -> None:
    found = facts._disk(info)

    assert (None if found is None else found.endswith(" (/var)")) is shown


def test_of_a_flapping_machine_one_event_has_the_number_of_its_transitions(fleet: Fleet, reader: Engine) -> None:
    machine = fleet.machine("web-1")
    row = {"machine_id": machine, "at": NOW, "before": "offline", "after": "online", "session": 1}
    with fleet.engine.begin() as connection:
        connection.execute(insert(tables.transition).values(**row, reason=FLAPPING, times=141))
    (event,) = facts.events(list_transitions(reader, machine, limit=5), NOW, UTC)
    assert event[1].label == "Online"
    assert event[2] == "flapping: 141 more changes in this hour"
