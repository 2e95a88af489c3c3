"""Values that the fleet can be filtered by: systems, agent versions and labels of an organisation's machines.

Invariants:
- A choice is one line of printable text. Anything else that a machine sends is never offered, and never accepted from
  an address.
- The bounded lists keep the most common values, so that one machine with many made-up values displaces no others.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import ColumnElement, Engine, Row, TableValuedAlias, and_, case, func

from schemas.contract.topics import is_id
from schemas.database.queries.fetch import fetch_all
from schemas.database.queries.machines import Filters, select_matching
from schemas.database.tables import machine, org

CHOICES_MAX: Final = 200
"""Values of each kind that are offered."""

_LENGTH_MAX: Final = 256


@dataclass(frozen=True, slots=True)
class Choices:
    """Values of machines that are not retired, in alphabetical order; labels as `key=value`."""

    systems: tuple[str, ...] = ()
    versions: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()


def is_choice(text: str) -> bool:
    """Return whether the text can be a filter value."""
    return 0 < len(text) <= _LENGTH_MAX and text.isprintable()


def is_label(text: str) -> bool:
    """Return whether the text is `key=value` with a valid label key."""
    key, equals, _ = text.partition("=")
    return bool(equals) and is_id(key) and is_choice(text)


def list_choices(engine: Engine, org_name: str) -> Choices:
    """Return the values that the organisation's machines can be filtered by, at most CHOICES_MAX of each kind."""
    systems, versions = (
        _sorted(row[0] for row in _commonest(engine, org_name, column) if is_choice(row[0]))
        for column in (machine.c.os, machine.c.agent_version)
    )
    return Choices(systems, versions, _sorted(label for label, _count in count_labels(engine, org_name)))


def count_versions(engine: Engine, org_name: str) -> list[tuple[str, int]]:
    """Return the most common versions of the agent, each with its number of machines, the most common first."""
    rows = [(row[0], int(row.machines)) for row in _commonest(engine, org_name, machine.c.agent_version)]
    return sorted(((version, count) for version, count in rows if is_choice(version)), key=lambda each: -each[1])


def count_labels(engine: Engine, org_name: str) -> list[tuple[str, int]]:
    """Return the most common labels in alphabetical order, each with its number of machines."""
    each = _each_label(engine.dialect.name, org_name)
    rows = _commonest(engine, org_name, each.c.key, each.c.value)
    found = ((f"{row.key}={row.value}", int(row.machines)) for row in rows)
    return sorted((label, machines) for label, machines in found if is_label(label))


def _commonest(engine: Engine, org_name: str, *columns: ColumnElement[Any]) -> list[Row[Any]]:
    """Return the most common values of these columns, each row with its number of machines."""
    query = select_matching(org_name, Filters(), *columns, func.count().label("machines"))
    query = query.where(*(column.is_not(None) for column in columns)).group_by(*columns)
    return fetch_all(engine, query.order_by(func.count().desc(), *columns).limit(CHOICES_MAX))


def _each_label(dialect: str, org_name: str) -> TableValuedAlias:
    """A row for each label of a machine.

    PostgreSQL rejects JSON that is no object, such as null, and may evaluate this before it filters by organisation:
    with CASE it never reads the labels of others.
    """
    labels = machine.c.labels
    if dialect == "postgresql":
        own = and_(org.c.name == org_name, func.json_typeof(labels) == "object")
        found = func.json_each_text(case((own, labels)))
    else:
        found = func.json_each(labels)
    return found.table_valued("key", "value", name="label", joins_implicitly=True)


def _sorted(texts: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted(texts, key=lambda text: (text.casefold(), text)))
