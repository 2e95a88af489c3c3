"""A faulty plug-in loses only its own values."""

import importlib
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest
from distributions import install
from waiting import wait_until

import agent.collectors
from agent.collection.sample_runner import CollectorRunner
from agent.collector import Collector, Readings, discover
from runtime.settings.agent import AgentSettings
from schemas.contract.messages import EXTRA_MAX, METRICS_MAX, UNITS, VITALS, Metric

SETTINGS = AgentSettings(data=Path("unused"), machine="attic")


class Good(Collector):
    metrics = (
        Metric(name="cpu_percent", unit="percent", title="CPU"),
        Metric(name="fan_rpm", unit="rpm", title="Fan"),
    )

    def collect(self) -> Readings:
        return {"cpu_percent": 12.5, "fan_rpm": 1200}


class Odd(Collector):
    """Calls a function of the test."""

    metrics = (
        Metric(name="odd", unit="", title="Odd"),
        Metric(name="memory_percent", unit="percent", title="Memory"),
    )

    def __init__(self, behave: Callable[[], object]) -> None:
        super().__init__(SETTINGS)
        self.calls = 0
        self._behave = behave

    def collect(self) -> Readings:
        self.calls += 1
        return self._behave()  # type: ignore[return-value]  # what a plug-in must not do


def fail() -> object:
    raise RuntimeError("broken")


def runner_of(*collectors: Collector, seconds: float = 5.0) -> CollectorRunner:
    return CollectorRunner(collectors, timeout_seconds=seconds)


def test_vitals_and_extra_readings_are_told_apart() -> None:
    vitals, extra = runner_of(Good(SETTINGS)).collect()

    assert vitals.cpu_percent == 12.5
    assert extra == {"fan_rpm": 1200.0}


@pytest.mark.parametrize("position", [0, 1])
@pytest.mark.parametrize("behave", [fail, lambda: None, lambda: 7, lambda: ["abc"]])
def test_a_collector_that_fails_costs_only_its_own_values(behave: Callable[[], object], position: int) -> None:
    collectors: list[Collector] = [Good(SETTINGS)]
    collectors.insert(position, Odd(behave))
    runner = runner_of(*collectors)

    vitals, extra = runner.collect()

    assert vitals.cpu_percent == 12.5
    assert extra == {"fan_rpm": 1200.0}
    assert runner.failures == {"odd": 1}


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf"), "12", True, [1.0], 1e301, object()])
def test_an_extra_reading_that_is_no_number_becomes_null(value: object) -> None:
    runner = runner_of(Good(SETTINGS), Odd(lambda: {"odd": value}))

    vitals, extra = runner.collect()

    assert extra == {"fan_rpm": 1200.0, "odd": None}
    assert vitals.cpu_percent == 12.5
    assert runner.failures["odd"] == 1


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -0.1, 100.01, 1000, "12", True, None])
def test_a_vital_out_of_its_range_becomes_null_and_the_others_stay(value: object) -> None:
    runner = runner_of(Good(SETTINGS), Odd(lambda: {"memory_percent": value, "uptime_seconds": 7}))

    vitals, _ = runner.collect()

    assert vitals.memory_percent is None
    assert (vitals.cpu_percent, vitals.uptime_seconds) == (12.5, 7)
    assert runner.failures["memory_percent"] == (value is not None)


@pytest.mark.parametrize("name", ["uptime_seconds", "process_count", "network_sent_bytes"])
def test_a_negative_count_becomes_null(name: str) -> None:
    vitals, _ = runner_of(Odd(lambda: {name: -1})).collect()

    assert getattr(vitals, name) is None


@pytest.mark.parametrize("name", ["undeclared", "Not A Name", "", 7])
def test_a_reading_that_was_not_declared_is_left_out_and_counted(name: object) -> None:
    runner = runner_of(Good(SETTINGS), Odd(lambda: {name: 1.0, "odd": 2.0}))

    _, extra = runner.collect()

    assert extra == {"fan_rpm": 1200.0, "odd": 2.0}
    assert sum(runner.failures.values()) == 1


def test_more_extra_readings_than_a_sample_may_carry_are_cut_off_and_counted() -> None:
    collector = Odd(lambda: {f"metric_{i}": float(i) for i in range(EXTRA_MAX + 6)})
    collector.metrics = tuple(  # type: ignore[misc, assignment]
        Metric(name=f"metric_{i}", unit="", title="") for i in range(EXTRA_MAX + 6)
    )
    runner = runner_of(collector, Good(SETTINGS))

    vitals, extra = runner.collect()

    assert list(extra) == [f"metric_{i}" for i in range(EXTRA_MAX)]
    assert sum(runner.failures.values()) == 6 + 1  # and the fan
    assert vitals.cpu_percent == 12.5


def test_no_more_metrics_are_described_than_the_inventory_may_carry() -> None:
    collector = Odd(fail)
    collector.metrics = tuple(  # type: ignore[misc, assignment]
        Metric(name=f"metric_{i}", unit="", title="") for i in range(METRICS_MAX + 1)
    )

    assert len(runner_of(collector, Good(SETTINGS)).metrics) == METRICS_MAX


def test_a_hanging_collector_is_not_asked_again_until_it_returns_and_costs_only_its_own_values() -> None:
    let_go, returned = threading.Event(), threading.Event()

    def hang() -> object:
        let_go.wait(60)
        returned.set()
        return {"odd": 1.0}

    odd = Odd(hang)
    good = Good(SETTINGS)
    runner = runner_of(odd, good, seconds=0.1)
    try:
        for round_ in range(1, 4):
            vitals, extra = runner.collect()
            assert vitals.cpu_percent == 12.5
            assert extra == {"fan_rpm": 1200.0}
            assert odd.calls == 1
            assert runner.failures == {"odd": round_}
    finally:
        let_go.set()
    wait_until(lambda: runner._abandoned[0].done.is_set(), what="the hanging collector returned")

    _, extra = runner.collect()

    assert odd.calls == 2
    assert extra == {"odd": 1.0, "fan_rpm": 1200.0}


def test_collectors_before_and_after_a_hanging_one_keep_their_values_and_are_asked_once() -> None:
    let_go = threading.Event()
    before, after = Odd(lambda: {"odd": 1.0}), Odd(lambda: {"memory_percent": 5.0})
    try:
        runner = runner_of(before, Odd(lambda: let_go.wait(60)), after, seconds=0.1)
        vitals, extra = runner.collect()
    finally:
        let_go.set()

    assert (vitals.memory_percent, extra) == (5.0, {"odd": 1.0})
    assert (before.calls, after.calls) == (1, 1)


# Discovery.


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[ModuleType, Path]]:
    """An empty package for collectors, and its directory."""
    directory = tmp_path / "plugged_in"
    directory.mkdir()
    (directory / "__init__.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    before = set(sys.modules)
    yield importlib.import_module("plugged_in"), directory
    for name in set(sys.modules) - before:
        del sys.modules[name]


COLLECTOR = """
from agent.collector import Collector
from schemas.contract.messages import Metric

class {name}(Collector):
    metrics = (Metric(name="{metric}", unit="rpm", title="Fan"),)

    def collect(self):
        return {{"{metric}": 1.0}}
"""


def test_a_file_that_is_dropped_in_is_found_and_its_metrics_are_sent_and_described(
    package: tuple[ModuleType, Path],
) -> None:
    module, directory = package
    (directory / "fan.py").write_text(COLLECTOR.format(name="Fan", metric="fan_rpm"))

    runner = CollectorRunner(discover(module, SETTINGS), timeout_seconds=5)

    assert [metric.name for metric in runner.metrics] == ["fan_rpm"]
    assert runner.collect()[1] == {"fan_rpm": 1.0}


@pytest.mark.parametrize(
    "broken",
    [
        "this is not Python",
        "raise RuntimeError",
        "import a_module_that_nobody_has",
        "\x00",
        COLLECTOR.format(name="Broken", metric="Not A Name"),
        COLLECTOR.format(name="Broken", metric="broken") + "    def __init__(self, settings):\n        raise OSError\n",
        COLLECTOR.format(name="Broken", metric="broken").replace("def collect", "def gather"),
        "from agent.collector import Collector\nclass Broken(Collector):\n    def collect(self):\n        return {}\n",
        COLLECTOR.format(name="Broken", metric="broken").replace("(Metric", "(7, Metric"),
    ],
)
def test_a_broken_file_or_class_costs_only_itself(package: tuple[ModuleType, Path], broken: str) -> None:
    module, directory = package
    (directory / "broken.py").write_text(broken)
    (directory / "fan.py").write_text(COLLECTOR.format(name="Fan", metric="fan_rpm"))

    runner = CollectorRunner(discover(module, SETTINGS), timeout_seconds=5)

    assert [metric.name for metric in runner.metrics] == ["fan_rpm"]
    assert runner.collect()[1] == {"fan_rpm": 1.0}


def test_a_broken_class_costs_not_even_the_others_of_its_file(package: tuple[ModuleType, Path]) -> None:
    module, directory = package
    bad = COLLECTOR.format(name="Bad", metric="bad").replace("def collect", "def gather")
    (directory / "fan.py").write_text(bad + COLLECTOR.format(name="Fan", metric="fan_rpm"))

    assert [type(collector).__name__ for collector in discover(module, SETTINGS)] == ["Fan"]


def test_a_collector_that_a_file_imports_is_not_made_twice(package: tuple[ModuleType, Path]) -> None:
    module, directory = package
    (directory / "fan.py").write_text(COLLECTOR.format(name="Fan", metric="fan_rpm"))
    (directory / "other.py").write_text("from plugged_in.fan import Fan\n")

    assert len(discover(module, SETTINGS)) == 1


def test_an_installed_distribution_adds_a_collector_through_an_entry_point(
    package: tuple[ModuleType, Path], caplog: pytest.LogCaptureFixture
) -> None:
    module, directory = package
    (directory / "fan.py").write_text(COLLECTOR.format(name="Fan", metric="fan_rpm"))
    install(
        directory.parent,
        "gpu_metrics",
        "dashfleet.collectors",
        {"gpu": "gpu_metrics:Gpu", "fan": "gpu_metrics:Fan", "bad": "gpu_metrics:Bad", "broken": "not_there:Broken"},
        gpu_metrics=COLLECTOR.format(name="Gpu", metric="gpu_percent")
        + COLLECTOR.format(name="Fan", metric="second_fan_rpm")
        + COLLECTOR.format(name="Bad", metric="bad").replace("(Metric", "(7, Metric"),
    )

    runner = CollectorRunner(discover(module, SETTINGS), timeout_seconds=5)

    assert runner.names == ("fan", "gpu")
    assert [metric.name for metric in runner.metrics] == ["fan_rpm", "gpu_percent"]
    assert runner.collect()[1] == {"fan_rpm": 1.0, "gpu_percent": 1.0}
    for ignored in ("gpu_metrics:Fan of gpu_metrics", "the collector Bad", "not_there:Broken of gpu_metrics"):
        assert ignored in caplog.text


def test_the_shipped_collectors_describe_every_vital_and_nothing_else() -> None:
    runner = CollectorRunner(discover(agent.collectors, SETTINGS), timeout_seconds=5)

    assert sorted(metric.name for metric in runner.metrics) == sorted(VITALS)
    assert {metric.location for metric in runner.metrics} == {"vitals"}
    assert {metric.unit for metric in runner.metrics} <= UNITS.keys()
    counters = {metric.name for metric in runner.metrics if metric.kind == "counter"}
    assert counters == {"network_received_bytes", "network_sent_bytes"}
