"""Late data: evaluates the time again in which samples of a machine arrived late, to correct its alerts.

Invariants:
- The result is that of the same samples on time: stored samples pass the same timelines, in order of time.
- The evaluation begins before the first late sample, by the longest duration of a rule, with the alerts recorded then,
  which depend on earlier samples only, and with the samples from which the first rates are computed. It ends at the
  newest sample, or where it agrees with the recorded alerts again.
- It runs when no late sample has come for SETTLE_SECONDS, so that an alert in the past is complete when it is published
  and is never published as active.
- A machine gets at most SHARE of the time, and a step evaluates one slice. Samples that are deleted are never missed:
  nothing is evaluated before the oldest stored sample, nor further back than LOOKBACK.
"""

from dataclasses import dataclass

from sqlalchemy import Engine

from ingestor.alerts.plan import Plan
from ingestor.alerts.stored_evaluation import feed
from ingestor.alerts.watch import Watch
from ingestor.domain.alert import Alert
from ingestor.storage.alert_store import POINTS_MAX, read_goodbyes, read_machine_alerts, read_points, samples_before
from runtime.clock import Clock
from schemas.alerts.readings import hold_of
from schemas.alerts.replay import Replay
from schemas.alerts.timeline import AlertSpan, collect

SETTLE_SECONDS = 2.0
SETTLE_MAX_SECONDS = 30.0
"""Time after which it runs although late samples keep coming."""

SHARE = 0.05
SLICE = 2 * 3_600_000
LOOKBACK = 7 * 86_400_000
AHEAD = 86_400_000
"""Stored samples may be dated this far ahead; they count as taken when they arrived."""


@dataclass(slots=True)
class _Window:
    """Range of the late samples of a machine, and when (monotonic) the first and the last were marked."""

    watch: Watch
    low: int
    high: int
    first: float
    last: float


@dataclass(frozen=True, slots=True)
class Evaluated:
    """Result: the evaluated alerts by rule, and the recorded alerts of that time. `until`: None if up to now."""

    watch: Watch
    replay: Replay
    recorded: dict[str, list[Alert]]
    until: int | None

    def settle(self, rule: str, now: int) -> tuple[list[Alert], list[AlertSpan]]:
        """Return the recorded and the evaluated alerts of a rule, up to the end of the evaluation."""
        spans, recorded, timeline = self.replay.spans[rule], self.recorded[rule], self.replay.timelines[rule]
        if self.until is None:
            decision = timeline.advance(now)
            collect(spans, [decision] if decision else [])
            return recorded, spans
        certain = [each for each in recorded if each.started_at + timeline.condition.for_ <= self.until]
        if spans and spans[-1].ended_at is None:  # it goes on as recorded
            spans[-1].ended_at = next(
                (each.ended_at for each in certain if each.started_at == spans[-1].started_at), None
            )
        return certain, spans


class LateData:
    """The windows to evaluate again. `step` does a bounded part of the work."""

    def __init__(self, engine: Engine, clock: Clock) -> None:
        self._engine = engine
        self._clock = clock
        self._windows: dict[int, _Window] = {}
        self._running: _Evaluation | None = None
        self._spent = 0.0
        self._resume_at: dict[int, float] = {}

    def clear(self) -> None:
        """Forget all windows."""
        self._windows.clear()
        self._resume_at.clear()
        self._running = None

    def mark(self, watch: Watch, at: int) -> None:
        """Have the time around a late sample evaluated again."""
        now = self._clock.monotonic()
        window = self._windows.get(watch.machine.id)
        if window is None or window.watch is not watch:
            self._windows[watch.machine.id] = _Window(watch, at, at, now, now)
        else:
            window.low, window.high, window.last = min(window.low, at), max(window.high, at), now

    def step(self, now: int) -> Evaluated | None:
        """Evaluate one slice; return the result if that completes a window."""
        began = self._clock.monotonic()
        if self._running is None:
            window = self._next(began)
            if window is None:
                return None
            del self._windows[window.watch.machine.id]
            self._running, self._spent = _Evaluation(self._engine, window, now), 0.0
        running = self._running
        found = running.step(now)
        self._spent += self._clock.monotonic() - began
        if found is None:
            return None
        self._running = None
        watch = running.window.watch
        self._resume_at[watch.machine.id] = self._clock.monotonic() + self._spent / SHARE
        if watch.plan is not running.plan:  # its rules changed meanwhile
            self.mark(watch, running.window.low)
            return None
        return found

    def _next(self, now: float) -> _Window | None:
        for id_, window in self._windows.items():
            settled = now - window.last >= SETTLE_SECONDS or now - window.first >= SETTLE_MAX_SECONDS
            if settled and now >= self._resume_at.get(id_, 0.0):
                return window
        return None


class _Evaluation:
    """An evaluation, slice by slice."""

    def __init__(self, engine: Engine, window: _Window, now: int) -> None:
        self.window = window
        self.plan: Plan = window.watch.plan
        self._engine = engine
        self._metrics = {each.rule.metric for each in self.plan.sampled if each.rule.device}
        self._hold = max(
            (hold_of(each.rule, window.watch.hold) for each in self.plan.sampled), default=window.watch.hold
        )
        machine_id = window.watch.machine.id
        oldest = max(samples_before(engine, machine_id), window.watch.since, now - LOOKBACK)
        self._start = self._at = max(window.low - self.plan.lead - self._hold - 1, oldest)
        self._replay = Replay(self.plan.sampled, window.watch.hold, start=self._start, records=self._records())
        if self.plan.remembering:
            for point in read_points(engine, machine_id, self._start - self._hold, self._start, self._metrics):
                self._replay.remember(point)
        self._goodbyes = read_goodbyes(engine, machine_id, self._start)

    def step(self, now: int) -> Evaluated | None:
        """Evaluate the next slice; return the result after the last one."""
        watch, end = self.window.watch, min(self._at + SLICE, now)
        until = end if end < now else now + AHEAD
        points = read_points(self._engine, watch.machine.id, self._at, until, self._metrics)
        if len(points) == POINTS_MAX:
            end = min(end, max(points[-1].at, self._at + 1))
        feed(self._replay, points, [at for at in self._goodbyes if self._at < at <= end])
        self._at = end
        if end >= now:
            return Evaluated(watch, self._replay, self._records(), None)
        if end <= self.window.high + self.plan.lead + self._hold:
            return None
        recorded = self._records()
        return Evaluated(watch, self._replay, recorded, end) if self._replay.agrees(end, recorded) else None

    def _records(self) -> dict[str, list[Alert]]:
        """Return the recorded alerts that were not over at the start."""
        found: dict[str, list[Alert]] = {condition.rule.name: [] for condition in self.plan.sampled}
        for alert in read_machine_alerts(self._engine, self.window.watch.machine.id, self._start, list(found)):
            condition = self.plan.conditions[alert.rule]
            over = alert.ended_at is not None and alert.ended_at + condition.clear <= self._start
            if not over and alert.started_at >= condition.since:
                found[alert.rule].append(alert)
        return found
