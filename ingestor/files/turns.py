"""Queue of machines that wait for an answer: organisations take turns, and so do the machines of each.

Invariants:
- Of each machine only the newest waits, so that what waits is bounded by the number of machines.
- Nothing is taken above the rates of its machine, of its organisation, and of all (`ingestor.files.file_rates`).
"""

from typing import Generic, TypeVar

from ingestor.files.file_rates import FileRates

T = TypeVar("T")

WAITING_MAX = 10_000
"""Machines of one organisation that wait; those above are dropped, and ask again."""


class Turns(Generic[T]):
    """A queue of one thing per machine."""

    def __init__(self, rates: FileRates) -> None:
        self._rates = rates
        self._waiting: dict[str, dict[str, T]] = {}

    def __bool__(self) -> bool:
        """Whether somebody waits, perhaps for the rates alone."""
        return any(self._waiting.values())

    def put(self, org: str, machine: str, item: T) -> None:
        """Let a machine wait for this, in place of what it waited for."""
        of_org = self._waiting.setdefault(org, {})
        if machine in of_org or len(of_org) < WAITING_MAX:
            of_org[machine] = item

    def take(self) -> tuple[str, str, T] | None:
        """Remove and return organisation, machine and thing whose turn it is; None while nobody may have one."""
        return next(filter(None, map(self._take_of, self._waiting)), None)

    def clear(self) -> None:
        """Forget what waits."""
        self._waiting.clear()

    def _take_of(self, org: str) -> tuple[str, str, T] | None:
        """Remove and return the next of an organisation, which is then the last to have its turn again."""
        if not self._rates.permits(org):
            return None
        of_org = self._waiting[org]
        machine = next((name for name in of_org if self._rates.permits(org, name)), None)
        if machine is None:
            return None
        item = of_org.pop(machine)
        del self._waiting[org]
        if of_org:
            self._waiting[org] = of_org
        return org, machine, item
