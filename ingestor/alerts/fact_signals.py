"""Signals of rules about facts: items that are not well, and items that changed.

Invariants:
- A list that arrives is evaluated at once. The stored lists are read when rules are new for a machine, as after a
  start; READ_EACH_STEP machines in a step.
- Changes are those that are recorded (`ingestor.storage.fact_store`), in their order, CHANGES_EACH_STEP in a step.
  Those from before the start are not evaluated again.
"""

from collections import deque
from collections.abc import Iterable, Iterator, Mapping

from sqlalchemy import Engine, func, select
from sqlalchemy.engine import Connection

from ingestor.alerts.plan import Plan
from ingestor.alerts.watch import Watch
from ingestor.domain.facts import ReceivedFacts
from runtime.clock import Clock
from schemas.alerts.condition import Condition
from schemas.alerts.device_readings import MeasuredValue
from schemas.alerts.item_health import is_meant, worst_item
from schemas.database.rules.stored_items import read_healths
from schemas.database.tables import fact_change

STEP_SECONDS = 1.0
READ_EACH_STEP = 100
CHANGES_EACH_STEP = 500

ItemSignal = tuple[Watch, Condition, MeasuredValue]


class FactSignals:
    """The machines whose stored lists are to be read, and the last change that was evaluated."""

    def __init__(self, engine: Engine, clock: Clock) -> None:
        self._engine = engine
        self._clock = clock
        self._evaluated: dict[int, Plan] = {}
        """By machine id: the plan with which its stored lists were evaluated."""
        self._to_read: deque[int] = deque()
        self._newest = 0
        self._step_at = 0.0

    def load(self, connection: Connection) -> None:
        """Evaluate all stored lists again, and the changes that are recorded from now on."""
        self._evaluated.clear()
        self._to_read.clear()
        self._step_at = 0.0
        self._newest = connection.scalar(select(func.max(fact_change.c.id))) or 0

    def received(self, watch: Watch, facts: ReceivedFacts) -> Iterator[ItemSignal]:
        """Yield the signals of a list that arrived."""
        for condition in watch.plan.of_kind("unhealthy", facts.kind):
            if facts.message is None:
                yield watch, condition, MeasuredValue(None)
            else:
                healths = {key: item.health for key, item in facts.message.items.items()}
                yield watch, condition, worst_item(condition.rule, healths)

    def step(self, watches: Mapping[int, Watch]) -> Iterator[ItemSignal]:
        """Yield the signals of stored lists and of new changes."""
        if self._clock.monotonic() < self._step_at:
            return
        self._step_at = self._clock.monotonic() + STEP_SECONDS
        watches_changes = False
        for id_, watch in watches.items():
            if not watch.plan.about_facts:  # of most machines; asked of the plan, as there may be thousands of them
                continue
            watches_changes |= watch.plan.watches_changes
            if self._evaluated.get(id_) is not watch.plan:
                self._evaluated[id_] = watch.plan
                self._to_read.append(id_)
        yield from self._stored(watches)
        yield from self._changes(watches, wanted=watches_changes)

    def _stored(self, watches: Mapping[int, Watch]) -> Iterator[ItemSignal]:
        due = [self._to_read.popleft() for _ in range(min(READ_EACH_STEP, len(self._to_read)))]
        by_kind: dict[str, list[tuple[Watch, Condition]]] = {}
        for watch in (watches[id_] for id_ in due if id_ in watches):
            for condition in watch.plan.others:
                if condition.rule.kind == "unhealthy":
                    by_kind.setdefault(condition.rule.metric, []).append((watch, condition))
        for kind, meant in by_kind.items():
            found = read_healths(self._engine, kind, sorted({watch.machine.id for watch, _ in meant}))
            for watch, condition in meant:
                healths = found.get(watch.machine.id)
                yield watch, condition, MeasuredValue(None) if healths is None else worst_item(condition.rule, healths)

    def _changes(self, watches: Mapping[int, Watch], *, wanted: bool) -> Iterator[ItemSignal]:
        with self._engine.connect() as connection:
            if not wanted:
                self._newest = connection.scalar(select(func.max(fact_change.c.id))) or self._newest
                return
            columns = (fact_change.c.id, fact_change.c.machine_id, fact_change.c.kind, fact_change.c.key)
            query = select(*columns).where(fact_change.c.id > self._newest).order_by(fact_change.c.id)
            rows = connection.execute(query.limit(CHANGES_EACH_STEP)).all()
        for row in rows:
            self._newest = row.id
            if (watch := watches.get(row.machine_id)) is not None and row.key:
                yield from self._changed(watch, row.kind, row.key)

    def _changed(self, watch: Watch, kind: str, key: str) -> Iterable[ItemSignal]:
        for condition in watch.plan.of_kind("changed", kind):
            if is_meant(condition.rule, key):
                yield from ((watch, condition, MeasuredValue(value, key)) for value in (1.0, 0.0))
