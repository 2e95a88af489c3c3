"""Number and size of the files that are stored for each organisation, without reading all directories each time.

Invariants:
- An organisation is counted once. After that only these directories are read again: the pushed files, which the command
  line changes too, those pulled from the machine in question, and those of the machines that `changed` has named.
- What another process deletes elsewhere is noticed after `forget`, so a question is asked again before it is refused.
"""

import os
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

PUSHED, PULLED = "pushed", "pulled"


class Total(NamedTuple):
    """Number of files, and their bytes."""

    files: int = 0
    bytes: int = 0

    def plus(self, other: "Total", sign: int = 1) -> "Total":
        """Return the sum, or with the sign -1 the difference."""
        return Total(self.files + sign * other.files, self.bytes + sign * other.bytes)


@dataclass(slots=True)
class _OrgTotals:
    total: Total = field(default_factory=Total)
    places: dict[str, Total] = field(default_factory=dict)
    """By machine; that of the pushed files is called an empty string."""

    def set(self, machine: str, found: Total) -> None:
        self.total = self.total.plus(found).plus(self.places.pop(machine, Total()), -1)
        if found.files:
            self.places[machine] = found


class StoredTotals:
    """The totals below a directory of `ServerFiles`."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._orgs: dict[str, _OrgTotals] = {}
        self._changed: dict[str, set[str]] = {}

    def changed(self, org: str, machine: str) -> None:
        """Note that files pulled from a machine have changed."""
        self._changed.setdefault(org, set()).add(machine)

    def of(self, org: str, machine: str) -> tuple[Total, Total]:
        """Return the totals of a machine, empty for none, and of its organisation. Raises OSError."""
        if org not in self._orgs:
            self._orgs[org] = self._counted(org)
        totals = self._orgs[org]
        for place in {"", machine, *self._changed.pop(org, ())}:
            totals.set(place, self._count(org, place))
        return totals.places.get(machine, Total()) if machine else Total(), totals.total

    def forget(self) -> None:
        """Count everything again when it is needed next."""
        self._orgs.clear()
        self._changed.clear()

    def _counted(self, org: str) -> _OrgTotals:
        totals = _OrgTotals()
        with suppress(FileNotFoundError), os.scandir(self._directory / org / PULLED) as machines:
            for machine in machines:
                totals.set(machine.name, self._count(org, machine.name))
        return totals

    def _count(self, org: str, machine: str) -> Total:
        files = size = 0
        place = self._directory / org / (Path(PULLED, machine) if machine else PUSHED)
        with suppress(FileNotFoundError, NotADirectoryError), os.scandir(place) as entries:
            for entry in entries:
                with suppress(FileNotFoundError):
                    size += entry.stat(follow_symlinks=False).st_size
                    files += 1
        return Total(files, size)
