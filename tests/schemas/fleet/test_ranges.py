from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.fleet.ranges import Ranges

PIECES = st.lists(st.tuples(st.integers(1, 60), st.integers(0, 8)), max_size=30)


@given(PIECES)
def test_ranges_hold_exactly_what_was_added(pieces: list[tuple[int, int]]) -> None:
    ranges, model = Ranges(), set[int]()
    for first, more in pieces:
        ranges.add(first, first + more)
        model |= set(range(first, first + more + 1))
    assert {number for number in range(80) if number in ranges} == model
    assert len(ranges) == len(model)


@given(PIECES)
def test_ranges_are_sorted_disjoint_and_never_adjacent(pieces: list[tuple[int, int]]) -> None:
    ranges = list(Ranges((first, first + more) for first, more in pieces))
    assert all(first <= last for first, last in ranges)
    assert all(earlier[1] + 1 < later[0] for earlier, later in pairwise(ranges))


@given(PIECES)
def test_a_written_set_reads_back_equal(pieces: list[tuple[int, int]]) -> None:
    ranges = Ranges((first, first + more) for first, more in pieces)
    assert list(Ranges.parse(str(ranges))) == list(ranges)


@given(PIECES, st.integers(1, 70), st.integers(0, 20))
def test_counting_within_bounds_agrees_with_counting_one_by_one(
    pieces: list[tuple[int, int]], first: int, more: int
) -> None:
    ranges = Ranges((start, start + length) for start, length in pieces)
    assert ranges.within(first, first + more) == sum(number in ranges for number in range(first, first + more + 1))


def test_numbers_in_a_row_stay_one_range() -> None:
    ranges = Ranges()
    for number in range(1, 1001):
        ranges.add(number)
    assert str(ranges) == "1-1000"


def test_the_range_around_a_number_is_found_only_for_numbers_in_the_set() -> None:
    ranges = Ranges([(1, 5), (8, 8)])
    assert ranges.around(3) == (1, 5)
    assert ranges.around(8) == (8, 8)
    assert ranges.around(6) is None


def test_what_is_not_a_set_of_numbers_is_refused() -> None:
    with pytest.raises(ValueError, match="invalid literal"):
        Ranges.parse("1-x")
