"""The open commands in memory: which are sent now, again, or no more.

Invariants:
- It is a copy of the database, thrown away and loaded anew when a commit fails. What is to be published goes into the
  batch, and out after its COMMIT: a command that was published is known as sent, whatever happens next.
- A step looks at what has something to do, never at all commands or machines: those whose machine was heard and those
  whose time has come, at most LOOKS_EACH_STEP of them.
- A command goes only to a machine that is there. To one that came back with a new session it is sent at once, and while
  its machine says nothing of it, again after a backoff.
"""

import heapq
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from broker.client.transport import Message
from ingestor.commands.desired_config import DesiredConfigs
from ingestor.commands.rollouts import Rollouts, rollout_key
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
from ingestor.domain.machine import Machine
from ingestor.domain.presence import Presence, is_there
from ingestor.intake.message_handlers import Batch, RefusedError
from ingestor.storage.command_store import CommandStore
from schemas.contract import commands as messages
from schemas.contract import topics
from schemas.contract.commands import CommandState, Result

LOOKS_EACH_STEP = 500

_STALE_ENTRIES_MAX = 1000


@dataclass(slots=True, eq=False)
class Held:
    """An open command. `due_at`: when to look at it next; `retry_at` and `session`: as of its last attempt."""

    command: Command
    due_at: int = -1
    retry_at: int = 0
    session: int = 0


class Dispatch:
    """All open commands. `find` gives a machine that is known in memory, `random` a number from 0 to 1.

    `owns`: whether an organisation's commands are this ingestor's.
    """

    def __init__(
        self,
        store: CommandStore,
        *,
        find: Callable[[str, str], Machine | None],
        random: Callable[[], float],
        owns: Callable[[str], bool] = lambda _: True,
    ) -> None:
        self._store = store
        self._find = find
        self._random = random
        self._owns = owns
        self.clear()

    def clear(self) -> None:
        """Forget everything."""
        self.rollouts = Rollouts()
        self._desired = DesiredConfigs()
        self._open: dict[str, Held] = {}
        self._of_machine: dict[int, dict[str, None]] = {}
        self._to_look_at: dict[str, None] = {}
        self._due: list[tuple[int, str]] = []

    def load(self) -> None:
        """Take everything up from the database."""
        self.clear()
        self._desired.load(self._store.desired())
        for command in filter(lambda command: self._owns(command.org), self._store.open_commands()):
            key = rollout_key(command)
            if command.gated and self.rollouts.get(key) is None:
                progress = self._store.progress(self._store.requests(key))
                if progress is not None:
                    self.rollouts.begin(key, progress)
            self.rollouts.hold(command)
            self._hold(command)

    @property
    def busy(self) -> bool:
        """Whether there is more to do than one step did."""
        return bool(self._to_look_at)

    def commands(self, batch: Batch, ids: Iterable[str]) -> dict[str, Command]:
        """Those of these commands that there are, open or not, as this batch leaves them."""
        found, others = {}, []
        for id_ in ids:
            command = self._open[id_].command if id_ in self._open else batch.changes.find(id_)
            if command is None:
                others.append(id_)
            else:
                found[id_] = command
        return found | self._store.commands(others)

    def waiting_for(self, machine: Machine) -> int:
        """How many commands of this machine are open."""
        return len(self._of_machine.get(machine.id, ()))

    def look_at(self, machines: Iterable[Machine]) -> None:
        """Look at the open commands of these machines in the next step."""
        for machine in machines:
            self._to_look_at.update(self._of_machine.get(machine.id, {}))

    def add(self, batch: Batch, command: Command, arguments: Mapping[str, Any], by: str) -> None:
        """A command is new. If it may be, it is sent in this step."""
        batch.changes.add(command, arguments, by)
        if command.state in OPEN:
            self._to_look_at.update(dict.fromkeys(self.rollouts.see(batch, command, command.created_at)))
            self._hold(command)

    def take_result(self, batch: Batch, machine: Machine, result: Result, now: int) -> None:
        """A machine says how far a command is. Raises RefusedError when it has no such command: that is acked too."""
        if result.state != "running":
            batch.changes.results.append((machine, result.id))
        command = self.commands(batch, [result.id]).get(result.id)
        if command is None or command.machine_id != machine.id:
            raise RefusedError("unknown-command", f"{machine.name} has no command {result.id}")
        self._change(batch, command, on_result(command, result, now), f"{machine.org}.{machine.name}", now)

    def cancel(self, batch: Batch, command: Command, by: str, reason: str, detail: str, now: int) -> Command:
        """Take a command back; what it is now."""
        return self._change(batch, command, on_cancel(command, reason, detail, now), by, now)

    def step(self, batch: Batch, now: int, *, hearing: bool) -> None:
        """Do what is to be done now, after the messages were read. `hearing`: there is a broker to send to."""
        self._desired.heard(batch)
        for machine_id in batch.machines.keys() & self._of_machine.keys():
            self._to_look_at.update(self._of_machine[machine_id])
        self._to_look_at.update(dict.fromkeys(self._take_due(now)))
        for _ in range(min(LOOKS_EACH_STEP, len(self._to_look_at))):
            id_ = next(iter(self._to_look_at))
            del self._to_look_at[id_]
            self._look(batch, id_, now, hearing=hearing)
        for id_ in self.rollouts.turns(now):
            self._look(batch, id_, now, hearing=hearing)
        self.rollouts.tidy()

    def _look(self, batch: Batch, id_: str, now: int, *, hearing: bool) -> None:
        """See what one command needs."""
        held = self._open.get(id_)
        if held is None:
            return
        machine = self._find(held.command.org, held.command.machine)
        if (why := self._why_not(held.command, machine)) is not None:
            self.cancel(batch, held.command, INGESTOR, *why, now)
        self._change(batch, held.command, on_time(held.command, now), INGESTOR, now)
        if held.command.state not in OPEN:
            return
        there = hearing and machine is not None and is_there(machine.state)  # else it can still be taken back
        if machine is not None and there and self._is_to_be_sent(held, machine, now):
            self._send(batch, held, machine, now)
        self._schedule(held, now, there=there)

    def _why_not(self, command: Command, machine: Machine | None) -> tuple[str, str] | None:
        """Why a command that was not sent should not be any more: a reason's code and a sentence."""
        if command.state is not CommandState.QUEUED:
            return None
        if machine is None or machine.state.presence is Presence.RETIRED:
            return "retired", "its machine was taken out of service"
        progress = self.rollouts.of(command)
        return ("stopped", "its rollout was stopped") if progress is not None and progress.stopped else None

    def _is_to_be_sent(self, held: Held, machine: Machine, now: int) -> bool:
        waited = now >= held.retry_at or machine.state.session != held.session
        return waited and may_send(held.command, now) and self.rollouts.lets(held.command, now)

    def _send(self, batch: Batch, held: Held, machine: Machine, now: int) -> None:
        sent = self._change(batch, held.command, on_send(held.command, now), INGESTOR, now)
        held.session = machine.state.session
        held.retry_at = now + round(1000 * retry_seconds(sent.attempts, self._random))
        topic = topics.COMMAND.at(org=sent.org, machine=sent.machine)
        payload = messages.CommandMessage(order=sent.order, attempt=sent.attempts).encode()
        batch.changes.commands.append(Message(topic, payload, topics.COMMAND.qos, topics.COMMAND.retain))

    def _change(self, batch: Batch, before: Command, after: Command, by: str, now: int) -> Command:
        """Note what a command has become, if it has; returns that."""
        if after is before:
            return after
        batch.changes.record(before, after, by, now)
        self._to_look_at.update(dict.fromkeys(self.rollouts.see(batch, after, now)))
        if after.state is CommandState.SUCCEEDED:
            self._desired.succeeded(batch, after)
        if after.state not in OPEN:
            self._let_go(after)
        elif after.id in self._open:
            self._open[after.id].command = after
        else:
            self._hold(after)
        return after

    def _hold(self, command: Command) -> None:
        self._open[command.id] = Held(command)
        self._of_machine.setdefault(command.machine_id, {})[command.id] = None
        self._to_look_at[command.id] = None

    def _let_go(self, command: Command) -> None:
        held = self._open.pop(command.id, None)
        if held is None:
            return
        held.command = command
        of_machine = self._of_machine[command.machine_id]
        del of_machine[command.id]
        if not of_machine:
            del self._of_machine[command.machine_id]

    def _schedule(self, held: Held, now: int, *, there: bool) -> None:
        """Look again when its time is over, or at the next attempt while its machine is there."""
        due_at = ends_at(held.command)
        if there and held.command.state is CommandState.SENT and may_send(held.command, now):
            due_at = min(due_at, held.retry_at)
        if due_at != held.due_at:
            held.due_at = due_at
            heapq.heappush(self._due, (due_at, held.command.id))
        if len(self._due) > 2 * len(self._open) + _STALE_ENTRIES_MAX:
            self._due = [(other.due_at, id_) for id_, other in self._open.items() if other.due_at >= 0]
            heapq.heapify(self._due)

    def _take_due(self, now: int) -> Iterator[str]:
        while self._due and self._due[0][0] <= now:
            at, id_ = heapq.heappop(self._due)
            if id_ in self._open and self._open[id_].due_at == at:
                self._open[id_].due_at = -1
                yield id_
