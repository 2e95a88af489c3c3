import json

import pytest

from dashboard.i18n.text import UnitScale
from dashboard.widgets import charts
from dashboard.widgets.charts import ChartFrame, ChartLine, ChartMark

SECOND = 1000


def points(*pairs: tuple[int, float | None]) -> list[charts.Point]:
    return [(at * SECOND, value) for at, value in pairs]


def test_a_hole_longer_than_two_and_a_half_intervals_is_a_gap() -> None:
    drawn = charts.with_gaps(points((0, 1.0), (10, 2.0), (35, 3.0), (61, 4.0)), spacing=10 * SECOND)
    assert drawn == points((0, 1.0), (10, 2.0), (35, 3.0), (45, None), (61, 4.0))


def test_no_samples_are_no_points() -> None:
    assert charts.with_gaps([], spacing=1) == []
    assert not charts.has_values([(1, None)])


def test_rates_are_growth_per_second() -> None:
    rows = [{"at": 0, "sent": 0}, {"at": 10_000, "sent": 500}, {"at": 20_000, "sent": 2500}]
    assert charts.rates(rows, "sent", spacing=10_000) == points((10, 50.0), (20, 200.0))


def test_a_counter_that_starts_again_has_no_rate_there() -> None:
    rows = [{"at": 0, "sent": 900}, {"at": 10_000, "sent": 100}, {"at": 20_000, "sent": 200}]
    assert charts.rates(rows, "sent", spacing=10_000) == points((10, None), (20, 10.0))


def test_a_counter_has_no_rate_across_a_hole_or_a_missing_reading() -> None:
    readings = {0: 0, 60_000: 6000, 70_000: None, 80_000: 9}
    rows = [{"at": at, "sent": sent} for at, sent in readings.items()]
    assert [value for _, value in charts.rates(rows, "sent", spacing=10_000)] == [None, None, None]


@pytest.mark.parametrize(("hours", "interval"), [(1, 10), (6, 10), (24, 1), (48, 10), (48, 0.05), (1, 3600)])
def test_a_range_never_has_more_points_than_a_screen_shows(hours: int, interval: float) -> None:
    length = hours * 3_600_000
    step = charts.step(length, interval)
    assert length // step + 1 <= charts.POINTS_MAX
    assert charts.spacing(step, interval) >= max(step, interval * 1000)


def test_samples_that_come_a_little_early_or_late_make_no_gap() -> None:
    step = charts.step(3_600_000, 10)
    buckets = {(at + wobble) // step for at, wobble in zip(range(0, 600_000, 10_000), [0, 900, -900] * 20, strict=True)}
    assert len(buckets) == 60


def test_the_axis_is_the_range_that_was_asked_for() -> None:
    lines = [ChartLine("CPU", points((5, 1.0)))]
    spec = charts.options(
        lines,
        ChartFrame(start=0, end=60_000, scale=UnitScale("%", 1.0), bounds=(0.0, 100.0), day="{d}/{M}", ink="#000000"),
    )
    assert (spec["xAxis"]["min"], spec["xAxis"]["max"]) == (0, 60_000)
    assert (spec["yAxis"]["min"], spec["yAxis"]["max"], spec["yAxis"]["interval"]) == (0.0, 100.0, 25.0)
    json.dumps(spec, allow_nan=False)


def test_lines_are_never_drawn_across_a_gap_and_a_lonely_point_gets_a_dot() -> None:
    lines = [ChartLine("CPU", points((0, 1.0), (10, 2.0), (20, None), (30, 7.0)))]
    spec = charts.options(
        lines,
        ChartFrame(start=0, end=60_000, scale=UnitScale("", 1.0), bounds=(None, None), day="{d}/{M}", ink="#000000"),
    )
    (series,) = spec["series"]
    assert series["connectNulls"] is False
    assert series["data"] == [
        [0, 1.0],
        [10_000, 2.0],
        [20_000, None],
        {"value": [30_000, 7.0], "symbol": "circle", "symbolSize": 4},
    ]


def test_the_largest_of_all_lines_decides_the_unit_of_an_axis() -> None:
    assert charts.top([ChartLine("Sent", [(0, None), (1, 2e6)]), ChartLine("Received", [(0, -3e6)])]) == 3e6
    assert charts.top([ChartLine("Sent", [(0, None)])]) == 0.0


@pytest.mark.parametrize(("unit", "label"), [("{c", "{value} c"), ("{value}{c}", "{value}"), ("%", "{value} %")])
def test_a_unit_cannot_smuggle_a_placeholder_into_the_axis(unit: str, label: str) -> None:
    frame = ChartFrame(start=0, end=1, scale=UnitScale(unit, 1), bounds=(None, None), day="{d}/{M}", ink="")
    assert charts.options([ChartLine("x", [])], frame)["yAxis"]["axisLabel"]["formatter"] == label


def test_marks_are_lines_and_areas_within_the_range() -> None:
    marks = (
        ChartMark(at=-50, colour="red", until=10),
        ChartMark(at=20, colour="blue"),
        ChartMark(at=90, colour="red", until=200),
        ChartMark(at=101, colour="red"),
        ChartMark(at=-9, colour="red", until=-1),
    )
    frame = ChartFrame(0, 100, UnitScale("", 1), (None, None), day="", ink="", marks=marks)
    (series,) = charts.options([ChartLine("x", points((0, 1.0)))], frame)["series"]
    assert [line["xAxis"] for line in series["markLine"]["data"]] == [20, 90]
    assert [[end["xAxis"] for end in area] for area in series["markArea"]["data"]] == [[0, 10], [90, 100]]


def test_a_line_of_an_earlier_time_is_dashed_in_the_colour_of_its_line() -> None:
    lines = [ChartLine("CPU", points((0, 1.0))), ChartLine("Day before", points((0, 2.0)), of=0)]
    frame = ChartFrame(0, 100, UnitScale("", 1), (None, None), day="", ink="", colours=("red", "blue"))
    now, earlier = charts.options(lines, frame)["series"]
    assert "type" not in now["lineStyle"]
    assert (earlier["lineStyle"]["type"], earlier["itemStyle"]["color"]) == ("dashed", "red")


@pytest.mark.parametrize("hours", [1, 24, 7 * 24, 365 * 24])
def test_a_step_over_rollups_is_whole_rows(hours: int) -> None:
    for row in (60_000, 3_600_000):
        step = charts.step(hours * 3_600_000, 10, row)
        assert step >= row
        assert step % row == 0
        assert hours * 3_600_000 // step + 1 <= charts.POINTS_MAX


def test_averages_have_a_band_from_lowest_to_highest_with_the_same_gaps() -> None:
    line = ChartLine(
        "CPU",
        points((0, 20.0), (10, None), (20, 30.0)),
        low=points((0, -10.0), (10, None), (20, 25.0)),
        high=points((0, 50.0), (10, None), (20, 40.0)),
    )
    spec = charts.options(
        [line], ChartFrame(start=0, end=60_000, scale=UnitScale("", 10.0), bounds=(None, None), day="{d}/{M}", ink="")
    )
    average, base, area = spec["series"]
    assert {series["name"] for series in spec["series"]} == {"CPU"}
    assert base["data"] == [[0, -1.0], [10_000, None], [20_000, 2.5]]
    assert area["data"] == [[0, 6.0], [10_000, None], [20_000, 1.5]]
    assert base["stack"] == area["stack"]
    assert area["areaStyle"]["opacity"] > 0
    assert "areaStyle" not in base
    assert "areaStyle" not in average
    assert "stack" not in average
    json.dumps(spec, allow_nan=False)
