"""The next message about a problem to a destination: a pure function of what is known and what was told.

Invariants:
- Each of problem (or escalation), recovery and past is told at most once per problem and destination, unless it begins
  again after its end was told (`Known.reopen`); reminders repeat.
- A problem that is silenced, acknowledged or within quiet hours is not told now. If it is over before it may be told,
  it is not told at all; the same holds for an escalation that is over before its delay, and for one of the past that
  did not last for its delay.
- A problem whose only obstacle was time (a restart, a message in preparation) is told as past when it is over.
- Nothing that was over before the destination existed, or had its present routes, is told as past.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from notifier.domain.matching import Recipient, delay_seconds
from notifier.domain.problem import NoticeKind, Problem

MINUTE = 60_000

_TOLD = (NoticeKind.PROBLEM, NoticeKind.ESCALATION)
FINAL = (NoticeKind.RECOVERY, NoticeKind.PAST, NoticeKind.DROPPED)
"""Kinds after which nothing more is told about a problem."""


@dataclass(frozen=True, slots=True)
class Step:
    """The kind of the next message, and the time from which it is due (milliseconds)."""

    kind: NoticeKind
    due_at: int


def next_step(
    problem: Problem, recipient: Recipient, told: Mapping[NoticeKind, int], *, first_seen_at: int, now: int
) -> Step | None:
    """Return the next step, or None if nothing will be told any more unless the problem changes.

    `told`: when each kind was told. `first_seen_at`: when the notifier learned of the problem.
    """
    delay = delay_seconds(problem, recipient)
    if delay is None or any(kind in told for kind in FINAL):
        return None
    told_at = max((told[kind] for kind in _TOLD if kind in told), default=None)
    if problem.until is not None:
        return _at_its_end(problem, recipient, told_at, delay=delay, first_seen_at=first_seen_at, now=now)
    if told_at is None:
        kind = NoticeKind.ESCALATION if delay else NoticeKind.PROBLEM
        return _when_allowed(kind, problem, recipient, first_seen_at + delay * 1000, now)
    repeat = recipient.preferences.repeat_seconds
    if not repeat:
        return None
    last_at = max(told_at, told.get(NoticeKind.REMINDER, 0))
    return _when_allowed(NoticeKind.REMINDER, problem, recipient, last_at + repeat * 1000, now)


def _when_allowed(kind: NoticeKind, problem: Problem, recipient: Recipient, due_at: int, now: int) -> Step | None:
    """Return when an open problem may be told; None if it is acknowledged."""
    if problem.acknowledged_at is not None:
        return None
    if problem.is_silenced(now):
        return Step(kind, max(due_at, problem.silenced_until or 0))
    return Step(kind, _after_quiet_hours(problem, recipient, due_at, now))


def _at_its_end(
    problem: Problem, recipient: Recipient, told_at: int | None, *, delay: int, first_seen_at: int, now: int
) -> Step | None:
    until = problem.until or 0
    if told_at is not None:
        kind = NoticeKind.RECOVERY if recipient.preferences.recovery else NoticeKind.DROPPED
        return Step(kind, now if kind is NoticeKind.DROPPED else _after_quiet_hours(problem, recipient, now, now))
    if until < recipient.since_at:
        return None
    silenced = problem.silenced_until is not None and until < problem.silenced_until
    if problem.past and not silenced and until - problem.since >= delay * 1000:
        return Step(NoticeKind.PAST, _after_quiet_hours(problem, recipient, now, now))
    overdue = delay > 0 and (problem.past or until < first_seen_at + delay * 1000)
    quiet = recipient.preferences.is_quiet(problem.severity, until)
    if silenced or overdue or quiet or problem.acknowledged_at is not None:
        return Step(NoticeKind.DROPPED, now)
    return Step(NoticeKind.PAST, _after_quiet_hours(problem, recipient, now, now))


def _after_quiet_hours(problem: Problem, recipient: Recipient, due_at: int, now: int) -> int:
    """Return `due_at`, or the next minute while it is quiet: quiet hours are checked again each minute."""
    if due_at > now or not recipient.preferences.is_quiet(problem.severity, now):
        return due_at
    return now - now % MINUTE + MINUTE
