from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.fleet.availability import Availability, PresenceChange, measure_availability

HOUR = 3_600_000
DAY = (0, 24 * HOUR)


def of(
    *changes: tuple[float, str, str], first: str = "online", blind: Sequence[tuple[float, float]] = ()
) -> Availability:
    """Return the availability over a day; times are in hours."""
    made = [PresenceChange(round(at * HOUR), presence, reason) for at, presence, reason in changes]
    deaf = [(round(start * HOUR), round(end * HOUR)) for start, end in blind]
    return measure_availability(first, made, within=DAY, blind=deaf)


def test_a_machine_that_never_left_was_there_all_the_time() -> None:
    assert of() == Availability(there=24 * HOUR)
    assert of().share == 1.0


def test_silence_and_goodbyes_are_away_and_only_goodbyes_are_announced() -> None:
    found = of(
        (6, "offline", "silent"), (7, "online", "heard"), (20, "offline", "rebooting"), (22, "online", "connected")
    )
    assert found == Availability(there=21 * HOUR, away=3 * HOUR, announced=2 * HOUR, longest=2 * HOUR, times=2)
    assert found.share == 21 / 24


def test_a_stale_machine_is_there() -> None:
    assert of((6, "stale", "silent"), (7, "online", "heard")).away == 0


def test_one_that_expires_was_away_once() -> None:
    found = of((2, "offline", "stopped"), (10, "expired", "expired"))
    assert (found.times, found.longest, found.announced) == (1, 22 * HOUR, 22 * HOUR)


@pytest.mark.parametrize("first", ["unknown", "retired"])
def test_what_was_not_in_service_is_not_counted(first: str) -> None:
    assert of(first=first).share is None
    assert of((18, "online", "connected"), first=first).share == 1.0


def test_time_in_which_the_server_was_blind_is_not_counted_once_or_twice() -> None:
    found = of((4, "offline", "silent"), (8, "online", "heard"), blind=[(2, 6), (5, 6), (23, 30)])
    assert found == Availability(there=17 * HOUR, away=2 * HOUR, longest=2 * HOUR, times=1)


def test_an_absence_that_began_before_counts_from_the_beginning_of_the_time() -> None:
    assert of((-3, "offline", "silent"), (1, "online", "heard"), first="offline").away == HOUR


@given(
    st.lists(
        st.tuples(st.floats(-5, 30), st.sampled_from(["online", "stale", "offline", "expired"]), st.just("")),
        max_size=8,
    ),
    st.lists(st.tuples(st.floats(-5, 30), st.floats(-5, 30)), max_size=4),
)
def test_there_and_away_are_all_of_the_time_in_which_the_server_could_hear(
    changes: list[tuple[float, str, str]], blind: list[tuple[float, float]]
) -> None:
    spans = [(min(span), max(span)) for span in blind]
    found = of(*sorted(changes), blind=spans)
    unheard = of(blind=spans).there
    assert found.there + found.away == unheard
    assert 0 <= found.announced <= found.away
    assert found.longest <= found.away
