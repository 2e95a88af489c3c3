"""The runner of detail collectors: rounds beside the samples, each a little before the sample that carries its series.

Invariants:
- No sample waits for a detail collector. What is not ready travels with the next sample.
- A collector that raises, returns nonsense or takes longer than its time limit loses its own values only, and is
  counted. One that hangs is left alone in its thread until it returns, and is not called again before.
- One collector runs at a time, so that a round costs one thread and no peak of load. Only one that still runs when the
  next round begins runs beside it, and delays no other.
- Facts of a kind stay until their collector states others, is switched off or finds nothing any more.
"""

import logging
import re
import threading
from collections import Counter, deque
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from agent.collection.detail_round import DetailRound, Finished
from agent.collection.detail_schedule import DetailSchedule
from agent.collection.facts_publisher import FactsPublisher
from agent.collection.series import SeriesBuilder
from agent.collector import DetailCollector, Item, name_of
from runtime.clock import Clock
from runtime.settings.agent import AgentSettings
from schemas.contract.messages import METRICS_MAX, Metric, Series

FactLists = dict[str, tuple[dict[str, Item], int]]
"""Items by key, and the time since when they are like that, by kind."""

log = logging.getLogger(__name__)


def _start_thread(work: Callable[[], None]) -> None:
    """Run `work` in a thread. Raises RuntimeError if the system permits no further one."""
    threading.Thread(target=work, name="details", daemon=True).start()


class DetailRunner:
    """Runs detail collectors, and returns their series and facts."""

    def __init__(
        self,
        collectors: Sequence[DetailCollector],
        settings: AgentSettings,
        clock: Clock,
        publisher: FactsPublisher,
        *,
        start: Callable[[Callable[[], None]], None] = _start_thread,
    ) -> None:
        self.failures: Counter[str] = Counter()
        """Number of failures, time-outs and invalid readings, by collector or metric name."""
        self.off: frozenset[str] = frozenset()
        """Names of the collectors that are switched off."""
        self.facts: FactLists = {}
        """The last lists of the active collectors."""
        self._collectors = sorted(collectors, key=lambda each: (each.timeout_seconds, name_of(each)))
        self._schedule = DetailSchedule(settings, clock)
        self._interval_seconds = settings.detail_interval_seconds
        self._clock = clock
        self._began_at = clock.monotonic()
        self._publisher = publisher
        self._start = start
        self._rounds: list[DetailRound] = []
        self._hanging: list[DetailRound] = []
        self._finished: deque[Finished] = deque()
        self._due_at: dict[str, float] = {}
        self._active: set[str] = set()
        self._known: set[str] = set()
        self._truncated: Counter[str] = Counter()
        self._builder = SeriesBuilder()

    @property
    def interval_seconds(self) -> float | None:
        """Time between two samples with series, None if no collector is active."""
        return self._interval_seconds if self._on else None

    def info_fields(self) -> dict[str, Any]:
        """Return the fields of `Info` about devices."""
        return {"truncated": self.truncated, "detail_interval_seconds": self.interval_seconds}

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """Descriptions of the series of the active collectors."""
        described = (metric for collector in self._on for metric in collector.metrics)
        return tuple(metric.model_copy(update={"location": "series"}) for metric in described)[:METRICS_MAX]

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the active collectors that are valid in `info`."""
        return tuple(name for name in map(name_of, self._on) if _NAME.fullmatch(name))[:METRICS_MAX]

    @property
    def truncated(self) -> dict[str, int]:
        """Number of devices that the active collectors left out in their last round, by name."""
        return {name: self._truncated[name] for name in self.names if self._truncated[name]}

    @property
    def pending(self) -> set[str]:
        """Kinds of facts that may exist here, but were not read yet."""
        unknown = [each for each in self._collectors if name_of(each) not in self._known | self.off]
        return {kind for collector in unknown for kind in collector.facts} - self.facts.keys()

    @property
    def _on(self) -> list[DetailCollector]:
        return [each for each in self._collectors if name_of(each) in self._active - self.off]

    def reconfigure(self, settings: AgentSettings) -> None:
        """Follow other settings."""
        self._interval_seconds = settings.detail_interval_seconds
        for collector in self._collectors:
            collector.settings = settings
        self._schedule.reconfigure(settings)

    def next_step_at(self, sample_due_at: float) -> float:
        """Return when `step` has something to do, in seconds of the monotonic clock."""
        return self._schedule.begins_at(sample_due_at)

    def step(self, sample_due_at: float) -> None:
        """Leave alone a collector that takes too long, accept what has finished, and begin the round that is due."""
        self._check_time_limit()
        self._accept()
        if self.off & self._active:
            self._forget_those_off()
        now = self._clock.monotonic()
        if now < self._schedule.begins_at(sample_due_at):
            return
        self._schedule.begun(sample_due_at)
        self._hanging = [each for each in self._hanging if not each.done]
        hanging = [each.current for each in self._hanging]
        self.failures.update(name_of(each) for each in hanging if each is not None)
        waiting = [collector for each in self._rounds for collector in each.hand_over()]
        busy = [*hanging, *(each.current for each in self._rounds)]
        due = [each for each in self._collectors if each not in busy and (self._is_due(each, now) or each in waiting)]
        self._run(due)

    def take(self) -> Series:
        """Return the series that were read since the last call."""
        self._check_time_limit()
        self._accept()
        builder, self._builder = self._builder, SeriesBuilder()
        return builder.series

    def connected(self) -> None:
        """Publish all facts again."""
        self._publisher.connected()

    def publish_facts(self, session: int, publish: Callable[[str, bytes], bool]) -> None:
        """Publish the lists that are due; `publish` returns False if the message could not be sent."""
        self._publisher.step(self.facts, self.pending, session, publish)

    def _is_due(self, collector: DetailCollector, now: float) -> bool:
        name = name_of(collector)
        if name in self.off or now < self._due_at.get(name, self._began_at + collector.first_after_seconds):
            return False
        # Half a round early: rounds follow the samples, which follow a grid of their own.
        self._due_at[name] = now + collector.interval_seconds - self._interval_seconds / 2
        return True

    def _run(self, collectors: Iterable[DetailCollector]) -> None:
        begun = DetailRound(list(collectors), self._finished, self._clock.monotonic)
        try:
            self._start(begun.run)
        except RuntimeError as error:  # the system permits no further thread
            log.warning("cannot collect details: %s", error)
            self.failures.update(map(name_of, begun.abandon()))
        else:
            self._rounds.append(begun)

    def _check_time_limit(self) -> None:
        self._rounds = [each for each in self._rounds if not each.done]
        for running in list(self._rounds):
            current, since = running.current, running.since
            if current is None or self._clock.monotonic() - since <= current.timeout_seconds:
                continue
            log.warning("collector %s takes longer than %s s", name_of(current), current.timeout_seconds)
            self.failures[name_of(current)] += 1
            self._rounds.remove(running)
            self._hanging.append(running)
            self._run(running.abandon())

    def _accept(self) -> None:
        while self._finished:
            collector, details, present = self._finished.popleft()
            name = name_of(collector)
            if not present or name in self.off:
                self._forget(collector)
                continue
            self._active.add(name)
            if details is None:
                self.failures[name] += 1
                continue
            self._known.add(name)
            self._builder.add(collector, details.series)
            self._truncated[name] = details.truncated + self._builder.truncated.pop(name, 0)
            self.failures.update(self._builder.failures)
            self._builder.failures.clear()
            now = self._clock.now()
            for kind in details.facts.keys() & set(collector.facts):
                if kind not in self.facts or self.facts[kind][0] != details.facts[kind]:
                    self.facts[kind] = (details.facts[kind], now)

    def _forget_those_off(self) -> None:
        for collector in self._collectors:
            if name_of(collector) in self.off:
                self._forget(collector)

    def _forget(self, collector: DetailCollector) -> None:
        self._active.discard(name_of(collector))
        self._known.add(name_of(collector))
        self._due_at.pop(name_of(collector), None)  # when it is switched on again, it is due at once
        for kind in collector.facts:
            self.facts.pop(kind, None)


_NAME = re.compile(r"[a-z][a-z0-9_]{0,62}")
