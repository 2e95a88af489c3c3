import random

import pytest

from schemas.fleet.forecast import DAY, DAYS_MIN, Forecast, Outlook, forecast_disk


def days(*percents: float) -> list[tuple[int, float]]:
    return [((100 + number) * DAY, percent) for number, percent in enumerate(percents)]


def test_a_disk_that_grows_by_two_points_a_day_is_full_when_the_line_says_so() -> None:
    found = forecast_disk(days(*(60 + 2 * number for number in range(10))))
    assert found.outlook is Outlook.FULL
    assert found.per_day == pytest.approx(2.0)
    assert found.full_at == pytest.approx(120 * DAY)


def test_a_little_noise_does_not_move_the_date_far() -> None:
    chance = random.Random(1)  # noqa: S311 - a repeatable one
    found = forecast_disk(days(*(50 + number + chance.uniform(-0.5, 0.5) for number in range(30))))
    assert found.full_at is not None
    assert abs(found.full_at / DAY - 150) < 2


@pytest.mark.parametrize(
    "percents",
    [
        [50.0] * 10,
        [90.0 - number for number in range(10)],
        [60.0, 80.0, 95.0, 60.0, 80.0, 95.0, 60.0, 80.0, 95.0, 61.0],
    ],
    ids=["still", "falling", "filled and cleared in turns"],
)
def test_there_is_no_date_without_a_trend(percents: list[float]) -> None:
    assert forecast_disk(days(*percents)) == Forecast(Outlook.NO_TREND)


def test_nothing_is_said_from_a_few_days() -> None:
    assert forecast_disk(days(*range(DAYS_MIN - 1))).outlook is Outlook.SHORT
    assert forecast_disk([]).outlook is Outlook.SHORT


def test_what_is_more_than_a_year_ahead_has_no_date() -> None:
    found = forecast_disk(days(*(10 + 0.01 * number for number in range(30))))
    assert (found.outlook, found.full_at) == (Outlook.SLOW, None)


def test_a_disk_that_is_full_is_full_now_not_in_the_past() -> None:
    found = forecast_disk(days(70, 90, 99, 100, 100, 100))
    assert found.full_at is not None
    assert found.full_at >= 105 * DAY
