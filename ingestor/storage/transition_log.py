"""Presence transitions, bounded for each machine and hour.

Invariant: above the bound, a machine's transitions of an hour are one row with the reason `flapping`. It has their
number and the last of them, so the newest row of a machine always has its presence.
"""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import delete, insert, select
from sqlalchemy.engine import Connection

from ingestor.domain.batch import Transition
from schemas.database.tables import transition
from schemas.fleet.availability import FLAPPING
from schemas.fleet.history import HOUR

TRANSITIONS_MAX = 60


class TransitionLog:
    """Writes transitions: `most` rows per machine and hour, by this ingestor since its start, and one more."""

    def __init__(self, most: int = TRANSITIONS_MAX) -> None:
        self.folded = 0
        """Number of transitions above the bound."""
        self._most = most
        self._hour = -1
        self._numbers: dict[int, int] = {}

    def write(self, connection: Connection, transitions: Sequence[Transition]) -> None:
        """Store transitions as a part of a transaction."""
        rows: list[dict[str, Any]] = []
        folded: dict[int, list[Transition]] = {}
        for change in transitions:
            if self._is_above(change):
                folded.setdefault(change.machine.id, []).append(change)
            else:
                rows.append(_row(change))
        if rows:
            connection.execute(insert(transition), rows)
        for changes in folded.values():
            _fold(connection, changes)
            self.folded += len(changes)

    def _is_above(self, change: Transition) -> bool:
        """Count a transition; return whether it exceeds the bound."""
        if change.at // HOUR != self._hour:
            self._hour = change.at // HOUR
            self._numbers.clear()
        number = self._numbers[change.machine.id] = self._numbers.get(change.machine.id, 0) + 1
        return number > self._most


def _fold(connection: Connection, changes: Sequence[Transition]) -> None:
    """Replace the row `flapping` of this machine and hour by one that includes these changes."""
    first, last, table = changes[0], changes[-1], transition.c
    mine = (table.machine_id == first.machine.id, table.at >= first.at // HOUR * HOUR, table.reason == FLAPPING)
    before = connection.execute(select(table.before, table.times).where(*mine)).all()
    connection.execute(delete(transition).where(*mine))
    times = len(changes) + sum(row.times for row in before)
    row = {**_row(last), "before": before[0].before if before else first.before.presence.value}
    connection.execute(insert(transition), {**row, "reason": FLAPPING, "times": times})


def _row(change: Transition) -> dict[str, Any]:
    return {
        "machine_id": change.machine.id,
        "at": change.at,
        "before": change.before.presence.value,
        "after": change.after.presence.value,
        "reason": change.after.reason,
        "session": change.after.session,
    }
