"""A problem: an alert of a machine or an incident, as its messages describe it to the notifier.

Invariants:
- `key` identifies a problem for ever: the id of the alert or incident. Late data may correct every other field.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class NoticeKind(StrEnum):
    """Reason for which a problem is in a message."""

    PROBLEM = "problem"
    REMINDER = "reminder"
    ESCALATION = "escalation"
    RECOVERY = "recovery"
    PAST = "past"
    """The problem was over when it became known, or before it could be told."""
    DROPPED = "dropped"
    """Recorded only: the problem was over before it was due, so nobody is told."""


@dataclass(frozen=True, slots=True)
class Problem:
    """An alert or incident. Times are milliseconds of the server's clock.

    `machine` is empty for an incident, whose `rule` is its kind, and whose `label` is one that all its machines have.
    `until` is None while it lasts. `withdrawn`: its rule no longer applies; its condition may still hold.
    """

    org: str
    key: str
    rule: str
    severity: str
    since: int
    machine: str = ""
    title: str = ""
    detail: str = ""
    hostname: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    value: float | None = None
    unit: str = ""
    until: int | None = None
    past: bool = False
    withdrawn: bool = False
    acknowledged_by: str = ""
    acknowledged_at: int | None = None
    silenced_until: int | None = None
    machines: tuple[str, ...] = ()
    machine_count: int = 0
    label: str = ""

    @property
    def is_incident(self) -> bool:
        """True for an incident."""
        return not self.machine

    def is_silenced(self, now: int) -> bool:
        """Return True if nobody is to be told at this time."""
        return self.silenced_until is not None and now < self.silenced_until
