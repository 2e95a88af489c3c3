"""The dispatcher: sends open commands to machines that are online, again after a backoff, and ends those in time.

Invariants:
- Messages to publish go into the batch, and out after its COMMIT: a command that was published is stored as sent,
  whatever happens next.
- A step checks the commands whose machine was heard or whose time has come, at most CHECKS_EACH_STEP of them; never all
  commands or machines.
- A command is sent only to a machine that is online: at once when it has a new session, and while it does not answer,
  again after a backoff.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from ingestor.cluster.work_assignment import WorkAssignment
from ingestor.commands.desired_config import DesiredConfigs
from ingestor.commands.pending_commands import PendingCommand, PendingCommands
from ingestor.domain.batch import Batch
from ingestor.domain.command import (
    OPEN,
    Command,
    ends_at,
    may_send,
    on_cancel,
    on_result,
    on_send,
    on_time,
    retry_seconds,
)
from ingestor.domain.command_changes import INGESTOR
from ingestor.domain.dead_letter import RejectedError
from ingestor.domain.machine import Machine
from ingestor.domain.presence import Presence, is_online
from ingestor.domain.rollout import Rollouts, rollout_key
from ingestor.intake.machine_cache import MachineCache
from ingestor.storage.command_store import CommandStore
from schemas.contract.commands import CommandState, Result

CHECKS_EACH_STEP = 500


class Dispatcher:
    """Dispatches the open commands of the organisations that this ingestor owns. `random`: a number from 0 to 1."""

    def __init__(
        self, store: CommandStore, cache: MachineCache, assignment: WorkAssignment, *, random: Callable[[], float]
    ) -> None:
        self._store = store
        self._cache = cache
        self._assignment = assignment
        self._random = random
        self.clear()

    def clear(self) -> None:
        """Forget everything."""
        self.rollouts = Rollouts()
        self._pending = PendingCommands()
        self._desired = DesiredConfigs({})

    def load(self) -> None:
        """Read the open commands, their rollouts and the desired configurations from the database."""
        self.clear()
        self._desired = DesiredConfigs(self._store.desired())
        for command in self._store.open_commands():
            if not self._assignment.owns(command.org):
                continue
            key = rollout_key(command)
            if command.gated and self.rollouts.get(key) is None:
                progress = self._store.progress(self._store.requests(key))
                if progress is not None:
                    self.rollouts.start(key, progress)
            self.rollouts.resume(command)
            self._pending.update(command)

    @property
    def busy(self) -> bool:
        """Whether commands remain to be checked, so that the next step should begin at once."""
        return self._pending.to_check > 0

    def commands(self, batch: Batch, ids: Iterable[str]) -> dict[str, Command]:
        """Return the existing ones of these commands, open or not, in the state that this batch leaves them in."""
        found, others = {}, []
        for id_ in ids:
            pending = self._pending.get(id_)
            command = pending.command if pending is not None else batch.changes.find(id_)
            if command is None:
                others.append(id_)
            else:
                found[id_] = command
        return found | self._store.commands(others)

    def open_count(self, machine: Machine) -> int:
        """Return the number of open commands of this machine."""
        return self._pending.count(machine.id)

    def check_machines(self, machines: Iterable[Machine]) -> None:
        """Check the open commands of these machines in the next step: another ingestor has heard them."""
        self._pending.check_machines({machine.id for machine in machines})

    def add(self, batch: Batch, command: Command, arguments: Mapping[str, Any], by: str) -> None:
        """Add a new command; it is sent in this step if possible."""
        batch.changes.add(command, arguments, by)
        if command.state in OPEN:
            self._pending.check(self.rollouts.record(batch.changes, command, command.created_at))
            self._pending.update(command)

    def handle_result(self, batch: Batch, machine: Machine, result: Result, now: int) -> None:
        """Apply a result. Raises RejectedError for an unknown command, whose result is acknowledged all the same."""
        if result.state != "running":
            batch.changes.results.append((machine, result.id))
        command = self.commands(batch, [result.id]).get(result.id)
        if command is None or command.machine_id != machine.id:
            raise RejectedError("unknown-command", f"{machine.name} has no command {result.id}")
        self._change(batch, command, on_result(command, result, now), f"{machine.org}.{machine.name}", now)

    def cancel(self, batch: Batch, command: Command, by: str, reason: str, detail: str, now: int) -> Command:
        """Cancel a command if it was not sent; return its state."""
        return self._change(batch, command, on_cancel(command, reason, detail, now), by, now)

    def step(self, batch: Batch, now: int, *, hearing: bool) -> None:
        """Dispatch after the messages of a batch were handled. `hearing`: a broker is connected."""
        self._desired.publish_missing(batch)
        self._pending.check_machines(batch.machines.keys())
        self._pending.check_due(now)
        for _ in range(min(CHECKS_EACH_STEP, self._pending.to_check)):
            self._check(batch, self._pending.next_to_check(), now, hearing=hearing)
        for id_ in self.rollouts.turns(now):
            self._check(batch, id_, now, hearing=hearing)
        self.rollouts.evict_ended()

    def _check(self, batch: Batch, id_: str, now: int, *, hearing: bool) -> None:
        """Cancel, end, send or schedule one command."""
        pending = self._pending.get(id_)
        if pending is None:
            return
        machine = self._cache.get(pending.command.org, pending.command.machine)
        if (obstacle := self._obstacle(pending.command, machine)) is not None:
            self.cancel(batch, pending.command, INGESTOR, *obstacle, now)
        self._change(batch, pending.command, on_time(pending.command, now), INGESTOR, now)
        if pending.command.state not in OPEN:
            return
        online = hearing and machine is not None and is_online(machine.state)  # else it can still be cancelled
        if machine is not None and online and self._should_send(pending, machine, now):
            self._send(batch, pending, machine, now)
        due_at = ends_at(pending.command)
        if online and pending.command.state is CommandState.SENT and may_send(pending.command, now):
            due_at = min(due_at, pending.retry_at)
        self._pending.schedule(pending, due_at)

    def _obstacle(self, command: Command, machine: Machine | None) -> tuple[str, str] | None:
        """Return why a queued command must be cancelled: a reason's code and a sentence."""
        if command.state is not CommandState.QUEUED:
            return None
        if machine is None or machine.state.presence is Presence.RETIRED:
            return "retired", "its machine was decommissioned"
        progress = self.rollouts.of(command)
        return ("stopped", "its rollout was stopped") if progress is not None and progress.stopped else None

    def _should_send(self, pending: PendingCommand, machine: Machine, now: int) -> bool:
        waited = now >= pending.retry_at or machine.state.session != pending.session
        return waited and may_send(pending.command, now) and self.rollouts.admit(pending.command, now)

    def _send(self, batch: Batch, pending: PendingCommand, machine: Machine, now: int) -> None:
        sent = self._change(batch, pending.command, on_send(pending.command, now), INGESTOR, now)
        pending.session = machine.state.session
        pending.retry_at = now + round(1000 * retry_seconds(sent.attempts, self._random))
        batch.changes.sent.append(sent)

    def _change(self, batch: Batch, before: Command, after: Command, by: str, now: int) -> Command:
        """Record the new state of a command, if it is another one; return it."""
        if after is before:
            return after
        batch.changes.record(before, after, by, now)
        self._pending.check(self.rollouts.record(batch.changes, after, now))
        if after.state is CommandState.SUCCEEDED:
            self._desired.command_succeeded(batch, after)
        if after.state in OPEN:
            self._pending.update(after)
        else:
            self._pending.remove(after)
        return after
