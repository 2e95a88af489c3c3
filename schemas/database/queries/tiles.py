"""The whole fleet at once, one tile per machine.

Invariants:
- Tiles are sorted by group and name, never by readings: a tile keeps its place while its machine changes.
- The look of a tile is one letter, the same at every refresh.
"""

from collections import Counter
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import ColumnElement, Engine, and_, case, func, literal, select

from schemas.database.queries.choices import is_choice
from schemas.database.queries.fetch import fetch_all, fetch_scalar
from schemas.database.queries.fleet_order import HEALTH_NOW, PRESENCE_NOW, RETIRED, SHOWN_NAME
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


@dataclass(frozen=True, slots=True)
class Tiles:
    """The matching machines, at most TILES_MAX, and the number of all matching machines.

    `looks` has one letter per machine. `groups` are (name, number of machines) in the order of the machines; the
    machines without a value are in the group with the empty name.
    """

    names: tuple[str, ...]
    titles: tuple[str, ...]
    looks: str
    groups: tuple[tuple[str, int], ...]
    total: int


def find_tiles(engine: Engine, org_name: str, filters: Filters, group: str) -> Tiles:
    """Return the matching machines, the largest group first. `group` is BY_SYSTEM, BY_LABEL and a key, or empty."""
    columns = (machine.c.name, func.coalesce(machine.c.hostname, machine.c.name), _LOOK, _grouping(group))
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
    sizes = Counter(row[-1] for row in found)
    shown = {name: name if name and is_choice(name) else "" for name in sizes}
    groups: Counter[str] = Counter()
    for name, size in sizes.items():
        groups[shown[name]] += size
    kept = [name for name, _ in sorted(groups.items(), key=lambda each: (-each[1], each[0]))]
    if len(kept) > GROUPS_MAX:
        rest = kept[GROUPS_MAX - 1 :]
        kept = [*kept[: GROUPS_MAX - 1], OTHERS]
        groups[OTHERS] += sum(groups.pop(name) for name in rest)
    places = {name: kept.index(shown[name] if shown[name] in groups else OTHERS) for name in sizes}
    found.sort(key=lambda row: places[row[-1]])
    return Tiles(
        names=tuple(row[0] for row in found),
        titles=tuple(row[1] for row in found),
        looks="".join(row[2] for row in found),
        groups=tuple((name, groups[name]) for name in kept),
        total=total,
    )
