"""Faults of simulated machines: how often and how strongly they happen, and when the next one is due.

Faults that happen at moments (cuts, restarts, reboots) follow a Poisson process of their own for each machine.
"""

import random
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field

from runtime.errors import UserError

FaultKind = Literal["cut", "restart", "reboot"]

FAULT_NAMES: Final[Mapping[str, str]] = {
    "loss": "loss",
    "cuts": "cuts_per_hour",
    "cut-seconds": "cut_seconds",
    "restarts": "restarts_per_hour",
    "reboots": "reboots_per_hour",
    "delay": "delay_seconds",
    "clock-error": "clock_error_seconds",
    "backlog": "backlog_seconds",
}
"""Fields of Faults by the names of the command line, where `loss` is a percentage."""


class Faults(BaseModel):
    """Faults of every machine of a simulation. Everything is off by default.

    `loss` is the share of samples and batches that never arrive although they were sent. A cut takes the network away
    for `cut_seconds` on average. `delay_seconds` is the longest time for which a message is held back.
    `clock_error_seconds` is the standard deviation of the machines' clocks. `backlog_seconds` is the time before the
    start of which every machine has samples to send.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    @classmethod
    def parse(cls, given: Iterable[str]) -> Self:
        """Return the faults written as NAME=VALUE, with a name of FAULT_NAMES. Raises UserError."""
        found: dict[str, float] = {}
        for text in given:
            name, equals, value = text.partition("=")
            if not equals or name not in FAULT_NAMES:
                raise UserError(f"invalid fault {text!r}: write NAME=NUMBER with one of {', '.join(FAULT_NAMES)}")
            try:
                found[FAULT_NAMES[name]] = float(value) / (100 if name == "loss" else 1)
                cls(**found)
            except ValueError:
                raise UserError(f"invalid fault {text!r}: the number is out of range") from None
        return cls(**found)

    loss: float = Field(default=0.0, ge=0, le=0.9)
    cuts_per_hour: float = Field(default=0.0, ge=0, le=3600)
    cut_seconds: float = Field(default=30.0, gt=0, le=86_400)
    restarts_per_hour: float = Field(default=0.0, ge=0, le=3600)
    reboots_per_hour: float = Field(default=0.0, ge=0, le=3600)
    delay_seconds: float = Field(default=0.0, ge=0, le=60)
    clock_error_seconds: float = Field(default=0.0, ge=0, le=86_400)
    backlog_seconds: float = Field(default=0.0, ge=0, le=86_400)


@dataclass
class FaultTimes:
    """The next time of each kind of fault of one machine, in seconds of the monotonic clock."""

    faults: Faults
    random: random.Random
    now: float
    _due: dict[FaultKind, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        rates: dict[FaultKind, float] = {
            "cut": self.faults.cuts_per_hour,
            "restart": self.faults.restarts_per_hour,
            "reboot": self.faults.reboots_per_hour,
        }
        self._rates = {kind: rate / 3600 for kind, rate in rates.items() if rate}
        self._due = {kind: self.now + self.random.expovariate(rate) for kind, rate in self._rates.items()}

    @property
    def due_at(self) -> float:
        """When the next fault is due; infinity if there is none."""
        return min(self._due.values(), default=float("inf"))

    def take(self, now: float) -> list[FaultKind]:
        """Return the faults that are due, and draw their next times."""
        found = [kind for kind, at in self._due.items() if at <= now]
        for kind in found:
            self._due[kind] = now + self.random.expovariate(self._rates[kind])
        return found

    def outage_seconds(self) -> float:
        """Return the duration of a cut."""
        return self.random.expovariate(1 / self.faults.cut_seconds)
