"""The gauges of a machine: greyed when they are not current, and when its disk will be full."""

from datetime import UTC
from types import SimpleNamespace
from typing import Any

import pytest

from dashboard.machine import gauges
from dashboard.machine.charts import ExtraMetric
from schemas.contract.messages import VITALS
from schemas.fleet.forecast import DAY, Forecast, Outlook

NOW = 1_700_000_000_000


def drawn(forecast: Forecast = Forecast(Outlook.SHORT), **given: Any) -> str:  # noqa: ANN401, B008
    row = dict.fromkeys(VITALS) | {"info": {}, "extra": {"fan_rpm": 900.0}, "interval_seconds": 10.0}
    row |= {"current": True, "as_of": NOW, "health_status": "ok", "health_score": 90, "disk_percent": 98.0, **given}
    extras = [ExtraMetric("fan_rpm", "Fan", "rpm")]
    recent = [
        {"at": NOW - i * 10_000, "network_received_bytes": (9 - i) * 1000, "network_sent_bytes": None}
        for i in range(2, -1, -1)
    ]
    return gauges.draw(SimpleNamespace(**row), extras, None, recent, forecast, NOW, UTC)  # type: ignore[arg-type]


def test_readings_that_are_current_have_the_colour_of_their_status() -> None:
    html = drawn()
    assert "df-bad" in html
    assert "df-aged" not in html
    assert "100 B/s" in html


def test_readings_that_are_not_current_are_greyed_with_their_time_and_without_rates() -> None:
    html = drawn(current=False, health_score=None, health_status="unknown", as_of=NOW - 60_000)
    assert html.count("df-aged") == 2
    assert "as of 22:12" in html
    assert "df-bad" not in html
    assert "B/s" not in html
    assert "98 %" in html


@pytest.mark.parametrize(
    ("days", "said"),
    [(0.2, "full within a day"), (1.4, "full in 1 day"), (9, "full in 9 days"), (-3, "full within a day"), (90, "")],
)
def test_a_disk_that_fills_up_says_when(days: float, said: str) -> None:
    forecast = Forecast(Outlook.FULL, 1.0, NOW + round(days * DAY))
    assert gauges.full(forecast, NOW) == said
    assert (said in drawn(forecast)) if said else ("full" not in drawn(forecast))


def test_a_disk_without_a_trend_says_nothing_nor_does_a_machine_that_is_offline() -> None:
    assert gauges.full(Forecast(Outlook.NO_TREND), NOW) == ""
    assert "full in" not in drawn(Forecast(Outlook.FULL, 1.0, NOW + 9 * DAY), current=False)
