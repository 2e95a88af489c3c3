"""Columns of numbers: exact, whatever they contain, and small where they change little."""

import random

from hypothesis import example, given
from hypothesis import strategies as st

from schemas.series.number_columns import read_column, read_number, write_column, write_number

NUMBERS = st.one_of(
    st.none(),
    st.integers(-(2**53), 2**53),
    st.integers(0, 1000).map(lambda tenths: tenths / 10),
    st.integers(-(10**8), 10**8).map(lambda hundredths: hundredths / 100),
    st.floats(-1e300, 1e300, allow_nan=False),
)


@given(st.lists(NUMBERS, max_size=70))
@example([0.1 + 0.2])
@example([1e300, -1e300, 5e-324])
@example([2**53, -(2**53), None])
@example([-0.0, 0])
def test_what_is_read_equals_what_was_written(numbers: list[float | None]) -> None:
    assert read_column(write_column(numbers), len(numbers)) == numbers


@given(st.lists(st.integers(-(2**53), 2**53), min_size=1))
def test_an_integer_stays_an_integer(numbers: list[int]) -> None:
    assert all(type(number) is int for number in read_column(write_column(numbers), len(numbers)))


@given(st.integers(-(2**70), 2**70), st.binary(max_size=3))
def test_a_number_ends_where_the_next_begins(number: int, after: bytes) -> None:
    data = write_number(number)
    assert read_number(data + after, 0) == (number, len(data))


def test_a_column_that_does_not_change_takes_some_bytes() -> None:
    assert len(write_column([43.2] * 60)) <= 6


def test_a_percentage_takes_about_a_byte_a_reading() -> None:
    chance = random.Random(1)  # noqa: S311 - made-up readings
    assert len(write_column([round(chance.gauss(40, 3), 1) for _ in range(60)])) <= 75


def test_a_growing_counter_takes_what_its_growth_takes() -> None:
    chance = random.Random(1)  # noqa: S311 - made-up readings
    total, column = 10**12, []
    for _ in range(60):
        total += chance.randrange(50_000, 100_000)
        column.append(total)
    assert len(write_column(column)) <= 60 * 2 + 15
