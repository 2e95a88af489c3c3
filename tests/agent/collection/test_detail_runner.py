"""Detail collectors run beside the samples, and one that is faulty loses only its own values."""

import threading
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import ClassVar

import pytest
from clocks import Clock
from waiting import wait_until

from agent.collection.detail_runner import DetailRunner
from agent.collection.detail_schedule import LEAD_SECONDS
from agent.collection.facts_publisher import FactsPublisher
from agent.collector import DetailCollector, Details, Item
from runtime.settings.agent import AgentSettings
from schemas.contract.messages import DEVICES_MAX, SERIES_READINGS_MAX, Metric

SETTINGS = AgentSettings(data=Path("unused"), machine="attic", interval_seconds=10, detail_interval_seconds=60)


class Fans(DetailCollector):
    """Returns what the test sets."""

    metrics: ClassVar[tuple[Metric, ...]] = (
        Metric(name="fan_rpm", unit="rpm", title="Fan", location="series", device="fan"),
    )
    facts: ClassVar[tuple[str, ...]] = ("fans",)

    def __init__(self, behave: Callable[[], object] | None = None) -> None:
        super().__init__(SETTINGS)
        self.calls = 0
        self.is_present = True
        self.behave = behave or (lambda: Details({"fan_rpm": {"front": 900}}, {"fans": {"front": Item({"rpm": 900})}}))

    def present(self) -> bool:
        return self.is_present

    def collect(self) -> Details:
        self.calls += 1
        return self.behave()  # type: ignore[return-value]  # what a plug-in must not do


class Disks(Fans):
    metrics = (
        Metric(name="disk_busy_percent", unit="percent", title="Busy", location="series", device="disk"),
        Metric(name="disk_read_bytes", unit="bytes", title="Read", location="series", device="disk", kind="counter"),
    )
    facts = ("disks",)

    def __init__(self, behave: Callable[[], object] | None = None) -> None:
        super().__init__(behave or (lambda: Details({"disk_busy_percent": {"sda": 12.34, "sdb": 7.0}})))


class Rounds:
    """A runner whose rounds run at once in this thread, and the samples of its machine."""

    def __init__(self, clock: Clock, directory: Path, *collectors: DetailCollector, threads: bool = False) -> None:
        self.clock = clock
        publisher = FactsPublisher(directory / "facts.json", clock)
        self.runner = DetailRunner(collectors, SETTINGS, clock, publisher)
        if not threads:
            self.runner._start = lambda work: work()
        self.due_at = clock.monotonic() + 1

    def sample(self) -> dict[str, dict[str, float | None]]:
        """Go to the next sample, as the agent does, and return its series."""
        at = min(self.due_at, max(self.clock.monotonic(), self.runner.next_step_at(self.due_at)))
        self.clock.advance(at - self.clock.monotonic())
        self.runner.step(self.due_at)
        self.clock.advance(self.due_at - self.clock.monotonic())
        self.due_at += SETTINGS.interval_seconds
        return self.runner.take()


@pytest.fixture
def rounds(clock: Clock, tmp_path: Path) -> Callable[..., Rounds]:
    return lambda *collectors, threads=False: Rounds(clock, tmp_path, *collectors, threads=threads)


def test_a_collector_that_costs_much_is_not_read_when_the_agent_starts(rounds: Callable[..., Rounds]) -> None:
    class Packages(Fans):
        first_after_seconds = 120.0

    packages = Packages()
    running = rounds(packages)
    began_at = running.clock.monotonic()
    while not packages.calls:
        running.sample()
    assert 120.0 <= running.clock.monotonic() - began_at < 120.0 + 2 * SETTINGS.detail_interval_seconds


def test_the_first_two_samples_and_the_first_of_each_interval_have_series(rounds: Callable[..., Rounds]) -> None:
    fans = Fans()
    running = rounds(fans)

    with_series = [number for number in range(26) if running.sample()]

    assert with_series[:2] == [0, 1]
    later = with_series[2:]
    assert len(later) == 4
    assert {after - before for before, after in pairwise(later)} == {6}
    assert fans.calls == len(with_series)


def test_a_round_begins_a_little_before_its_sample(rounds: Callable[..., Rounds], clock: Clock) -> None:
    running = rounds(Fans())
    running.sample()

    assert running.runner.next_step_at(running.due_at) == running.due_at - LEAD_SECONDS
    assert running.due_at - clock.monotonic() == SETTINGS.interval_seconds


def test_collectors_are_active_while_they_find_something(rounds: Callable[..., Rounds]) -> None:
    fans, disks = Fans(), Disks()
    fans.is_present = False
    running = rounds(fans, disks)
    assert running.runner.interval_seconds is None

    assert running.sample() == {"disk_busy_percent": {"sda": 12.3, "sdb": 7}}
    assert running.runner.names == ("disks",)
    assert running.runner.metrics[0].location == "series"
    assert running.runner.facts == {}

    fans.is_present, disks.is_present = True, False
    assert running.sample() == {"fan_rpm": {"front": 900}}
    assert running.runner.names == ("fans",)
    assert [metric.name for metric in running.runner.metrics] == ["fan_rpm"]
    assert list(running.runner.facts) == ["fans"]

    fans.is_present = False
    for _ in range(7):
        assert running.sample() == {}
    assert running.runner.facts == {}


def fail() -> object:
    raise RuntimeError("broken")


@pytest.mark.parametrize(
    "behave",
    [
        fail,
        lambda: None,
        lambda: {"fan_rpm": 1},
        lambda: Details({"fan_rpm": 7}),  # type: ignore[dict-item]
        lambda: Details({}, {"a": 1}),  # type: ignore[dict-item]
    ],
)
def test_a_collector_that_fails_costs_only_its_own_values(
    rounds: Callable[..., Rounds], behave: Callable[[], object]
) -> None:
    running = rounds(Fans(behave), Disks())

    assert running.sample() == {"disk_busy_percent": {"sda": 12.3, "sdb": 7}}
    assert running.runner.failures == {"fans": 1}


@pytest.mark.parametrize("value", [float("nan"), float("inf"), "12", True, [1.0], 1e301, object()])
def test_a_reading_that_is_no_number_becomes_null(rounds: Callable[..., Rounds], value: object) -> None:
    running = rounds(Fans(lambda: Details({"fan_rpm": {"front": value, "back": 7.0}})))  # type: ignore[dict-item]

    assert running.sample() == {"fan_rpm": {"front": None, "back": 7}}
    assert running.runner.failures == {"fan_rpm": 1}


def test_an_undeclared_metric_is_left_out_and_any_name_of_a_device_is_made_printable(
    rounds: Callable[..., Rounds],
) -> None:
    running = rounds(Fans(lambda: Details({"odd": {"a": 1}, "fan_rpm": {"": 1, "\udcff\n": 2, "x" * 200: 3}})))

    assert running.sample() == {"fan_rpm": {"?": 1, "\ufffd\ufffd": 2, "x" * 128: 3}}
    assert running.runner.failures == {"odd": 1}


def test_percentages_have_one_digit_and_integers_stay_integers(rounds: Callable[..., Rounds]) -> None:
    big = 2**53 - 1
    running = rounds(
        Disks(lambda: Details({"disk_busy_percent": {"a": 12.345, "b": 50.04}, "disk_read_bytes": {"a": big}}))
    )

    series = running.sample()

    assert series == {"disk_busy_percent": {"a": 12.3, "b": 50}, "disk_read_bytes": {"a": big}}
    assert isinstance(series["disk_busy_percent"]["b"], int)


def test_devices_beyond_the_bounds_are_cut_from_the_end_and_counted(rounds: Callable[..., Rounds]) -> None:
    many = {f"d{i}": i for i in range(DEVICES_MAX + 3)}
    running = rounds(Fans(lambda: Details({"fan_rpm": dict(many)}, truncated=2)), Disks())

    series = running.sample()

    assert list(series["fan_rpm"]) == list(many)[:DEVICES_MAX]
    assert running.runner.truncated == {"fans": 5}


def test_a_sample_has_no_more_readings_than_the_contract_allows(rounds: Callable[..., Rounds]) -> None:
    class Wide(Fans):
        metrics = tuple(Metric(name=f"m{i}", unit="", title="", location="series") for i in range(20))
        facts = ()

    by_name = {f"d{i}": i for i in range(DEVICES_MAX)}
    running = rounds(Wide(lambda: Details({f"m{i}": dict(by_name) for i in range(20)})))

    series = running.sample()

    assert sum(map(len, series.values())) == SERIES_READINGS_MAX
    assert running.runner.truncated == {"wide": DEVICES_MAX}


def test_a_collector_with_a_long_interval_is_called_at_that_interval(rounds: Callable[..., Rounds]) -> None:
    fans, disks = Fans(), Disks()
    fans.interval_seconds = 300  # type: ignore[misc]
    running = rounds(fans, disks)

    for _ in range(6 * 31):
        running.sample()

    assert disks.calls in (32, 33)
    assert fans.calls == 7


def test_what_is_switched_off_is_not_called_and_its_facts_end(rounds: Callable[..., Rounds]) -> None:
    fans = Fans()
    running = rounds(fans, Disks())
    running.sample()
    running.runner.off = frozenset({"fans"})

    assert "fan_rpm" not in running.sample()
    assert (fans.calls, running.runner.names, running.runner.facts) == (1, ("disks",), {})
    assert running.runner.pending == set()

    running.runner.off = frozenset()
    assert [running.sample() for _ in range(6)].count({}) < 6
    assert fans.calls == 2


def test_a_hanging_collector_delays_no_sample_and_is_not_called_again_until_it_returns(
    rounds: Callable[..., Rounds], clock: Clock
) -> None:
    begun, let_go = threading.Event(), threading.Event()

    def hang() -> object:
        begun.set()
        let_go.wait(60)
        return Details({"disk_busy_percent": {"late": 1}})

    disks, fans = Disks(hang), Fans()
    running = rounds(disks, fans, threads=True)
    try:
        assert running.sample() == {}  # disks hang, and fans wait behind them
        assert begun.wait(15)
        clock.advance(disks.timeout_seconds + 0.1)
        running.runner.step(running.due_at)
        assert running.runner.failures == {"disks": 1}
        assert wait_until(running.runner.take, what="the fans") == {"fan_rpm": {"front": 900}}
        for _ in range(14):
            running.sample()
        assert disks.calls == 1
        wait_until(lambda: fans.calls >= 3, what="further rounds without the disks")
    finally:
        let_go.set()
    hanging = running.runner._hanging
    wait_until(lambda: all(each.done for each in hanging), what="the hanging collector")
    disks.behave = lambda: Details({"disk_busy_percent": {"sda": 1}})

    found = [running.sample() for _ in range(7)]
    wait_until(lambda: disks.calls == 2 or running.sample(), what="the disks again")

    assert not any("late" in series.get("disk_busy_percent", {}) for series in found)


def test_a_slow_collector_delays_no_other_in_the_next_round_and_its_readings_still_count(
    rounds: Callable[..., Rounds],
) -> None:
    let_go = threading.Event()

    def work() -> object:
        let_go.wait(60)
        return Details({"disk_busy_percent": {"sda": 1}})

    disks, fans = Disks(work), Fans()
    disks.timeout_seconds = 90.0  # type: ignore[misc]
    running = rounds(disks, fans, threads=True)
    fans.timeout_seconds = 91.0  # type: ignore[misc]  # behind the slow one
    running.runner._collectors.sort(key=lambda each: each.timeout_seconds)
    try:
        running.sample()
        assert fans.calls == 0
        found = running.sample()  # the next round takes over what waited
        assert (found or wait_until(running.runner.take, what="the fans")) == {"fan_rpm": {"front": 900}}
        for _ in range(6):
            running.sample()
        wait_until(lambda: fans.calls == 2, what="the fans again")
        assert disks.calls == 1
        assert running.runner.failures == {}
    finally:
        let_go.set()
    assert "disk_busy_percent" in wait_until(running.runner.take, what="the slow disks")


def test_without_a_further_thread_there_are_no_series(rounds: Callable[..., Rounds]) -> None:
    def refuse(_work: object) -> None:
        raise RuntimeError("can't start new thread")

    running = rounds(Fans())
    running.runner._start = refuse

    assert running.sample() == {}
    assert running.runner.failures == {"fans": 1}
    running.runner._start = lambda work: work()
    assert running.sample() == {"fan_rpm": {"front": 900}}
