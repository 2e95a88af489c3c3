import pytest

from schemas.fleet.history import HOUR, HOURS, MINUTE, MINUTES, SAMPLES, Resolution, Retention, choose_resolution

DAY = 24 * HOUR


@pytest.mark.parametrize(
    ("step", "age", "expected"),
    [
        (MINUTE - 1, HOUR, SAMPLES),
        (MINUTE, HOUR, MINUTES),
        (HOUR - 1, DAY, MINUTES),
        (HOUR, DAY, HOURS),
        (1, 2 * DAY, SAMPLES),
        (1, 2 * DAY + 1, MINUTES),
        (1, 14 * DAY, MINUTES),
        (1, 14 * DAY + 1, HOURS),
        (MINUTE, 14 * DAY + 1, HOURS),
    ],
)
def test_the_coarsest_history_that_serves_is_read_and_a_coarser_one_where_that_is_gone(
    step: int, age: int, expected: Resolution
) -> None:
    assert choose_resolution(step=step, age=age, retention=Retention()) == expected


def test_an_organisation_that_keeps_more_or_less_is_read_accordingly() -> None:
    brief = Retention(samples_seconds=3600, minutes_seconds=7200)
    assert choose_resolution(step=1, age=HOUR, retention=brief) == SAMPLES
    assert choose_resolution(step=1, age=HOUR + 1, retention=brief) == MINUTES
    assert choose_resolution(step=1, age=2 * HOUR + 1, retention=brief) == HOURS
    assert (
        choose_resolution(
            step=1, age=30 * DAY, retention=Retention(samples_seconds=31 * 86_400, minutes_seconds=31 * 86_400)
        )
        == SAMPLES
    )
