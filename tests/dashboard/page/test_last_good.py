"""Results that visitors share."""

import pytest
import streamlit as st

from dashboard.page import last_good
from dashboard.page.last_good import SharedResult


class Numbers:
    """A query that counts how often it ran, and the time that passes meanwhile."""

    def __init__(self) -> None:
        self.ran: list[str] = []
        self.now = 100.0

    def read(self, org_name: str) -> int:
        self.ran.append(org_name)
        return len(self.ran)


@pytest.fixture
def numbers(monkeypatch: pytest.MonkeyPatch) -> Numbers:
    st.cache_data.clear()  # it outlives a test
    numbers = Numbers()
    monkeypatch.setattr(last_good, "monotonic", lambda: numbers.now)
    return numbers


def test_a_reader_that_needs_a_newer_result_reads_it_for_all_others(numbers: Numbers) -> None:
    shared = SharedResult(numbers.read, seconds=60)
    assert shared.newer(1, "home") == 1
    numbers.now += 2
    assert shared.newer(4, "home") == 1
    assert shared.newer(1, "home") == 2
    assert shared.newer(4, "home") == 2
    assert numbers.ran == ["home", "home"]


def test_what_is_shared_is_of_one_organisation(numbers: Numbers) -> None:
    shared = SharedResult(numbers.read, seconds=60)
    assert [shared.newer(4, name) for name in ("home", "other", "home")] == [1, 2, 1]
    numbers.now += 5
    assert shared.newer(4, "home") == 3
    assert numbers.ran == ["home", "other", "home"]
