"""How complete the data of a range is."""

import pytest

from schemas.fleet.availability import Span
from schemas.fleet.completeness import Completeness, not_listening_seconds
from schemas.fleet.ledger import Ledger

WITHIN = (10_000, 20_000)


@pytest.mark.parametrize(
    ("blind", "seconds"),
    [
        ([], 0.0),
        ([(0, 9_000), (20_000, 30_000)], 0.0),
        ([(0, 11_000)], 1.0),
        ([(19_500, 90_000)], 0.5),
        ([(0, 90_000)], 10.0),
        ([(12_000, 14_000), (13_000, 15_000), (12_000, 14_000)], 3.0),
        ([(18_000, 19_000), (11_000, 12_000)], 2.0),
    ],
)
def test_the_time_without_the_server_is_counted_once_and_only_in_the_range(blind: list[Span], seconds: float) -> None:
    assert not_listening_seconds(blind, WITHIN) == seconds


def test_the_samples_are_those_of_the_range_and_the_rest_is_the_ledger() -> None:
    ledger = Ledger(expected=100, stored=90, late=7, lost=10)
    assert Completeness.of(5, ledger, [(0, 11_000)], WITHIN) == Completeness(5, 100, 90, 7, 1.0)
