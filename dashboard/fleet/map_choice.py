"""A visitor's choice of what groups and what colours the tiles of the map, which the browser remembers. Pure.

Invariants:
- A cookie is a proposal of the browser: anything but known codes in it is ignored.
- An address says what it shows: the cookie counts only when a visitor changes from the table to the map.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import parse_qs, urlencode

from schemas.contract.topics import is_id
from schemas.database.queries.tiles import BY_LABEL, BY_SYSTEM, READINGS

COOKIE: Final = "dashfleet-map"
_GROUPS_MAX: Final = 12
"""Number of values up to which a label is a useful group by default."""


@dataclass(frozen=True, slots=True)
class MapChoice:
    """A grouping (see `is_grouping`) and one of READINGS; each may be empty."""

    group: str = ""
    colour: str = ""


def is_grouping(code: str) -> bool:
    """Return True if tiles of the map can be grouped by this."""
    return code == BY_SYSTEM or (code.startswith(BY_LABEL) and is_id(code.removeprefix(BY_LABEL)))


def written(choice: MapChoice) -> str:
    """Return a choice as the cookie keeps it."""
    return urlencode({"group": choice.group, "colour": choice.colour})


def read(cookie: str) -> MapChoice | None:
    """Return the choice in a cookie, None without one."""
    if not cookie:
        return None
    found = {name: values[0] for name, values in parse_qs(cookie[:200], keep_blank_values=True).items()}
    group, colour = found.get("group", ""), found.get("colour", "")
    return MapChoice(group if is_grouping(group) else "", colour if colour in READINGS else "")


def usual(labels: Sequence[str]) -> MapChoice:
    """Return the choice of a visitor who has made none, for the labels of a fleet, each "key=value".

    It groups by the label with the fewest values, but at least two.
    """
    values: defaultdict[str, set[str]] = defaultdict(set)
    for label in labels:
        key, _equals, value = label.partition("=")
        values[key].add(value)
    useful = [key for key, found in values.items() if 1 < len(found) <= _GROUPS_MAX and is_id(key)]
    key = min(useful, key=lambda key: (len(values[key]), key), default="")
    return MapChoice(f"{BY_LABEL}{key}" if key else "")
