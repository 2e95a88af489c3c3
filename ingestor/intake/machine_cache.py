"""The machines in memory: those of the organisations whose messages this ingestor may receive.

A machine that is not cached is looked up in the database, at most every UNKNOWN_SECONDS while it does not exist.
"""

from collections.abc import Collection

from ingestor.cluster.work_assignment import WorkAssignment
from ingestor.domain.machine import Machine
from ingestor.storage.store import Store
from runtime.clock import Clock

UNKNOWN_SECONDS = 5.0
UNKNOWN_MAX = 10_000

Key = tuple[str, str]
"""An organisation, and the id of a machine in it."""


class MachineCache:
    """The cached machines of one ingestor."""

    def __init__(self, store: Store, assignment: WorkAssignment, clock: Clock) -> None:
        self._store = store
        self._assignment = assignment
        self._clock = clock
        self._machines: dict[Key, Machine] = {}
        self._unknown: dict[Key, float] = {}

    @property
    def machines(self) -> Collection[Machine]:
        """All cached machines."""
        return self._machines.values()

    def get(self, org: str, name: str) -> Machine | None:
        """Return a machine if it is cached."""
        return self._machines.get((org, name))

    def find(self, org: str, name: str) -> Machine | None:
        """Return a machine if it exists. Raises DBAPIError when the database is unavailable."""
        found = self._machines.get((org, name))
        if found is not None or not self._assignment.stores(org):
            return found
        if self._clock.monotonic() >= self._unknown.get((org, name), 0):
            found = self._store.machine(org, name)
            if found is None:
                if len(self._unknown) >= UNKNOWN_MAX:
                    self._unknown.clear()
                self._unknown[org, name] = self._clock.monotonic() + UNKNOWN_SECONDS
            else:
                self._machines[org, name] = found
        return found

    def count(self, org: str) -> int:
        """Return the number of cached machines of an organisation."""
        return sum(machine.org == org for machine in self._machines.values())

    def load(self) -> None:
        """Read all machines again."""
        mine = (machine for machine in self._store.machines() if self._assignment.stores(machine.org))
        self._machines = {(machine.org, machine.name): machine for machine in mine}
        self._unknown.clear()

    def read_again(self, machines: Collection[Machine]) -> None:
        """Read these machines again: what they hold was not committed. Evict those that no longer exist."""
        found = {machine.id: machine for machine in self._store.machines([machine.id for machine in machines])}
        for machine in machines:
            if (stored := found.get(machine.id)) is not None:
                machine.restore(stored)
            else:
                self._machines.pop((machine.org, machine.name), None)

    def keep(self, before: Collection[Machine]) -> list[Machine]:
        """Put these objects back in place of those just loaded; return the machines that are new."""
        kept = {(machine.org, machine.name): machine for machine in before}
        new = [machine for key, machine in self._machines.items() if key not in kept]
        self._machines |= {key: kept[key] for key in kept.keys() & self._machines.keys()}
        return new

    def clear(self) -> None:
        """Evict everything."""
        self._machines = {}
