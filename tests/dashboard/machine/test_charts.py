from typing import Any

from dashboard.machine import charts
from dashboard.machine.charts import ExtraMetric, MachineHistory
from schemas.contract.messages import VITALS


def row(at: int, **values: float) -> dict[str, Any]:
    return {"at": at, **dict.fromkeys(VITALS), **values}


def test_a_metric_that_a_collector_describes_gets_a_chart_with_nothing_edited() -> None:
    info = {
        "metrics": [
            {"name": "cpu_percent", "unit": "percent", "title": "CPU"},
            {"name": "fan_rpm", "unit": "rpm", "title": "Fan"},
        ]
    }
    extras = charts.metrics(info)
    assert extras == [ExtraMetric("fan_rpm", "Fan", "rpm")]
    rows = [row(0, **{"extra.fan_rpm": 1000.0}), row(10_000, **{"extra.fan_rpm": 1100.0})]
    (chart,) = charts.of_history(rows, extras, spacing=10_000)
    assert (chart.title, chart.scale.unit) == ("Fan", "rpm")
    assert chart.lines[0].points == [(0, 1000.0), (10_000, 1100.0)]


def test_a_machine_that_says_nothing_about_itself_has_no_extra_metrics() -> None:
    assert charts.metrics(None) == []
    assert charts.metrics({}) == []


def test_charts_without_a_value_are_left_out() -> None:
    rows = [row(0, cpu_percent=1.0), row(10_000, cpu_percent=2.0)]
    assert [chart.key for chart in charts.of_history(rows, [], spacing=10_000)] == ["usage"]
    assert charts.of_history([], [], spacing=10_000) == []


def test_traffic_is_shown_as_rates() -> None:
    rows = [row(i * 10_000, network_received_bytes=i * 50_000, network_sent_bytes=i * 10) for i in range(3)]
    (chart,) = charts.of_history(rows, [], spacing=10_000)
    assert (chart.key, chart.scale.unit) == ("network", "kB/s")
    assert chart.lines[0].points[-1] == (20_000, 5000.0)


def test_rows_of_rollups_make_lines_with_a_lowest_and_a_highest() -> None:
    extremes = {f"{name}:{which}": None for name in VITALS for which in ("min", "max")}
    values = {"cpu_percent": 2.0, "cpu_percent:min": 1.0, "cpu_percent:max": 9.0}
    (chart,) = charts.of_history([{**row(0), **extremes, **values}], [], spacing=60_000)
    line = chart.lines[0]
    assert (line.points, line.low, line.high) == ([(0, 2.0)], [(0, 1.0)], [(0, 9.0)])


def test_an_earlier_time_is_a_line_of_its_own_beside_the_present_one() -> None:
    rows, before = [row(0, cpu_percent=1.0), row(10_000, cpu_percent=2.0)], [row(0, cpu_percent=9.0)]
    (chart,) = charts.of_history(rows, [], spacing=10_000, earlier=before, earlier_name="day before")
    shown = [(line.name, line.of) for line in chart.lines if any(value is not None for _, value in line.points)]
    assert shown == [("CPU", None), ("CPU (day before)", 0)]


def test_machines_share_a_chart_per_reading_with_lines_in_the_same_order() -> None:
    one = MachineHistory("attic", [row(0, cpu_percent=1.0, load_1m=2.0), row(10_000, cpu_percent=2.0)], 10_000)
    other = MachineHistory("cellar", [row(0, cpu_percent=5.0), row(60_000, cpu_percent=6.0)], 60_000)
    found = charts.of_machines([one, other], [])
    assert [chart.key for chart in found] == ["cpu_percent", "load_1m"]
    assert all([line.name for line in chart.lines] == ["attic", "cellar"] for chart in found)
    assert found[0].lines[1].points == [(0, 5.0), (60_000, 6.0)]
    assert charts.of_machines([], []) == []
