"""Durations of rules that have begun: when they end, and which ones a start goes on with.

Invariants:
- Of a rule that no sample decides, a row of `pending_decision` is written in the transaction of what began the
  duration, and deleted in that of what ended it.
- Of rules that samples decide nothing is stored: their samples are evaluated again after a start.
"""

from collections.abc import Collection, Iterator, Mapping
from heapq import heappop, heappush

from sqlalchemy.engine import Connection

from ingestor.alerts.watch import Watch
from ingestor.domain.alert import AlertKey
from ingestor.domain.batch import PendingDecision
from ingestor.storage.incident_store import read_pending
from schemas.alerts.readings import is_sampled
from schemas.alerts.timeline import Timeline


class Durations:
    """The ends that are to be decided, the stored durations by machine id and rule, and the changes to store."""

    def __init__(self) -> None:
        self._due: list[tuple[int, int, str]] = []
        """Times of the next decisions, with machine id and rule; outdated entries are skipped."""
        self._stored: dict[int, dict[str, PendingDecision]] = {}
        self._changed: dict[AlertKey, PendingDecision | None] = {}

    def load(self, connection: Connection, machines: Collection[int]) -> None:
        """Replace everything by what the database has of these machines."""
        self._due, self._stored, self._changed = [], {}, {}
        for each in read_pending(connection):
            if each.machine in machines:
                self._stored.setdefault(each.machine, {})[each.rule] = each

    def restore(self, machine: int, timeline: Timeline) -> bool:
        """Have a new timeline go on with its stored duration; return whether there is one."""
        condition = timeline.condition
        found = self._stored.get(machine, {}).get(condition.rule.name)
        if found is None or found.since < condition.since or is_sampled(condition.rule):
            return False
        timeline.differs_since = timeline.at = found.since
        timeline.value, timeline.device = found.value, found.device
        return True

    def resume(self, watch: Watch, others: Collection[str]) -> None:
        """Go on with what is stored of a machine, and forget it of rules that do not apply; `others`: in Python."""
        for name in list(self._stored.get(watch.machine.id, ())):
            condition = watch.plan.conditions.get(name)
            if watch.is_retired or (condition is None and name not in others):
                self.note(watch.machine.id, name, None)
            elif condition is not None:
                if name not in watch.timelines and self.restore(watch.machine.id, timeline := Timeline(condition)):
                    watch.timelines[name] = timeline
                self.follow(watch, name)

    def forget(self, watch: Watch) -> None:
        """Forget what is stored of a machine that was retired."""
        for name in list(self._stored.get(watch.machine.id, ())):
            self.note(watch.machine.id, name, None)

    def follow(self, watch: Watch, name: str) -> None:
        """Note a change of a timeline, and when it is decided next."""
        timeline = watch.timelines.get(name)
        if timeline is None or timeline.hold is None:
            self.note(watch.machine.id, name, timeline)
        due = None if timeline is None else timeline.due_at
        if due is not None and watch.queued.get(name) != due:
            watch.queued[name] = due
            heappush(self._due, (due, watch.machine.id, name))

    def note(self, machine: int, rule: str, timeline: Timeline | None) -> None:
        """Note the duration of a timeline to be stored; None: it is at rest."""
        since = None if timeline is None else timeline.differs_since
        mine = self._stored.get(machine, {})
        before = mine.get(rule)
        if since == (None if before is None else before.since):
            return
        if timeline is None or since is None:
            del mine[rule]
            self._changed[machine, rule] = None
        else:
            found = PendingDecision(machine, rule, since, timeline.value, timeline.device)
            self._stored.setdefault(machine, {})[rule] = self._changed[machine, rule] = found

    def ended(self, watches: Mapping[int, Watch], now: int) -> Iterator[tuple[Watch, Timeline]]:
        """Yield the timelines whose durations have ended."""
        while self._due and self._due[0][0] <= now:
            due, machine, name = heappop(self._due)
            watch = watches.get(machine)
            timeline = None if watch is None else watch.timelines.get(name)
            if watch is None or timeline is None or watch.queued.pop(name, None) is None or timeline.due_at != due:
                continue
            yield watch, timeline

    def changed(self) -> dict[AlertKey, PendingDecision | None]:
        """Return what changed since the last call; None: the duration is over."""
        found, self._changed = self._changed, {}
        return found
