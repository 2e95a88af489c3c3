"""The facts of a machine that its page shows."""

import pytest

from dashboard.machine import facts


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
