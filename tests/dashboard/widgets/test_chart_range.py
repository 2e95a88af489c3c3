"""A time range that a browser sends."""

import pytest

from dashboard.widgets.chart_range import read_range


def test_a_range_is_two_times() -> None:
    assert read_range([1000, 2000.0]) == (1000, 2000)


@pytest.mark.parametrize(
    "sent",
    [None, "12", [], [1], [1, 2, 3], [2, 1], [1, 1], ["1", "2"], [-1, 2], [float("nan"), 2], [1, 1e30], {"a": 1}],
)
def test_anything_else_is_none(sent: object) -> None:
    assert read_range(sent) is None
