"""Lists of facts of one machine, and the items of one kind in a fleet, the worst first.

Invariants:
- Every query but `list_facts`, which serves the command line, is restricted to one organisation, given by name.
- Every query returns at most `limit` items.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import ColumnElement, Engine, Row, Select, String, cast, func, select

from schemas.database.queries.fetch import fetch_all
from schemas.database.tables import fact, fact_list, machine, org
from schemas.database.text_search import contains_each

ITEMS_MAX: Final = 100_000
"""Items that the command line lists: more than a machine can have."""


@dataclass(frozen=True, slots=True)
class FactSummary:
    """A list of a machine: when it was read, items by health, and the number of items that the machine left out."""

    kind: str
    known_at: int
    truncated: int
    numbers: Mapping[str | None, int]

    @property
    def total(self) -> int:
        """Number of stored items."""
        return sum(self.numbers.values())


@dataclass(frozen=True, slots=True)
class FactFilter:
    """A selection of items of one kind: words that must each occur in an item or its machine, and healths."""

    kind: str
    search: str = ""
    healths: tuple[str, ...] = ()


def list_facts(
    engine: Engine, machine_name: str, *, org_name: str | None = None, kind: str | None = None
) -> list[dict[str, Any]]:
    """Return the lists of the machines of this name, as `dashfleet facts --json` documents them."""
    lists = _lists(machine.c.name == machine_name)
    lists = lists if org_name is None else lists.where(org.c.name == org_name)
    lists = lists if kind is None else lists.where(fact_list.c.kind == kind)
    found = fetch_all(engine, lists.order_by(org.c.name, fact_list.c.kind))
    return [
        {
            "org": row.org,
            "machine": machine_name,
            "kind": row.kind,
            "at": row.known_at,
            "truncated": row.truncated,
            "items": {
                item.key: {"health": item.health, "since": item.since_at, "fields": item.fields}
                for item in fetch_all(engine, _items(row.machine_id, row.kind).limit(ITEMS_MAX))
            },
        }
        for row in found
    ]


def knows_machine(engine: Engine, machine_name: str, org_name: str | None = None) -> bool:
    """Return whether an organisation, or any, has a machine of this name."""
    query = select(machine.c.id).join(org, org.c.id == machine.c.org_id).where(machine.c.name == machine_name).limit(1)
    return bool(fetch_all(engine, query if org_name is None else query.where(org.c.name == org_name)))


def list_summaries(engine: Engine, org_name: str, machine_name: str) -> list[FactSummary]:
    """Return the lists of a machine by kind."""
    mine = (machine.c.name == machine_name, org.c.name == org_name)
    counted = (
        select(fact.c.kind, fact.c.health, func.count().label("number"))
        .select_from(fact.join(machine).join(org, org.c.id == machine.c.org_id))
        .where(*mine)
        .group_by(fact.c.kind, fact.c.health)
    )
    numbers: dict[str, dict[str | None, int]] = {}
    for row in fetch_all(engine, counted):
        numbers.setdefault(row.kind, {})[row.health] = row.number
    return [
        FactSummary(row.kind, row.known_at, row.truncated, numbers.get(row.kind, {}))
        for row in fetch_all(engine, _lists(*mine).order_by(fact_list.c.kind))
    ]


def list_items(engine: Engine, org_name: str, machine_name: str, kind: str, *, limit: int) -> list[Row[Any]]:
    """Return the items of a list of a machine, the worst first."""
    query = _fleet(org_name).where(machine.c.name == machine_name, fact.c.kind == kind)
    return fetch_all(engine, query.order_by(fact.c.rank, fact.c.key).limit(limit))


def list_fleet_items(
    engine: Engine, org_name: str, wanted: FactFilter, *, offset: int = 0, limit: int = 50
) -> list[Row[Any]]:
    """Return the items of a kind on all machines, the worst first, and of those the ones that changed last."""
    order = (fact.c.rank, fact.c.since_at.desc(), machine.c.name, fact.c.key)
    query = _fleet(org_name).where(*_conditions(wanted)).order_by(*order)
    return fetch_all(engine, query.offset(offset).limit(limit))


def count_fleet_items(engine: Engine, org_name: str, kind: str) -> dict[str | None, int]:
    """Return the number of items of a kind by health."""
    mine = fact.c.org_id == _org_id(org_name)
    query = select(fact.c.health, func.count().label("number")).where(mine, fact.c.kind == kind)
    return {row.health: row.number for row in fetch_all(engine, query.group_by(fact.c.health))}


def _conditions(wanted: FactFilter) -> Sequence[ColumnElement[bool]]:
    fields = (fact.c.key, machine.c.name, machine.c.hostname, cast(fact.c.fields, String))
    healths = [fact.c.health.in_(wanted.healths)] if wanted.healths else []
    return [fact.c.kind == wanted.kind, *healths, *contains_each(wanted.search, *fields)]


def _fleet(org_name: str) -> Select[Any]:
    query = select(fact, machine.c.name, machine.c.hostname).join_from(fact, machine)
    return query.where(fact.c.org_id == _org_id(org_name))


def _items(machine_id: int, kind: str) -> Select[Any]:
    return select(fact).where(fact.c.machine_id == machine_id, fact.c.kind == kind).order_by(fact.c.rank, fact.c.key)


def _lists(*conditions: ColumnElement[bool]) -> Select[Any]:
    joined = fact_list.join(machine).join(org, org.c.id == machine.c.org_id)
    return select(fact_list, org.c.name.label("org")).select_from(joined).where(*conditions)


def _org_id(org_name: str) -> Any:  # noqa: ANN401 - a scalar subquery
    return select(org.c.id).where(org.c.name == org_name).scalar_subquery()
