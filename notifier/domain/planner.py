"""Decision which messages are due: the state behind `next_step`, and the grouping into messages.

    planner.configure(recipients, now)
    planner.observe(problem, now, live=…)             for each message of the broker
    for notice in planner.due(now, busy): …           store it with its marks, then send it

Invariants:
- Driven by calls with the time; it never waits and knows neither a database nor a transport.
- A problem is in a destination's message only if `next_step` says so at the moment of sending.
- A destination has at most one message under way: what becomes due meanwhile shares the next one.
- `changed` and the notices returned are to be stored in one transaction: together they are the whole state.
"""

import heapq
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace

from notifier.domain.flapping import FlappingLimit
from notifier.domain.matching import Recipient, group_key
from notifier.domain.next_step import FINAL, Step, next_step
from notifier.domain.problem import NoticeKind, Problem

ITEMS_MAX = 100
"""Maximum number of problems in one message; the rest is in the next one."""

KEPT_MILLISECONDS = 2 * 3_600_000
"""Time for which a problem that is over stays in memory, longer than the broker retains its end."""

UNCOUNTED = frozenset((NoticeKind.REMINDER, NoticeKind.DROPPED))
"""Kinds that the limit on flapping does not concern."""

ProblemKey = tuple[str, str]
"""Organisation and key of a problem."""


@dataclass(slots=True)
class Known:
    """A problem and what was told about it: by destination, the time of each kind."""

    problem: Problem
    first_seen_at: int
    told: dict[int, dict[NoticeKind, int]] = field(default_factory=dict)
    forgotten: set[int] = field(default_factory=set)
    """Destinations whose stored marks are to be deleted with the next commit."""

    def reopen(self, problem: Problem) -> None:
        """Go on with a problem that was over: those who were told of its end are told of the problem again."""
        self.problem = problem
        self.forgotten |= {id_ for id_, told in self.told.items() if not told.keys().isdisjoint(FINAL)}
        for id_ in self.forgotten:
            self.told.pop(id_, None)


@dataclass(frozen=True, slots=True)
class NoticeItem:
    """A problem in a message."""

    kind: NoticeKind
    problem: Problem


@dataclass(frozen=True, slots=True)
class Notice:
    """A message to a destination, or only a record that no message is sent, if all its items are dropped."""

    recipient: Recipient
    items: tuple[NoticeItem, ...]

    @property
    def told(self) -> tuple[NoticeItem, ...]:
        """The items that the message contains."""
        return tuple(item for item in self.items if item.kind is not NoticeKind.DROPPED)


class Planner:
    """All problems of all organisations, and the messages that are due about them."""

    def __init__(self, known: Iterable[Known] = ()) -> None:
        self.limit = FlappingLimit()
        self._known: dict[ProblemKey, Known] = {}
        self._recipients: dict[int, Recipient] = {}
        self._by_org: dict[str, list[Recipient]] = {}
        self._wakes: list[tuple[int, int, ProblemKey]] = []
        """Times at which to return to a problem, with the destination."""
        self._planned: set[tuple[int, int, ProblemKey]] = set()
        """The same, so that each is there once."""
        self._ready: dict[int, dict[ProblemKey, None]] = {}
        self._opened_at: dict[int, int] = {}
        self._changed: dict[ProblemKey, Known] = {}
        self._now = 0
        for each in known:
            self._known[each.problem.org, each.problem.key] = each
        self._count_sent()

    def configure(self, recipients: Iterable[Recipient], now: int) -> None:
        """Replace the recipients; all problems are judged again for those that are new or changed."""
        before, self._recipients = self._recipients, {each.id: each for each in recipients}
        self._by_org = {}
        for recipient in self._recipients.values():
            self._by_org.setdefault(recipient.org, []).append(recipient)
        changed = {id_ for id_, recipient in self._recipients.items() if before.get(id_) != recipient}
        for key, known in self._known.items():
            for recipient in self._by_org.get(known.problem.org, ()):
                if recipient.id in changed:
                    self._wake(now, recipient.id, key)

    def observe(self, problem: Problem, now: int, *, live: bool = False) -> None:
        """Record the state of a problem.

        One that is over stays over, unless a `live` message says that it lasts: late data showed that it had not ended.
        A message that the broker had retained may be older than the end.
        """
        key = (problem.org, problem.key)
        known = self._known.get(key)
        if known is None:
            known = self._known[key] = Known(problem, first_seen_at=now)
        elif problem == known.problem:
            return
        elif known.problem.until is not None and problem.until is None:
            if not live:
                return
            known.reopen(problem)
        elif problem.until is not None and not problem.silenced_until:
            known.problem = replace(problem, silenced_until=known.problem.silenced_until)
        else:
            known.problem = problem
        self._changed[key] = known
        for recipient in self._by_org.get(problem.org, ()):
            self._wake(now, recipient.id, key)

    def open_problems(self) -> list[Problem]:
        """Return the problems that last."""
        return [known.problem for known in self._known.values() if known.problem.until is None]

    def find(self, org: str, key: str) -> Problem | None:
        """Return a problem, or None if it is not known."""
        known = self._known.get((org, key))
        return None if known is None else known.problem

    def changed(self) -> list[Known]:
        """Return the problems that changed since the last call, to be stored."""
        found, self._changed = list(self._changed.values()), {}
        return found

    def due(self, now: int, busy: Callable[[int], bool]) -> list[Notice]:
        """Return what is to be sent now, recorded as told. `busy`: whether a destination's message is under way."""
        if now < self._now:
            self._clock_was_set_back(now)
        self._now = now
        while self._wakes and self._wakes[0][0] <= now:
            _at, id_, key = wake = heapq.heappop(self._wakes)
            self._planned.remove(wake)
            self._judge(id_, key, now)
        notices: list[Notice] = []
        for id_, opened_at in list(self._opened_at.items()):
            recipient = self._recipients.get(id_)
            if recipient is None:
                del self._opened_at[id_], self._ready[id_]
            elif now - opened_at >= recipient.preferences.group_seconds * 1000 and not busy(id_):
                notices += self._close_group(recipient, now)
        return notices

    def prune(self, now: int) -> None:
        """Forget problems that have been over for long, and destinations that were removed."""
        self.limit.prune(now)
        waiting = {key for ready in self._ready.values() for key in ready} | {key for _at, _id, key in self._wakes}
        for key, known in list(self._known.items()):
            until = known.problem.until
            if until is not None and max(until, known.first_seen_at) < now - KEPT_MILLISECONDS and key not in waiting:
                del self._known[key]

    def _clock_was_set_back(self, now: int) -> None:
        """Judge everything again: the times at which that was planned are too far ahead."""
        self._opened_at = {id_: min(at, now) for id_, at in self._opened_at.items()}
        self._wakes.clear()
        self._planned.clear()
        for key, known in self._known.items():
            known.first_seen_at = min(known.first_seen_at, now)
            for recipient in self._by_org.get(known.problem.org, ()):
                self._wake(now, recipient.id, key)

    def _count_sent(self) -> None:
        """Fill the limit of messages from what was told before."""
        marks = [
            (at, id_, known.problem)
            for known in self._known.values()
            for id_, told in known.told.items()
            for kind, at in told.items()
            if kind not in UNCOUNTED
        ]
        for at, id_, problem in sorted(marks, key=lambda mark: mark[0]):
            self.limit.sent(id_, problem, at)

    def _wake(self, at: int, id_: int, key: ProblemKey) -> None:
        if (wake := (at, id_, key)) not in self._planned:
            self._planned.add(wake)
            heapq.heappush(self._wakes, wake)

    def _judge(self, id_: int, key: ProblemKey, now: int) -> None:
        """Add a problem to the next message of a destination if it is due, else return to it when it may be."""
        step = self._step(id_, key, now)
        if step is None:
            return
        if step.due_at > now:
            self._wake(step.due_at, id_, key)
        else:
            self._ready.setdefault(id_, {})[key] = None
            self._opened_at.setdefault(id_, now)

    def _step(self, id_: int, key: ProblemKey, now: int) -> Step | None:
        known, recipient = self._known.get(key), self._recipients.get(id_)
        if known is None or recipient is None:
            return None
        told = known.told.get(id_, {})
        return next_step(known.problem, recipient, told, first_seen_at=known.first_seen_at, now=now)

    def _close_group(self, recipient: Recipient, now: int) -> list[Notice]:
        """Return one message for the group of the first item that is due, and what is dropped; keep the rest."""
        id_, ready = recipient.id, self._ready[recipient.id]
        chosen: list[NoticeItem] = []
        dropped: list[NoticeItem] = []
        group: tuple[str, ...] | None = None
        for key in list(ready):
            step, known = self._step(id_, key, now), self._known.get(key)
            if step is None or known is None or step.due_at > now:
                del ready[key]
                self._judge(id_, key, now)
                continue
            open_at = now if step.kind in UNCOUNTED else self.limit.open_at(id_, known.problem, now)
            if open_at > now:
                del ready[key]
                self._wake(open_at, id_, key)
                continue
            own = group_key(known.problem, recipient.preferences.group_by)
            group = own if group is None and step.kind is not NoticeKind.DROPPED else group
            if step.kind is NoticeKind.DROPPED:
                dropped.append(self._tell(id_, key, step.kind, now))
            elif own == group and len(chosen) < ITEMS_MAX:
                chosen.append(self._tell(id_, key, step.kind, now))
        if not ready:
            del self._ready[id_], self._opened_at[id_]
        found = (Notice(recipient, tuple(items)) for items in (chosen, dropped) if items)
        return list(found)

    def _tell(self, id_: int, key: ProblemKey, kind: NoticeKind, now: int) -> NoticeItem:
        """Record that a problem is told, and return to it for its next step."""
        known = self._known[key]
        known.told.setdefault(id_, {})[kind] = now
        del self._ready[id_][key]
        if kind not in UNCOUNTED:
            self.limit.sent(id_, known.problem, now)
        self._wake(now + 1, id_, key)
        return NoticeItem(kind, known.problem)
