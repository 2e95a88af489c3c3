"""The timeline of one rule for one machine: verdicts in the order of time become the beginnings and ends of alerts.

Invariants:
- Only the times and values of the points decide. The time at which they became known does not, so live data, late data,
  a replay and a preview give the same alerts.
- A value counts until the next one, at most for `hold`; after that nothing is known. What is not known interrupts a
  duration, and neither begins nor ends an alert.
- An alert begins and ends when its condition did, although both are decided only after the rule's durations.
"""

from dataclasses import dataclass
from typing import NamedTuple

from schemas.alerts.condition import Condition


class Decision(NamedTuple):
    """A beginning or an end. `at`: when the condition began or ended; `decided_at`: when that was certain.

    `device`: the one that the value is of; empty: the rule is not about devices.
    """

    begins: bool
    at: int
    decided_at: int
    value: float | None
    device: str = ""


@dataclass(slots=True)
class Timeline:
    """State of a rule for a machine. Times in milliseconds of the server's clock; `hold` None: for ever."""

    condition: Condition
    hold: int | None = None
    active_since: int | None = None
    """Beginning of the active alert."""
    differs_since: int | None = None
    """Time since which the verdict differs from the state."""
    at: int = 0
    value: float | None = None
    device: str = ""

    @property
    def is_at_rest(self) -> bool:
        """Whether nothing is active and nothing is about to begin."""
        return self.active_since is None and self.differs_since is None

    @property
    def known_until(self) -> float:
        """Time until which the last value counts."""
        return float("inf") if self.hold is None else self.at + self.hold

    @property
    def due_at(self) -> int | None:
        """Time of the next decision if no other value comes; None: none."""
        if self.differs_since is None:
            return None
        wait = self.condition.for_ if self.active_since is None else self.condition.clear
        due = self.differs_since + wait
        return due if due <= self.known_until else None

    def advance(self, until: int) -> Decision | None:
        """Let time pass until this moment; return what that decides."""
        decision = None
        due = self.due_at
        if due is not None and due <= until:
            begins = self.active_since is None
            at, self.differs_since = self.differs_since or 0, None
            if not begins and self.condition.rule.kind == "changed":
                at = due  # a change is over at once, and stays an alert for the duration
            self.active_since = at if begins else None
            decision = Decision(begins, at, due, self.value, self.device)
        if until > self.known_until:
            self.differs_since = None
        return decision

    def add(self, at: int, value: float | None, device: str = "") -> list[Decision]:
        """Add a value, which is not older than the one before; return what is decided up to this time."""
        is_active = self.active_since is not None
        if self.differs_since is None:  # nothing is about to be decided, and mostly nothing changes
            verdict = self.condition.verdict(value, active=is_active)
            if verdict is None or verdict == is_active:
                self.at, self.value, self.device = at, value, device
                return []
        decisions = [self.advance(at)]
        self.at, self.value, self.device = at, value, device
        verdict = self.condition.verdict(value, active=self.active_since is not None)
        if verdict is None or verdict == (self.active_since is not None):
            self.differs_since = None
        elif self.differs_since is None:
            self.differs_since = at
        decisions.append(self.advance(at))  # without a duration
        return [decision for decision in decisions if decision is not None]


@dataclass(slots=True)
class AlertSpan:
    """An alert of a replay: `ended_at` is None while it is active, `value` began it."""

    started_at: int
    ended_at: int | None
    value: float | None
    device: str = ""


def collect(spans: list[AlertSpan], decisions: list[Decision]) -> None:
    """Add decisions in order of time to the alerts of one rule."""
    for decision in decisions:
        if decision.begins:
            spans.append(AlertSpan(decision.at, None, decision.value, decision.device))
        elif spans:
            spans[-1].ended_at = decision.at
