"""The machines that an ingestor keeps in memory: those of the organisations whose messages may come here.

Whoever is not in it is looked for in the database, at most every UNKNOWN_SECONDS while there is no such machine.
"""

from collections.abc import Callable, Collection

from ingestor.domain.machine import Machine
from ingestor.storage.store import Store

UNKNOWN_SECONDS = 5.0
UNKNOWN_MAX = 10_000

Key = tuple[str, str]
"""An organisation, and the id of a machine in it."""


class Roster:
    """`stores`: whether samples of an organisation may come here; `monotonic`: seconds that never step."""

    def __init__(self, store: Store, *, stores: Callable[[str], bool], monotonic: Callable[[], float]) -> None:
        self._store = store
        self._stores = stores
        self._monotonic = monotonic
        self._machines: dict[Key, Machine] = {}
        self._unknown: dict[Key, float] = {}

    @property
    def machines(self) -> Collection[Machine]:
        """All that are known here."""
        return self._machines.values()

    def known(self, org: str, name: str) -> Machine | None:
        """A machine, if it is known here."""
        return self._machines.get((org, name))

    def find(self, org: str, name: str) -> Machine | None:
        """A machine, if there is one. Raises what the database raises when it is away."""
        found = self._machines.get((org, name))
        if found is None and self._stores(org) and self._monotonic() >= self._unknown.get((org, name), 0):
            found = self._store.machine(org, name)
            if found is None:
                if len(self._unknown) >= UNKNOWN_MAX:
                    self._unknown.clear()
                self._unknown[org, name] = self._monotonic() + UNKNOWN_SECONDS
            else:
                self._machines[org, name] = found
        return found

    def count(self, org: str) -> int:
        """How many machines of an organisation are known here."""
        return sum(machine.org == org for machine in self._machines.values())

    def load(self) -> None:
        """Read all anew, and forget what was known."""
        mine = (machine for machine in self._store.machines() if self._stores(machine.org))
        self._machines = {(machine.org, machine.name): machine for machine in mine}
        self._unknown.clear()

    def keep(self, before: Collection[Machine]) -> list[Machine]:
        """Take for those of these that are in it what was known of them. The machines that are new."""
        kept = {(machine.org, machine.name): machine for machine in before}
        new = [machine for key, machine in self._machines.items() if key not in kept]
        self._machines |= {key: kept[key] for key in kept.keys() & self._machines.keys()}
        return new

    def clear(self) -> None:
        """Forget everything."""
        self._machines = {}
