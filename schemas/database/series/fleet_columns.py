"""Chosen columns of the fleet: their numbers on some machines, and which columns can be chosen.

Invariant: every query is scoped to the name of an organisation.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from pydantic_core import from_json
from sqlalchemy import Engine, select

from schemas.database.chosen_columns import COUNTED, EXTRA, FACTS, NEWEST_SERIES, SERIES, is_chosen_column, number_of
from schemas.database.queries.fetch import fetch_all
from schemas.database.queries.machines import select_machines
from schemas.database.series.stored_series import known_readings
from schemas.database.tables import fact_list, machine, state
from schemas.series.worst_device import worst_device

ASKED_MAX: Final = 100
"""Machines that are asked which metrics they describe: those that were seen last."""

CHOICES_MAX: Final = 200


@dataclass(frozen=True, slots=True)
class ChosenNumber:
    """The number in a column, and for a metric of series the device that has it."""

    value: float
    device: str = ""


@dataclass(frozen=True, slots=True)
class ColumnChoice:
    """A column that can be chosen: of a metric with the title and unit that a machine states, of a list without.

    `device` is the kind of its devices.
    """

    code: str
    title: str = ""
    unit: str = ""
    device: str = ""


Numbers = Mapping[str, Mapping[str, ChosenNumber]]
"""Machine to code to number; what a machine does not report is missing."""


def read_numbers(engine: Engine, org_name: str, names: Sequence[str], codes: Sequence[str]) -> Numbers:
    """Return the numbers in these columns of these machines."""
    valid = [code for code in dict.fromkeys(codes) if is_chosen_column(code)]
    if not valid:
        return {}
    series = [code for code in valid if code.startswith(SERIES)]
    others = [code for code in valid if code not in series]
    columns = [number_of(code).label(code) for code in others]
    if series:
        columns.append(NEWEST_SERIES.label("readings"))
    query = select_machines(org_name, machine.c.name, *columns).where(machine.c.name.in_(names))
    found: dict[str, dict[str, ChosenNumber]] = {}
    for row in fetch_all(engine, query):
        values = row._mapping  # noqa: SLF001 - a public name of SQLAlchemy
        numbers = {code: ChosenNumber(values[code]) for code in others if values[code] is not None}
        found[row.name] = numbers | dict(_worst(series, values.get("readings")))
    return found


def list_column_choices(engine: Engine, org_name: str) -> list[ColumnChoice]:
    """Return the columns for what the machines that were seen last report: lists first, then metrics by title."""
    query = select_machines(org_name, machine.c.id, machine.c.info).order_by(state.c.last_seen_at.desc().nulls_last())
    asked = fetch_all(engine, query.limit(ASKED_MAX))
    described = {choice.code: choice for row in reversed(asked) for choice in _described(row.info or {})}
    kinds = select(fact_list.c.kind).distinct().where(fact_list.c.machine_id.in_([row.id for row in asked]))
    listed = {row.kind for row in fetch_all(engine, kinds)}
    known = [kind for kind in COUNTED if kind in listed]
    lists = [ColumnChoice(f"{FACTS}{kind}") for kind in (*known, *sorted(listed - set(known)))]
    metrics = sorted(described.values(), key=lambda choice: (choice.title.casefold(), choice.code))
    return [choice for choice in (*lists, *metrics) if is_chosen_column(choice.code)][:CHOICES_MAX]


def _worst(codes: Sequence[str], text: str | None) -> Iterator[tuple[str, ChosenNumber]]:
    readings = known_readings(from_json(text)) if text and codes else {}
    for code in codes:
        metric = code.removeprefix(SERIES)
        worst = worst_device(metric, readings.get(metric, {}))
        if worst is not None:
            yield code, ChosenNumber(worst[1], worst[0])


def _described(info: Mapping[str, Any]) -> Iterator[ColumnChoice]:
    """Yield the columns of the metrics that a machine describes: no vitals, which have columns, and no counters."""
    for metric in info.get("metrics") or ():
        location, name = metric.get("location") or EXTRA.rstrip("-"), str(metric.get("name"))
        if location != "vitals" and metric.get("kind") != "counter" and not hasattr(state.c, name):
            title, unit, device = (str(metric.get(field) or "") for field in ("title", "unit", "device"))
            yield ColumnChoice(f"{location}-{name}", title, unit, device)
