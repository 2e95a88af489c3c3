"""Results that visitors share."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier, Event

import pytest

from dashboard.page import shared_results
from dashboard.page.shared_results import SharedResult


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
    numbers = Numbers()
    monkeypatch.setattr(shared_results, "monotonic", lambda: numbers.now)
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


def test_a_result_is_kept_for_as_long_as_any_reader_accepts_and_an_older_one_is_dropped(numbers: Numbers) -> None:
    shared = SharedResult(numbers.read, seconds=60)
    assert (shared("home"), shared("other")) == (1, 2)
    numbers.now += 60
    assert shared("home") == 1
    numbers.now += 1
    assert shared.newer(1000, "home") == 3
    assert len(shared._entries) == 1


def test_the_number_of_results_is_bounded_and_the_newest_stay(
    numbers: Numbers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shared_results, "ENTRIES_MAX", 2)
    shared = SharedResult(numbers.read, seconds=60)
    assert [shared(name) for name in ("a", "b", "c", "b", "c", "a")] == [1, 2, 3, 2, 3, 4]


def test_readers_of_the_same_result_wait_for_one_query_and_others_do_not() -> None:
    begun, go, ran = Event(), Event(), []

    def query(name: str) -> str:
        ran.append(name)
        if name == "slow":
            begun.set()
            assert go.wait(30)
        return name

    shared = SharedResult(query, seconds=60)
    both = Barrier(3)

    def read() -> str:
        both.wait(30)
        return shared("slow")

    with ThreadPoolExecutor(2) as pool:
        reading = [pool.submit(read) for _ in range(2)]
        both.wait(30)
        assert begun.wait(30)
        assert shared("quick") == "quick"
        go.set()
        assert [each.result(30) for each in reading] == ["slow", "slow"]
    assert ran == ["slow", "quick"]


def test_a_query_that_fails_is_run_again(numbers: Numbers) -> None:
    failures = [OSError("the database is away")]

    def query(name: str) -> int:
        if failures:
            raise failures.pop()
        return numbers.read(name)

    shared: Callable[[str], int] = SharedResult(query, seconds=60)
    with pytest.raises(OSError, match="away"):
        shared("home")
    assert shared("home") == 1
