"""The open commands in memory, where a command waits for its machine to come online, for an answer or for its expiry.

The database has the same commands (`ingestor.storage.command_store`); they are loaded again when a commit fails.
"""

import heapq
from collections.abc import Iterable, Set
from dataclasses import dataclass

from ingestor.domain.command import Command

_STALE_ENTRIES_MAX = 1000


@dataclass(slots=True, eq=False)
class PendingCommand:
    """An open command. `due_at`: next check; `retry_at` and `session`: of its last attempt."""

    command: Command
    due_at: int = -1
    retry_at: int = 0
    session: int = 0


class PendingCommands:
    """The open commands by id, by machine, and by the time of their next check."""

    def __init__(self) -> None:
        self._pending: dict[str, PendingCommand] = {}
        self._of_machine: dict[int, dict[str, None]] = {}
        self._to_check: dict[str, None] = {}
        self._due: list[tuple[int, str]] = []

    @property
    def to_check(self) -> int:
        """Number of commands to check in the next steps."""
        return len(self._to_check)

    def get(self, id_: str) -> PendingCommand | None:
        """Return an open command."""
        return self._pending.get(id_)

    def count(self, machine_id: int) -> int:
        """Return the number of open commands of a machine."""
        return len(self._of_machine.get(machine_id, ()))

    def update(self, command: Command) -> None:
        """Add an open command, to be checked in this step, or set its new state."""
        known = self._pending.get(command.id)
        if known is not None:
            known.command = command
            return
        self._pending[command.id] = PendingCommand(command)
        self._of_machine.setdefault(command.machine_id, {})[command.id] = None
        self._to_check[command.id] = None

    def remove(self, command: Command) -> None:
        """Remove a command that has ended."""
        pending = self._pending.pop(command.id, None)
        if pending is None:
            return
        pending.command = command
        of_machine = self._of_machine[command.machine_id]
        del of_machine[command.id]
        if not of_machine:
            del self._of_machine[command.machine_id]

    def check(self, ids: Iterable[str]) -> None:
        """Check these commands in the next steps."""
        self._to_check.update(dict.fromkeys(ids))

    def check_machines(self, machine_ids: Set[int]) -> None:
        """Check the open commands of these machines in the next steps."""
        for machine_id in machine_ids & self._of_machine.keys():
            self._to_check.update(self._of_machine[machine_id])

    def check_due(self, now: int) -> None:
        """Check the commands whose time has come."""
        while self._due and self._due[0][0] <= now:
            at, id_ = heapq.heappop(self._due)
            pending = self._pending.get(id_)
            if pending is not None and pending.due_at == at:
                pending.due_at = -1
                self._to_check[id_] = None

    def next_to_check(self) -> str:
        """Remove and return the id of the next command to check."""
        id_ = next(iter(self._to_check))
        del self._to_check[id_]
        return id_

    def schedule(self, pending: PendingCommand, due_at: int) -> None:
        """Check a command at this time."""
        if due_at != pending.due_at:
            pending.due_at = due_at
            heapq.heappush(self._due, (due_at, pending.command.id))
        if len(self._due) > 2 * len(self._pending) + _STALE_ENTRIES_MAX:
            self._due = [(other.due_at, id_) for id_, other in self._pending.items() if other.due_at >= 0]
            heapq.heapify(self._due)
