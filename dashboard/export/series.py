"""Export of series: the readings of devices, a row for each, or their hourly roll-ups.

Invariants:
- Memory does not grow with the export: the readings of one machine and day are in memory at a time. Days without
  readings cost nothing.
- Every query is scoped to the organisation's name, and never finds another's machines.
- Names of metrics, and with them units, are those of the contract. A reading that is null has no row.
"""

from collections.abc import Iterator
from datetime import datetime
from typing import Final

from sqlalchemy import Engine

from dashboard.export.files import Fields
from dashboard.export.formats import Rows
from dashboard.export.history import MACHINE, TIME, HistoryRange, chosen_machines
from schemas.database.series.stored_series import read_roll_ups, read_samples, roll_up_days, sample_days
from schemas.fleet.history import SAMPLES

_PLACE: Final[Fields] = {MACHINE: str, TIME: datetime, "metric": str, "device": str}
_SUMMARY: Final[Fields] = {"count": int, "minimum": float, "average": float, "maximum": float}


def fields(wanted: HistoryRange) -> Fields:
    """Return the columns: of samples the reading, of hours its summary."""
    return {**_PLACE, "value": float} if wanted.resolution == SAMPLES else {**_PLACE, **_SUMMARY}


def rows(engine: Engine, wanted: HistoryRange) -> Iterator[Rows]:
    """Yield the rows in batches, machine by machine in the order of their names, the oldest first."""
    read, days = (_samples, sample_days) if wanted.resolution == SAMPLES else (_hours, roll_up_days)
    for key, name in chosen_machines(engine, wanted):
        for start, end in days(engine, key, start=wanted.start, end=wanted.end - 1):
            yield read(engine, key, name, start, end)


def _samples(engine: Engine, key: int, name: str, start: int, end: int) -> Rows:
    return [
        {MACHINE: name, TIME: sample.at, "metric": metric, "device": device, "value": reading}
        for sample in read_samples(engine, key, start=start, end=end)
        for metric, devices in sample.readings.items()
        for device, reading in devices.items()
        if reading is not None
    ]


def _hours(engine: Engine, key: int, name: str, start: int, end: int) -> Rows:
    return [
        {MACHINE: name, TIME: at, "metric": metric, "device": device}
        | dict(zip(_SUMMARY, (found.number, found.minimum, found.average, found.maximum), strict=True))
        for at, summaries in read_roll_ups(engine, key, start=start, end=end).items()
        for (metric, device), found in summaries.items()
    ]
