import pytest

from schemas.durations import duration


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (None, "–"),
        (0, "0 s"),
        (59.4, "59 s"),
        (60, "1 min"),
        (725, "12 min 5 s"),
        (7500, "2 h 5 min"),
        (86_400, "1 d"),
        (7_358_400, "85 d 4 h"),
        (-5, "0 s"),
        (99_999 * 86_400, "99999 d"),
        (99_999 * 86_400 + 1, "over 99,999 d"),
        (2**63, "over 99,999 d"),
        (1e308, "over 99,999 d"),
        (-1e308, "0 s"),
        (float("inf"), "–"),
        (float("nan"), "–"),
    ],
)
def test_a_length_of_time_reads_well_and_never_fails(seconds: float | None, shown: str) -> None:
    assert duration(seconds) == shown
