"""The gauges of a machine with its live readings in place of the stored ones, and lines of the last minutes. Pure."""

from collections.abc import Sequence
from datetime import UTC
from types import SimpleNamespace
from typing import Any, Final, cast

from sqlalchemy import Row

from broker.client.live_client import LiveReading
from dashboard.i18n.language import _
from dashboard.machine import charts, gauges
from dashboard.widgets import markup
from schemas.contract.live import LIVE_SECONDS
from schemas.contract.org_config import Thresholds
from schemas.fleet.forecast import Forecast
from schemas.fleet.health import health

LINE_MILLISECONDS: Final = 120_000
"""Time that the lines show."""

_GAP_MILLISECONDS: Final = 3500


def draw(row: Row[Any], readings: Sequence[LiveReading], thresholds: Thresholds, forecast: Forecast, now: int) -> str:
    """Return the gauges as HTML. `row`: the machine as stored; `readings`: at least one, the newest last."""
    newest = readings[-1].reading
    vitals = newest.vitals.model_dump()
    score = health(newest.vitals.cpu_percent, newest.vitals.memory_percent, newest.vitals.disk_percent, thresholds)
    live = SimpleNamespace(
        **{
            **row._asdict(),
            **vitals,
            "extra": newest.extra,
            "health_score": score.score,
            "health_status": score.status.value,
            "current": True,
            "interval_seconds": LIVE_SECONDS,
        }
    )
    recent = [{"at": each.reading.at, **each.reading.vitals.model_dump()} for each in readings[-10:]]
    shown = gauges.draw(cast("Row[Any]", live), charts.metrics(row.info), thresholds, recent, forecast, now, UTC)
    return shown + lines(readings, now)


def lines(readings: Sequence[LiveReading], now: int) -> str:
    """Return lines of the processor and the memory over the last two minutes, as HTML."""
    named = [(_("CPU"), "cpu_percent"), (_("Memory"), "memory_percent")]
    drawn = [
        markup.line(_("{name}, last 2 minutes", name=name), paths(readings, reading, now)) for name, reading in named
    ]
    return markup.lines_beside(drawn)


def paths(readings: Sequence[LiveReading], name: str, now: int) -> list[list[tuple[float, float]]]:
    """Return the points of a percentage in a square of 100: from left to right, with a new path after each gap."""
    found: list[list[tuple[float, float]]] = []
    before = None
    for each in readings:
        value = getattr(each.reading.vitals, name)
        x = 100 * (1 - (now - each.at) / LINE_MILLISECONDS)
        if value is None or x < 0:
            before = None
            continue
        if before is None or each.at - before > _GAP_MILLISECONDS:
            found.append([])
        found[-1].append((round(min(x, 100.0), 2), round(100 - value, 2)))
        before = each.at
    return found
