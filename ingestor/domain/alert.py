"""An alert: a condition of one machine that lasts, and who is to be notified of it."""

from dataclasses import dataclass
from typing import Literal

from schemas.contract.alerts import Acknowledgement

Severity = Literal["warning", "critical"]

AlertKey = tuple[int, str]
"""Identity of an open alert: (machine id, rule name)."""


@dataclass(slots=True, eq=False)
class Alert:
    """An alert. `ended_at` is None while it is open, `id` until it is stored. Times are the server's clock.

    `value` is the reading that began it, in `unit`. `closed_at` is the time at which its end became known. `past`: it
    was over when it became known. `retracted`: data that arrived late show that its condition did not last, so there
    was no alert; its row is removed. `withdrawn`: it ended because its rule no longer applies or its machine was
    retired, and nothing is known of its condition. `silenced_until` is the end of the silence that applies; None: none
    applies.
    """

    machine: int
    org: str
    name: str
    rule: str
    title: str
    severity: Severity
    started_at: int
    detail: str = ""
    ended_at: int | None = None
    id: int | None = None
    value: float | None = None
    unit: str | None = None
    past: bool = False
    closed_at: int | None = None
    acknowledged: Acknowledgement | None = None
    silenced_until: int | None = None
    silence_reason: str = ""
    retracted: bool = False
    withdrawn: bool = False

    @property
    def key(self) -> AlertKey:
        """Identity while the alert is open."""
        return self.machine, self.rule
