"""The dashboard's SQL about the whole fleet at once, one tile for each machine.

Invariants:
- Tiles come in the order of their groups and of their names, never of their figures: a tile stays where it is while its
  machine changes.
- What a tile looks like is one letter, the same at every refresh.
"""

from collections import Counter
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import ColumnElement, Engine, and_, case, func, literal, select

from schemas.database.queries.choices import is_choice
from schemas.database.queries.machines import HEALTH_NOW, PRESENCE_NOW, RETIRED, SHOWN_NAME, Filters, narrowed
from schemas.database.tables import machine, state

TILES_MAX: Final = 10_000
GROUPS_MAX: Final = 30
OTHERS: Final = "…"
"""The group of all machines whose own would be too small to be among GROUPS_MAX."""

BY_SYSTEM: Final = "os"
BY_LABEL: Final = "label:"
"""What a grouping by label begins with; the label's key follows."""

BY_HEALTH: Final = {"ok": "g", "warn": "w", "critical": "c"}
"""The letters of machines that are online, by their health."""

BY_PRESENCE: Final = {"stale": "s", "offline": "o", "expired": "e", "unknown": "x", RETIRED: "r"}
"""The letters of those that are not, by their presence."""

UNJUDGED: Final = "n"
"""Online, and its health is not known."""

UNVERIFIED: Final = "u"
"""The ingestor was blind and has not heard from it since."""

_LOOK: Final = case(
    (and_(state.c.verified.is_(False), PRESENCE_NOW != RETIRED), UNVERIFIED),
    (PRESENCE_NOW == "online", case(BY_HEALTH, value=HEALTH_NOW, else_=UNJUDGED)),
    else_=case(BY_PRESENCE, value=PRESENCE_NOW, else_=BY_PRESENCE["unknown"]),
)


@dataclass(frozen=True, slots=True)
class Tiles:
    """The machines that match, TILES_MAX at most, and how many match in all.

    `looks` has a letter for each machine. `groups` are names with numbers of machines, in the order of the machines;
    the empty name is of those that have none.
    """

    names: tuple[str, ...]
    titles: tuple[str, ...]
    looks: str
    groups: tuple[tuple[str, int], ...]
    total: int


def tiles(engine: Engine, org_name: str, filters: Filters, group: str) -> Tiles:
    """The machines that match, by group: the largest group first."""
    columns = (machine.c.name, func.coalesce(machine.c.hostname, machine.c.name), _LOOK, _grouping(group))
    query = narrowed(org_name, filters, *columns).order_by(SHOWN_NAME, machine.c.name).limit(TILES_MAX)
    with engine.connect() as connection:
        found = [tuple(row) for row in connection.execute(query)]
        total = len(found)
        if total == TILES_MAX:
            all_of_them = narrowed(org_name, filters, machine.c.id).subquery()
            total = connection.execute(select(func.count()).select_from(all_of_them)).scalar_one()
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
