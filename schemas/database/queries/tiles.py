"""The whole fleet at once, one tile per machine.

Invariants:
- The group with the most machines that need attention comes first. Within a group tiles are sorted by name, never by
  readings: a tile keeps its place while its machine changes.
- The look of a tile is one letter, the same at every refresh.
"""

from collections import Counter
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import ColumnElement, Engine, and_, case, func, literal, select

from schemas.database.queries.choices import is_choice
from schemas.database.queries.fetch import fetch_all, fetch_scalar
from schemas.database.queries.fleet_order import (
    ATTENTION_NOW,
    CURRENT_NOW,
    HEALTH_NOW,
    PRESENCE_NOW,
    RETIRED,
    SHOWN_NAME,
)
from schemas.database.queries.machines import Filters, select_matching
from schemas.database.tables import machine, state

TILES_MAX: Final = 10_000
GROUPS_MAX: Final = 30
OTHERS: Final = "…"
"""The group that holds the machines of all groups beyond GROUPS_MAX."""

BY_SYSTEM: Final = "os"
BY_LABEL: Final = "label:"
"""Prefix of a grouping by label; the label's key follows."""

BY_HEALTH: Final = {"ok": "g", "warn": "w", "critical": "c"}
"""Letters of online machines, by health status."""

BY_PRESENCE: Final = {"stale": "s", "offline": "o", "expired": "e", "unknown": "x", RETIRED: "r"}
"""Letters of other machines, by presence."""

UNJUDGED: Final = "n"
"""Letter of an online machine with unknown health."""

UNVERIFIED: Final = "u"
"""Letter of a machine not heard since the ingestor lost the broker."""

_LOOK: Final = case(
    (and_(state.c.verified.is_(False), PRESENCE_NOW != RETIRED), UNVERIFIED),
    (PRESENCE_NOW == "online", case(BY_HEALTH, value=HEALTH_NOW, else_=UNJUDGED)),
    else_=case(BY_PRESENCE, value=PRESENCE_NOW, else_=BY_PRESENCE["unknown"]),
)


LEVELS: Final = (("9", 90), ("7", 75), ("5", 50), ("0", 0))
"""Letters of machines by a reading, with the percentage from which each is used; `UNJUDGED` without the reading."""

_READINGS: Final = {"cpu": state.c.cpu_percent, "memory": state.c.memory_percent, "disk": state.c.disk_percent}
READINGS: Final = tuple(_READINGS)
"""The readings that tiles can be coloured by."""


def _level(reading: ColumnElement[Any]) -> ColumnElement[Any]:
    return case(
        (CURRENT_NOW, case(*((reading >= least, letter) for letter, least in LEVELS), else_=UNJUDGED)), else_=_LOOK
    )


@dataclass(frozen=True, slots=True)
class TileGroup:
    """The tiles with one value: their number, and the number of those that need attention."""

    name: str
    count: int
    problems: int = 0


@dataclass(frozen=True, slots=True)
class Tiles:
    """The matching machines, at most TILES_MAX, and the number of all matching machines.

    `looks` has one letter per machine. `groups` are in the order of the machines; the empty name is that of those
    without a value.
    """

    names: tuple[str, ...]
    titles: tuple[str, ...]
    looks: str
    groups: tuple["TileGroup", ...]
    total: int


def find_tiles(engine: Engine, org_name: str, filters: Filters, group: str, colour: str = "") -> Tiles:
    """Return the matching machines, the group with the most problems first, of equal ones the largest.

    `group` is BY_SYSTEM, BY_LABEL and a key, or empty; `colour` is one of READINGS, or empty for status and health.
    """
    look = _level(_READINGS[colour]) if colour in _READINGS else _LOOK
    shown = func.coalesce(machine.c.hostname, machine.c.name)
    columns = (machine.c.name, shown, look.label("look"), ATTENTION_NOW.label("attention"), _grouping(group))
    query = select_matching(org_name, filters, *columns).order_by(SHOWN_NAME, machine.c.name).limit(TILES_MAX)
    found = [tuple(row) for row in fetch_all(engine, query)]
    total = len(found)
    if total == TILES_MAX:
        matching = select_matching(org_name, filters, machine.c.id).subquery()
        total = fetch_scalar(engine, select(func.count()).select_from(matching))
    return _arranged(found, total)


def _grouping(group: str) -> ColumnElement[Any]:
    if group == BY_SYSTEM:
        return machine.c.os
    if group.startswith(BY_LABEL):
        label: ColumnElement[Any] = machine.c.labels[group.removeprefix(BY_LABEL)].as_string()
        return label
    return literal("")


def _arranged(found: list[tuple[Any, ...]], total: int) -> Tiles:
    """Sort rows of (name, title, look, whether it needs attention, value) by group."""
    shown = {row[-1]: row[-1] if row[-1] and is_choice(row[-1]) else "" for row in found}
    sizes, problems = Counter(shown[row[-1]] for row in found), Counter(shown[row[-1]] for row in found if row[3])
    kept = sorted(sizes, key=lambda name: (-problems[name], -sizes[name], name))
    if len(kept) > GROUPS_MAX:
        for name in kept[GROUPS_MAX - 1 :]:
            sizes[OTHERS] += sizes.pop(name)
            problems[OTHERS] += problems.pop(name, 0)
        kept = [*kept[: GROUPS_MAX - 1], OTHERS]
    places = {name: i for i, name in enumerate(kept)}
    last = places.get(OTHERS, 0)
    found.sort(key=lambda row: places.get(shown[row[-1]], last))
    return Tiles(
        names=tuple(row[0] for row in found),
        titles=tuple(row[1] for row in found),
        looks="".join(row[2] for row in found),
        groups=tuple(TileGroup(name, sizes[name], problems[name]) for name in kept),
        total=total,
    )
