"""An alert: a condition of one machine that lasts."""

from dataclasses import dataclass
from typing import Literal

Severity = Literal["warning", "critical"]

AlertKey = tuple[int, str]
"""Identity of an open alert: (machine id, rule name)."""


@dataclass(slots=True, eq=False)
class Alert:
    """An alert. `ended_at` is None while it is open, `id` until it is stored. Times are the server's clock."""

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

    @property
    def key(self) -> AlertKey:
        """Identity while the alert is open."""
        return self.machine, self.rule
