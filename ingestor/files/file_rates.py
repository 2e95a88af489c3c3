"""Rates at which files are sent: of a machine, of an organisation, and of all together, in bytes per second.

Invariant: the bytes of one second may come at once and no more, so that no acknowledgement waits behind many chunks.
"""

from dataclasses import dataclass, field

from runtime.clock import Clock
from schemas.contract.files.transfer import CHUNK_MAX_BYTES

IDLE_MAX = 10_000
"""Number of machines above which those that have not fetched for a while are forgotten."""


@dataclass(slots=True)
class _Budget:
    bytes: float
    filled_at: float


@dataclass(slots=True)
class FileRates:
    """Budgets that fill with time. `machine`, `org`, `total`: bytes per second."""

    clock: Clock
    machine: float = 1 << 20
    org: float = 8 << 20
    total: float = 16 << 20
    _budgets: dict[tuple[str, str], _Budget] = field(default_factory=dict, init=False)

    def permits(self, org: str, machine: str = "") -> bool:
        """Return whether a chunk for this organisation, and for this machine of it, may be sent now."""
        return all(self._filled(key, rate).bytes > 0 for key, rate in self._rates(org, machine))

    def spend(self, org: str, machine: str, size: int) -> None:
        """Charge the bytes of a chunk that was sent."""
        for key, rate in self._rates(org, machine):
            self._filled(key, rate).bytes -= size
        if len(self._budgets) > IDLE_MAX:
            idle = self.clock.monotonic() - 60
            self._budgets = {key: each for key, each in self._budgets.items() if each.filled_at > idle}

    def _rates(self, org: str, machine: str) -> tuple[tuple[tuple[str, str], float], ...]:
        of_machine = (((org, machine), self.machine),) if machine else ()
        return *of_machine, ((org, ""), self.org), (("", ""), self.total)

    def _filled(self, key: tuple[str, str], rate: float) -> _Budget:
        now, most = self.clock.monotonic(), max(rate, CHUNK_MAX_BYTES)
        budget = self._budgets.setdefault(key, _Budget(most, now))
        budget.bytes = min(most, budget.bytes + (now - budget.filled_at) * rate)
        budget.filled_at = now
        return budget
