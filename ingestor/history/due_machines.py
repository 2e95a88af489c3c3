"""Which machines have something to prune: one query per table for many machines, instead of a transaction for each.

Invariant: a machine with old rows is found. One that is found without any costs a small transaction.
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Final

from sqlalchemy import ColumnElement, Engine, Table, and_, exists, func, or_, select
from sqlalchemy.engine import Connection

from schemas.database.tables import alert, dirty, fact_change, hour, machine, minute, pruned, transition
from schemas.fleet.history import DAY, HOUR, MINUTE

PAGE: Final = 50
"""Machines that are looked at together."""


@dataclass(frozen=True, slots=True)
class Due:
    """Machines of one organisation with old rows, by what is old."""

    org_id: int
    samples: Sequence[int]
    minutes: Sequence[int]
    hours: Sequence[int]
    transitions: Sequence[int]
    fact_changes: Sequence[int]
    alerts: Sequence[int]
    waiting: Sequence[int]
    """Machines with marks that would wait for more than a day."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Times before which rows of an organisation's machines are old."""

    samples: int
    minutes: int
    hours: int
    events: int


class Pages:
    """The machines of a fleet in pages, each of which has its part of the hour."""

    def __init__(self, engine: Engine) -> None:
        with engine.connect() as connection:
            rows = connection.execute(select(machine.c.org_id, machine.c.id).order_by(machine.c.org_id, machine.c.id))
            machines = [(row.org_id, row.id) for row in rows]
        self._pages = [machines[start : start + PAGE] for start in range(0, len(machines), PAGE)] or [[]]

    def __len__(self) -> int:
        return len(self._pages)

    def at(self, now: int) -> int:
        """Return the number of the page whose part of the hour it is."""
        return now % HOUR * len(self._pages) // HOUR

    def machines(self, number: int) -> Iterator[tuple[int, list[int]]]:
        """Yield the organisations of a page, each with its machines."""
        for org_id, found in groupby(self._pages[number], key=lambda pair: pair[0]):
            yield org_id, [machine_id for _, machine_id in found]


def find_due(connection: Connection, org_id: int, machines: Collection[int], limits: Limits, now: int) -> Due:
    """Return which of these machines of an organisation have something to prune."""

    def having(*conditions: ColumnElement[bool]) -> list[int]:
        mine = machine.c.id.in_(machines)
        return list(connection.scalars(select(machine.c.id).where(mine, or_(*conditions)).order_by(machine.c.id)))

    kept_from = func.coalesce(
        select(pruned.c.samples_before)
        .where(pruned.c.machine_id == minute.c.machine_id)
        .correlate(minute)
        .scalar_subquery(),
        0,
    )
    return Due(
        org_id,
        samples=having(
            _has(minute, minute.c.at >= kept_from, minute.c.at < limits.samples),
            _has(minute, minute.c.at > now + DAY - MINUTE),
            _has(dirty, dirty.c.length == MINUTE, dirty.c.at > now + DAY - MINUTE),
        ),
        minutes=having(_has(minute, minute.c.at < limits.minutes)),
        hours=having(_has(hour, hour.c.at < limits.hours)),
        transitions=having(_has(transition, transition.c.at < limits.events)),
        fact_changes=having(_has(fact_change, fact_change.c.at < limits.events)),
        waiting=having(_has(dirty, dirty.c.length == MINUTE, dirty.c.due_at > now + DAY + HOUR)),
        alerts=having(_has(alert, alert.c.started_at < limits.events, alert.c.ended_at < limits.events)),
    )


def _has(table: Table, *conditions: ColumnElement[bool]) -> Any:  # noqa: ANN401 - SQLAlchemy's Exists
    return exists().where(and_(table.c.machine_id == machine.c.id, *conditions)).correlate(machine)
