"""The runner of the collectors of each sample, which validates their readings.

Invariants:
- A collector that raises, returns nonsense or takes too long loses its own values (null, counted by name) only.
- A collector that hangs is left alone in its thread until it returns, and is not called again before.
- NaN, negative percentages and percentages above 100 never leave this module.
"""

import logging
import re
import threading
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from pydantic import ConfigDict, TypeAdapter, ValidationError

from agent.collector import Collector, name_of
from schemas.contract.messages import EXTRA_MAX, METRICS_MAX, VITALS, Metric, Reading, Vitals

log = logging.getLogger(__name__)


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
                log.debug("collector %s failed", name_of(collector), exc_info=True)
                self.failed.append(name_of(collector))
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
        names = (name_of(collector) for collector in self._on)
        return tuple(name for name in names if _NAME.fullmatch(name))[:METRICS_MAX]

    @property
    def _on(self) -> list[Collector]:
        return [collector for collector in self.collectors if name_of(collector) not in self.off]

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
            self.failures[name_of(each.current)] += 1
        waiting = [collector for collector in self._on if id(collector) not in hanging]
        readings: dict[str, float | int | None] = {}
        deadline = time.monotonic() + self._timeout_seconds
        while waiting:
            current_pass = _CollectorPass(waiting)
            try:
                threading.Thread(target=current_pass.run, name="collectors", daemon=True).start()
            except RuntimeError as error:  # the system permits no further thread
                log.warning("cannot collect: %s", error)
                self.failures.update(name_of(collector) for collector in waiting)
                break
            finished = current_pass.done.wait(max(0.05, deadline - time.monotonic()))
            stuck = current_pass.current
            readings.update(current_pass.readings)
            self.failures.update(current_pass.failed)
            if finished or stuck is None:
                break
            self.failures[name_of(stuck)] += 1
            log.warning("collector %s takes longer than %s s", name_of(stuck), self._timeout_seconds)
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


def _located(metric: Metric) -> Metric:
    """Return the description of a metric with the field of a sample in which it is found."""
    location = metric.location or ("vitals" if metric.name in VITALS else "extra")
    return metric.model_copy(update={"location": location})


_READING: TypeAdapter[float | None] = TypeAdapter(Reading | None, config=ConfigDict(strict=True, allow_inf_nan=False))
_NAME = re.compile(r"[a-z][a-z0-9_]{0,62}")
