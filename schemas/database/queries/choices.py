"""The dashboard's SQL about what the fleet can be narrowed to: the systems, versions and labels its machines have.

Invariants:
- A choice is one line of printable text. What a machine says that is not is never offered, and never taken from an
  address.
- The most common come first into the bounded lists, so that one machine that makes up values crowds out nobody's.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, Engine, Select, TableValuedAlias, case, func

from schemas.contract.topics import is_id
from schemas.database.queries.machines import Filters, narrowed
from schemas.database.tables import machine

CHOICES_MAX: Final = 200
"""How many values of each kind are offered."""

_LENGTH_MAX: Final = 256


@dataclass(frozen=True, slots=True)
class Choices:
    """What an organisation's machines have, in the order of the alphabet; labels as `key=value`. None is retired."""

    systems: tuple[str, ...] = ()
    versions: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()


def is_choice(text: str) -> bool:
    """Whether the fleet can be narrowed to this text."""
    return 0 < len(text) <= _LENGTH_MAX and text.isprintable()


def is_label(text: str) -> bool:
    """Whether this is `key=value` with a key that a label may have."""
    key, equals, _ = text.partition("=")
    return bool(equals) and is_id(key) and is_choice(text)


def choices(engine: Engine, org_name: str) -> Choices:
    """What the organisation's machines can be narrowed to, CHOICES_MAX of each kind at most."""
    each = _each_label(engine.dialect.name)
    with engine.connect() as connection:
        systems = connection.execute(_commonest(org_name, machine.c.os)).scalars().all()
        versions = connection.execute(_commonest(org_name, machine.c.agent_version)).scalars().all()
        labels = _labels(connection, org_name, each)
    return Choices(
        systems=_sorted(text for text in systems if is_choice(text)),
        versions=_sorted(text for text in versions if is_choice(text)),
        labels=_sorted(text for text in labels if is_label(text)),
    )


def labels(engine: Engine, org_name: str) -> list[tuple[str, int]]:
    """The labels that most machines have, by the alphabet, each with how many have it."""
    each = _each_label(engine.dialect.name)
    query = _commonest(org_name, each.c.key, each.c.value).add_columns(func.count().label("machines"))
    with engine.connect() as connection:
        found = [(f"{row.key}={row.value}", int(row.machines)) for row in connection.execute(query)]
    return sorted((label, machines) for label, machines in found if is_label(label))


def _labels(connection: Connection, org_name: str, each: TableValuedAlias) -> list[str]:
    rows = connection.execute(_commonest(org_name, each.c.key, each.c.value))
    return [f"{row.key}={row.value}" for row in rows]


def _commonest(org_name: str, *columns: ColumnElement[Any]) -> Select[Any]:
    """The values of these columns that most machines have."""
    return (
        narrowed(org_name, Filters(), *columns)
        .where(*(column.is_not(None) for column in columns))
        .group_by(*columns)
        .order_by(func.count().desc(), *columns)
        .limit(CHOICES_MAX)
    )


def _each_label(dialect: str) -> TableValuedAlias:
    """A row for each label of a machine. PostgreSQL refuses to take apart what is no object, such as a JSON null."""
    labels = machine.c.labels
    if dialect == "postgresql":
        found = func.json_each_text(case((func.json_typeof(labels) == "object", labels)))
    else:
        found = func.json_each(labels)
    return found.table_valued("key", "value", name="label", joins_implicitly=True)


def _sorted(texts: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted(texts, key=lambda text: (text.casefold(), text)))
