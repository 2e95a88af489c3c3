"""Column types and groups of columns that several tables share."""

from typing import Any, Final

from sqlalchemy import BigInteger, Column, ColumnElement, Dialect, Float, Integer, SmallInteger, TypeDecorator, cast
from sqlalchemy.types import TypeEngine

from schemas.contract.messages import VITALS

BigId = BigInteger().with_variant(Integer, "sqlite")
"""A generated key. SQLite generates keys only for a column of exactly INTEGER."""

HUNDRED: Final = 100.0
_FRACTIONS: Final = ("cpu_percent", "memory_percent", "disk_percent", "swap_percent", "load_1m", "temperature_celsius")
"""Vitals that are no integers."""


class Hundredths(TypeDecorator[float]):
    """A reading with two decimals, up to ±20 million, stored as an integer: 2 bytes in SQLite instead of 8.

    Agents send no more decimals. In SQL expressions the column counts hundredths; see `as_float`.
    """

    impl = Integer
    cache_ok = True

    def process_bind_param(self, value: float | None, dialect: Any) -> int | None:  # noqa: ANN401, ARG002 - overrides
        """Convert to the stored integer."""
        return None if value is None else round(value * HUNDRED)

    def process_result_value(self, value: int | None, dialect: Any) -> float | None:  # noqa: ANN401, ARG002 - overrides
        """Convert from the stored integer."""
        return None if value is None else value / HUNDRED


class SmallHundredths(Hundredths):
    """A reading with two decimals, up to ±327: 2 bytes in PostgreSQL, too."""

    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """Return the type of the column."""
        return dialect.type_descriptor(SmallInteger() if dialect.name == "postgresql" else Integer())


def as_float(column: Column[Any]) -> ColumnElement[Any]:
    """Return the expression for a column's reading in a calculation in SQL."""
    reading: ColumnElement[Any] = cast(column, Float)
    return reading / HUNDRED if isinstance(column.type, Hundredths) else reading


def vital_columns(
    fraction: type[Float[float]] | type[Hundredths] = Float, percentage: type[Hundredths] | None = None
) -> list[Column[float] | Column[int]]:
    """Return nullable columns for the vitals, in the order of `schemas.contract.messages.Vitals`.

    `percentage`: the type of those from 0 to 100, if not that of the others that are no integers.
    """
    types = dict.fromkeys(_FRACTIONS, fraction)
    types |= {name: percentage or fraction for name in _FRACTIONS if name.endswith("_percent")}
    return [Column(name, types.get(name, BigInteger)) for name in VITALS]


def summary_columns() -> list[Column[float] | Column[int]]:
    """Return the columns of a roll-up: number, minimum, average and maximum of the readings of each vital."""
    columns: list[Column[float] | Column[int]] = []
    for vital in vital_columns(Hundredths):
        columns.append(Column(f"{vital.name}_count", Integer, nullable=False))
        types = {"min": vital.type, "avg": Float(), "max": vital.type}
        columns += [Column(f"{vital.name}_{part}", type_) for part, type_ in types.items()]
    return columns
