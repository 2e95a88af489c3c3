import pytest

from runtime.durations import duration, seconds


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


@pytest.mark.parametrize(
    ("text", "expected"), [("90", 90), ("90s", 90), ("15m", 900), ("15 min", 900), ("1h", 3600), ("0.5d", 43_200)]
)
def test_a_length_of_time_is_read_as_people_write_it(text: str, expected: float) -> None:
    assert seconds(text) == expected


@pytest.mark.parametrize("text", ["", "soon", "-1h", "0", "1w", "1h 5m", "1e9"])
def test_what_is_no_length_of_time_is_refused_with_a_sentence(text: str) -> None:
    with pytest.raises(ValueError, match="is not a duration: write 90s, 15m, 1h or 7d"):
        seconds(text)
