"""The time range in the address of a page."""

import pytest

from dashboard.page.period import LENGTH_MAX, LENGTH_MIN, Period, last_hour, without
from schemas.fleet.history import DAY, HOUR, MINUTE

NOW = 1_700_000_000_000


@pytest.mark.parametrize(
    "query", [{}, {"range": "6h"}, {"range": "7d", "compare": "week"}, {"from": str(NOW - DAY), "to": str(NOW - HOUR)}]
)
def test_an_address_names_a_range_and_the_range_the_address(query: dict[str, str]) -> None:
    period = Period.parse(query, NOW)
    assert period.address() == query
    assert Period.parse(period.address(), NOW) == period


@pytest.mark.parametrize(
    "query",
    [
        {"range": "2h"},
        {"from": "5", "to": "5"},
        {"from": "9", "to": "5"},
        {"from": "-5", "to": "5"},
        {"from": "now", "to": "5"},
        {"from": "1" * 30, "to": "2" * 30},
        {"from": "5"},
        {"compare": "month"},
    ],
)
def test_an_impossible_address_means_the_last_hour(query: dict[str, str]) -> None:
    assert Period.parse(query, NOW) == Period(NOW - HOUR, NOW, "1h")


def test_a_range_has_a_least_and_a_greatest_length_and_ends_by_now() -> None:
    period = Period.latest("1h", NOW)
    assert period.free(NOW - DAY, NOW - DAY + 10, NOW).length == LENGTH_MIN
    assert period.free(0, NOW, NOW) == Period(NOW - LENGTH_MAX, NOW, "")
    assert period.free(NOW + HOUR, NOW + 3 * HOUR, NOW) == Period(NOW - 2 * HOUR, NOW, "")
    assert period.free(NOW - HOUR, NOW - DAY, NOW) == Period(NOW - DAY, NOW - HOUR, "")


def test_a_range_moves_by_its_length_and_widens_around_its_centre() -> None:
    period = Period(NOW - 2 * HOUR, NOW - HOUR, "", "day")
    assert period.moved(-1, NOW) == Period(NOW - 3 * HOUR, NOW - 2 * HOUR, "", "day")
    assert period.moved(1, NOW) == Period(NOW - HOUR, NOW, "", "day")
    assert period.moved(1, NOW).moved(1, NOW) == period.moved(1, NOW)
    assert period.widened(NOW) == Period(NOW - 2 * HOUR - 30 * MINUTE, NOW - 30 * MINUTE, "", "day")


def test_the_rest_of_an_address_stays() -> None:
    assert without({"id": "attic", "range": "6h", "from": "1", "to": "2", "compare": "day"}) == {"id": "attic"}


def test_the_last_hour_contains_the_last_data() -> None:
    start, end = last_hour(NOW)
    assert start < NOW < end
