"""Signals of rules that are neither samples nor presence: rejected messages, forecasts of the disk, changed versions.

Invariants:
- Each is bounded: a machine has one count per minute of the last hour, and FORECASTS_EACH_STEP forecasts are read in a
  step.
- Forecasts are those of the fleet page and the machine page (`ingestor.history.disk_forecasts`); a machine's are read
  every FORECAST_SECONDS, and when other rules apply to it.
"""

from collections import deque
from collections.abc import Iterable, Iterator, Mapping

from sqlalchemy import Engine
from sqlalchemy.engine import Connection

from ingestor.alerts.plan import Plan
from ingestor.alerts.watch import Watch
from ingestor.domain.dead_letter import DeadLetter
from ingestor.domain.machine import Machine
from ingestor.domain.presence import Presence
from ingestor.intake.machine_cache import MachineCache
from ingestor.storage.alert_store import read_rejections
from runtime.clock import Clock
from schemas.alerts.condition import Condition
from schemas.alerts.device_readings import MeasuredValue
from schemas.alerts.readings import is_sampled
from schemas.contract.alert_rules import CHANGES
from schemas.contract.topics import parse
from schemas.database.rules.days_left import read_days_left, read_mounts_left, soonest_full
from schemas.fleet.history import HOUR, MINUTE

FORECAST_SECONDS = 600.0
FORECASTS_EACH_STEP = 100
PLAN_SECONDS = 30.0

Signal = tuple[Watch, Condition, MeasuredValue]


class OtherSignals:
    """Counts of rejected messages, and the forecasts that are to be read."""

    def __init__(self, engine: Engine, clock: Clock) -> None:
        self._engine = engine
        self._clock = clock
        self._rejected: dict[int, dict[int, int]] = {}
        """By machine id: numbers of rejected messages by minute."""
        self._forecasts_of: dict[int, tuple[Plan, float]] = {}
        """By machine id: the plan for which its forecasts were read, and when they are to be read again."""
        self._to_forecast: deque[int] = deque()
        self._plan_at = 0.0

    def load(self, connection: Connection, cache: MachineCache) -> None:
        """Read the messages that were rejected within the last hour."""
        self._rejected.clear()
        self._forecasts_of.clear()
        self._to_forecast.clear()
        self._plan_at = 0.0
        for org, name, at in read_rejections(connection, self._clock.now() - HOUR):
            if (machine := cache.get(org, name)) is not None:
                self._count(machine, at)

    def count_rejections(self, letters: Iterable[DeadLetter], cache: MachineCache) -> list[Machine]:
        """Count rejected messages; return the machines that sent them."""
        found: dict[int, Machine] = {}
        for letter in letters:
            address = parse(letter.topic)
            machine = cache.get(address.org, address.machine) if address is not None else None
            if machine is not None:
                self._count(machine, letter.received_at)
                found[machine.id] = machine
        return list(found.values())

    def rejections(self, machine_id: int, now: int) -> float:
        """Return the number of a machine's messages that were rejected within the last hour."""
        counts = self._rejected.get(machine_id, {})
        for minute in [minute for minute in counts if (minute + 1) * MINUTE <= now - HOUR]:
            del counts[minute]
        if not counts:
            self._rejected.pop(machine_id, None)
        return float(sum(counts.values()))

    def resumed(self, watch: Watch, condition: Condition, began_at: int, now: int) -> tuple[int, float] | None:
        """Return the signal, and its time, with which an alert goes on that began before a start.

        None if the signal comes again, or is stored.
        """
        kind, state = condition.rule.kind, watch.machine.state
        if kind == "changed" and not is_sampled(condition.rule):
            return began_at, 0.0
        if kind == "rejected":
            return now, self.rejections(watch.machine.id, now)
        if kind == "away" and state.presence not in (Presence.OFFLINE, Presence.EXPIRED):
            return max(state.since_at, began_at), 0.0
        return None

    def reselected(self) -> None:
        """Have what time changes evaluated with the next step: other rules apply."""
        self._plan_at = 0.0

    def step(self, watches: Mapping[int, Watch], now: int) -> Iterator[Signal]:
        """Yield the signals that time changes."""
        if self._clock.monotonic() >= self._plan_at:
            self._plan_at = self._clock.monotonic() + PLAN_SECONDS
            self._plan(watches)
            for id_ in list(self._rejected):
                value = self.rejections(id_, now)
                if (watch := watches.get(id_)) is not None:
                    yield from ((watch, each, MeasuredValue(value)) for each in watch.plan.of_kind("rejected"))
        yield from self._forecasts(watches, now)

    def _count(self, machine: Machine, at: int) -> None:
        counts = self._rejected.setdefault(machine.id, {})
        counts[at // MINUTE] = counts.get(at // MINUTE, 0) + 1

    def _plan(self, watches: Mapping[int, Watch]) -> None:
        if self._to_forecast:
            return
        now = self._clock.monotonic()
        for id_, watch in watches.items():
            if not watch.plan.of_kind("disk-full"):
                continue
            plan, again_at = self._forecasts_of.get(id_, (None, 0.0))
            if plan is not watch.plan or now >= again_at:
                self._forecasts_of[id_] = watch.plan, now + FORECAST_SECONDS
                self._to_forecast.append(id_)

    def _forecasts(self, watches: Mapping[int, Watch], now: int) -> Iterator[Signal]:
        """Yield the numbers of days until the next disks are full; None: cannot tell."""
        due = [self._to_forecast.popleft() for _ in range(min(FORECASTS_EACH_STEP, len(self._to_forecast)))]
        meant = [
            (watch, each) for id_ in due if (watch := watches.get(id_)) for each in watch.plan.of_kind("disk-full")
        ]
        about_mounts = sorted({watch.machine.id for watch, each in meant if each.rule.device})
        days_left = read_days_left(self._engine, due, now) if due else {}
        mounts_left = read_mounts_left(self._engine, about_mounts, now) if about_mounts else {}
        for watch, condition in meant:
            id_, pattern = watch.machine.id, condition.rule.device
            plain = MeasuredValue(days_left.get(id_))
            yield watch, condition, soonest_full(pattern, mounts_left.get(id_, {})) if pattern else plain


def changes(watch: Watch) -> Iterator[tuple[Condition, float]]:
    """Yield the rules whose fact has changed since the plan was made: fulfilled for a moment."""
    before, after = watch.described, watch.machine.description
    for fact in CHANGES:
        if fact != "boot" and getattr(before, fact) and getattr(before, fact) != getattr(after, fact):
            for condition in watch.plan.of_kind("changed", fact):
                yield from ((condition, value) for value in (1.0, 0.0))
