"""Columns of the fleet that a visitor chooses, as SQL: a machine's worst device, an extra metric, or items of a list.

A code names a column: SERIES, EXTRA or FACTS, and the name of a metric or of a kind of facts. Invariants:
- Only names of the contract become part of a query.
- A number is null where the machine does not report it, which differs from 0.
"""

import re
from collections.abc import Mapping
from typing import Any, Final

from sqlalchemy import ColumnElement, Float, case, cast, func, select
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement

from schemas.database.newest_series import newest_row
from schemas.database.tables import fact, fact_list, machine, series_sample, state
from schemas.series.worst_device import lower_is_worse

SERIES: Final = "series-"
"""Prefix of a metric of series: the column has the worst device of each machine."""

EXTRA: Final = "extra-"
"""Prefix of an extra metric."""

FACTS: Final = "facts-"
"""Prefix of a kind of facts: the column has the number that `COUNTED` names, or of the items that need attention."""

_NAME: Final = re.compile(r"[a-z][a-z0-9_]{0,62}")

_PENDING: Final = fact.c.fields["pending_count"].as_string()

COUNTED: Final[Mapping[str, ColumnElement[Any]]] = {
    "containers": case((fact.c.fields["state"].as_string() != "running", 1), else_=0),
    "services": case((fact.c.health == "critical", 1), else_=0),
    "updates": case((_PENDING.regexp_match(r"^[0-9]{1,9}(\.[0-9]+)?$"), cast(_PENDING, Float)), else_=0),
}
"""Number for an item of a kind: containers that are stopped, services that failed, updates that are pending."""

_TROUBLED: Final = case((fact.c.health.in_(("critical", "fair")), 1), else_=0)

NEWEST_SERIES: Final = newest_row(machine.c.id, series_sample.c.readings)
"""The newest readings of a machine's devices as JSON."""


class _WorstReading(FunctionElement[float]):
    """The worst reading of a metric in the JSON of series: its argument."""

    type = Float()
    inherit_cache = False

    def __init__(self, readings: ColumnElement[Any], metric: str) -> None:
        super().__init__(readings)
        self.metric = metric


@compiles(_WorstReading, "sqlite")
def _for_sqlite(element: _WorstReading, compiler: SQLCompiler, **options: Any) -> str:  # noqa: ANN401 - of SQLAlchemy
    readings = compiler.process(element.clauses, **options)
    best = "min" if lower_is_worse(element.metric) else "max"
    return f"(SELECT {best}(value) FROM json_each({readings}, '$.{element.metric}'))"  # noqa: S608 - a valid name


@compiles(_WorstReading, "postgresql")
def _for_postgresql(element: _WorstReading, compiler: SQLCompiler, **options: Any) -> str:  # noqa: ANN401
    readings = compiler.process(element.clauses, **options)
    best = "min" if lower_is_worse(element.metric) else "max"
    found = f"json_each_text(CAST({readings} AS json) -> '{element.metric}')"
    return f"(SELECT {best}(CAST(value AS double precision)) FROM {found})"  # noqa: S608 - a valid name


def is_chosen_column(code: str) -> bool:
    """Return whether the code names a column."""
    return any(code.startswith(prefix) and _NAME.fullmatch(code, len(prefix)) for prefix in (SERIES, EXTRA, FACTS))


def number_of(code: str) -> ColumnElement[Any]:
    """Return the number in a column. Raises ValueError if the code names none."""
    if not is_chosen_column(code):
        raise ValueError(f"no column {code}")
    prefix, _, name = code.partition("-")
    if f"{prefix}-" == SERIES:
        return _WorstReading(NEWEST_SERIES, name)
    if f"{prefix}-" == EXTRA:
        extra: ColumnElement[Any] = state.c.extra[name].as_float()
        return extra
    mine = (fact.c.machine_id == machine.c.id, fact.c.kind == name)
    counted = select(func.sum(COUNTED.get(name, _TROUBLED))).where(*mine).correlate(machine).scalar_subquery()
    listed = (fact_list.c.machine_id == machine.c.id, fact_list.c.kind == name)
    return select(func.coalesce(counted, 0)).select_from(fact_list).where(*listed).correlate(machine).scalar_subquery()
