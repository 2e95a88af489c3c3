"""The contract of a collector, and the runner that validates its readings.

A collector is a class in a file of its own in `agent/collectors/`: it names its metrics and reads them. Another
distribution provides one through an entry point of the group `dashfleet.collectors`. A reading with the name of a vital
of the contract becomes that vital; any other becomes an extra metric, which `info` describes to all readers.

Invariants:
- A collector that raises, returns nonsense or takes too long loses its own values (null, counted by name) only.
- A collector that hangs is left alone in its thread until it returns, and is not called again before.
- NaN, negative percentages and percentages above 100 never leave this module.
"""

import inspect
import logging
import re
import threading
import time
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import ModuleType
from typing import ClassVar

from pydantic import ConfigDict, TypeAdapter, ValidationError

from runtime import plugins
from runtime.settings.agent import AgentSettings
from schemas.contract.messages import EXTRA_MAX, METRICS_MAX, VITALS, Metric, Reading, Vitals

ENTRY_POINTS = "dashfleet.collectors"

Readings = Mapping[str, float | int | None]

log = logging.getLogger(__name__)


class Collector(ABC):
    """Reads one group of metrics. Created once per agent; `collect` is called once per sample, never concurrently."""

    metrics: ClassVar[tuple[Metric, ...]]

    def __init__(self, settings: AgentSettings) -> None:
        self.settings = settings

    @abstractmethod
    def collect(self) -> Readings:
        """Return the current readings by metric name, None for unreadable ones. May raise; must not write anything."""


@dataclass(slots=True)
class _CollectorPass:
    """A pass over the collectors in a thread, until it is done or abandoned."""

    collectors: Sequence[Collector]
    readings: dict[str, float | int | None] = field(default_factory=dict)
    failed: list[str] = field(default_factory=list)
    current: Collector | None = None
    abandoned: bool = False
    done: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        for collector in self.collectors:
            if self.abandoned:
                break
            self.current = collector
            try:
                self.readings.update(collector.collect())
            except Exception:  # one of the named places: a plug-in may raise anything
                log.debug("collector %s failed", _name(collector), exc_info=True)
                self.failed.append(_name(collector))
        self.current = None
        self.done.set()


class CollectorRunner:
    """Runs all collectors within a time limit and returns their valid readings."""

    def __init__(self, collectors: Sequence[Collector], *, timeout_seconds: float) -> None:
        self.collectors = list(collectors)
        self.failures: Counter[str] = Counter()
        """Number of failures, time-outs and invalid readings, by collector or metric name."""
        self.off: frozenset[str] = frozenset()
        """Names of the collectors that are switched off."""
        self._timeout_seconds = timeout_seconds
        self._abandoned: list[_CollectorPass] = []

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """Descriptions of all metrics of the active collectors, each with its location."""
        return tuple(_located(metric) for collector in self._on for metric in collector.metrics)[:METRICS_MAX]

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the active collectors that are valid in `info`."""
        names = (_name(collector) for collector in self._on)
        return tuple(name for name in names if _NAME.fullmatch(name))[:METRICS_MAX]

    @property
    def _on(self) -> list[Collector]:
        return [collector for collector in self.collectors if _name(collector) not in self.off]

    def collect(self) -> tuple[Vitals, dict[str, float | None]]:
        """Return the vitals and the extra readings of one sample."""
        readings = self._read()
        vitals = {name: value for name, value in readings.items() if name in VITALS}
        extra = {name: value for name, value in readings.items() if name not in VITALS}
        return self._valid_vitals(vitals), self._valid_extra(extra)

    def _read(self) -> dict[str, float | int | None]:
        self._abandoned = [each for each in self._abandoned if not each.done.is_set()]
        hanging = {id(each.current) for each in self._abandoned}
        for each in self._abandoned:
            self.failures[_name(each.current)] += 1
        waiting = [collector for collector in self._on if id(collector) not in hanging]
        readings: dict[str, float | int | None] = {}
        deadline = time.monotonic() + self._timeout_seconds
        while waiting:
            current_pass = _CollectorPass(waiting)
            try:
                threading.Thread(target=current_pass.run, name="collectors", daemon=True).start()
            except RuntimeError as error:  # the system permits no further thread
                log.warning("cannot collect: %s", error)
                self.failures.update(_name(collector) for collector in waiting)
                break
            finished = current_pass.done.wait(max(0.05, deadline - time.monotonic()))
            stuck = current_pass.current
            readings.update(current_pass.readings)
            self.failures.update(current_pass.failed)
            if finished or stuck is None:
                break
            self.failures[_name(stuck)] += 1
            log.warning("collector %s takes longer than %s s", _name(stuck), self._timeout_seconds)
            current_pass.abandoned = True
            self._abandoned.append(current_pass)
            waiting = waiting[waiting.index(stuck) + 1 :]
        return readings

    def _valid_vitals(self, readings: dict[str, float | int | None]) -> Vitals:
        try:
            return Vitals.model_validate(readings)
        except ValidationError as error:
            wrong = {str(problem["loc"][0]) for problem in error.errors()}
            self.failures.update(wrong)
            return Vitals.model_validate({name: value for name, value in readings.items() if name not in wrong})

    def _valid_extra(self, readings: dict[str, float | int | None]) -> dict[str, float | None]:
        described = {metric.name for metric in self.metrics}
        valid: dict[str, float | None] = {}
        for name, value in readings.items():
            if name not in described or len(valid) == EXTRA_MAX:
                self.failures[name] += 1
                continue
            try:
                valid[name] = _READING.validate_python(value)
            except ValidationError:
                self.failures[name] += 1
                valid[name] = None
        return valid


def discover(package: ModuleType, settings: AgentSettings) -> list[Collector]:
    """Return one instance of every collector in a package and in the entry points of ENTRY_POINTS.

    A collector that cannot be loaded or started is logged and skipped.
    """
    kinds = plugins.discover(
        package,
        ENTRY_POINTS,
        accepts=lambda value: inspect.isclass(value) and issubclass(value, Collector) and value is not Collector,
        name=lambda kind: kind.__name__.lower(),
        source=lambda kind: kind,
    )
    return [collector for kind in kinds.values() if (collector := _started(kind, settings)) is not None]


def _started(kind: type[Collector], settings: AgentSettings) -> Collector | None:
    try:
        _METRICS.validate_python(kind.metrics)
        return kind(settings)
    except Exception:  # one of the named places: a plug-in may raise anything
        log.exception("cannot start the collector %s", kind.__name__)
        return None


def _located(metric: Metric) -> Metric:
    """Return the description of a metric with the field of a sample in which it is found."""
    location = metric.location or ("vitals" if metric.name in VITALS else "extra")
    return metric.model_copy(update={"location": location})


def _name(collector: Collector | None) -> str:
    return type(collector).__name__.lower()


_READING: TypeAdapter[float | None] = TypeAdapter(Reading | None, config=ConfigDict(strict=True, allow_inf_nan=False))
_NAME = re.compile(r"[a-z][a-z0-9_]{0,62}")
_METRICS: TypeAdapter[tuple[Metric, ...]] = TypeAdapter(tuple[Metric, ...])
