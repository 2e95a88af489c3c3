"""A bound on messages about a machine whose alert begins and ends again and again.

Invariants:
- In any hour at most MESSAGES_MAX messages to one destination are about the same rule of the same machine. What is held
  back is told in one message as soon as the hour allows it.
- Reminders do not count: their interval is the recipient's choice.
"""

from collections import deque

from notifier.domain.problem import Problem

MESSAGES_MAX = 5
HOUR = 3_600_000

SourceKey = tuple[int, str, str, str]
"""Destination, organisation, machine and rule."""


class FlappingLimit:
    """Times of the messages of the last hour, by destination, machine and rule."""

    def __init__(self) -> None:
        self._sent: dict[SourceKey, deque[int]] = {}

    def open_at(self, destination: int, problem: Problem, now: int) -> int:
        """Return the time from which a message is allowed: `now`, or later."""
        sent = self._sent.get(_key(destination, problem))
        if sent is None:
            return now
        self._forget(sent, now)
        same_message = bool(sent) and sent[-1] == now
        return now if same_message or len(sent) < MESSAGES_MAX else sent[0] + HOUR

    def sent(self, destination: int, problem: Problem, at: int) -> None:
        """Record a message; two problems of one source in the same message count once."""
        sent = self._sent.setdefault(_key(destination, problem), deque(maxlen=MESSAGES_MAX))
        if not sent or sent[-1] != at:
            sent.append(at)

    def prune(self, now: int) -> None:
        """Forget sources without a message in the last hour."""
        for key, sent in list(self._sent.items()):
            self._forget(sent, now)
            if not sent:
                del self._sent[key]

    @staticmethod
    def _forget(sent: deque[int], now: int) -> None:
        while sent and sent[0] <= now - HOUR:
            sent.popleft()


def _key(destination: int, problem: Problem) -> SourceKey:
    return destination, problem.org, problem.machine, problem.rule
