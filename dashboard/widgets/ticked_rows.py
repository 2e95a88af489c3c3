"""The rows that a visitor has ticked in a table: what the browser sends is applied to what is kept here. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from schemas.contract.topics import is_id
from schemas.database.queries.machines import SELECTION_MAX


@dataclass(frozen=True, slots=True)
class TickedRows:
    """The ids of the rows that are ticked in a table. A new `revision` makes the browser discard its ticks."""

    revision: int = 0
    names: tuple[str, ...] = ()

    def ticked(self, received: object) -> "TickedRows":
        """Apply ticks from the browser. Those of another revision, or malformed ones, change nothing."""
        if not isinstance(received, Mapping) or received.get("revision") != self.revision:
            return self
        changes = received.get("changes")
        if not isinstance(changes, Mapping):
            return self
        known = dict.fromkeys(self.names)
        for name, on in changes.items():
            if on is True and isinstance(name, str) and is_id(name):
                known.setdefault(name)
            elif on is False:
                known.pop(name, None)
        return replace(self, names=tuple(known)[:SELECTION_MAX])

    def set(self, names: Sequence[str]) -> "TickedRows":
        """Replace the selection, other than by ticks."""
        return TickedRows(self.revision + 1, tuple(names))
