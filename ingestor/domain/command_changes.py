"""Changes of requests and commands in one transaction, and what is published after its COMMIT.

Invariant: every change of a command goes through `CommandChanges.record`, which stores the command and, for a new
state, a row of its history and an update for its principal; so none of the three can be forgotten.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ingestor.domain.command import Command, outcome
from ingestor.domain.machine import Machine
from schemas.contract.commands import Desired, Rollout, Update

INGESTOR = "ingestor"
"""The author of changes that are caused by time."""

AddressedUpdate = tuple[str, str, Update]
"""Organisation, user name of the principal, content."""


@dataclass(slots=True, eq=False)
class RequestRecord:
    """A request as stored. `state`: accepted, refused or stopped; `rollout`: None if it holds nothing back."""

    id: str
    org: str
    principal: str
    actor: str
    kind: str
    batch: str
    rollout: Rollout | None
    state: str
    detail: str
    created_at: int


@dataclass(frozen=True, slots=True)
class CommandChange:
    """A row of a command's history. `before` is empty for the first."""

    command: str
    at: int
    before: str
    after: str
    by: str
    reason: str
    detail: str


@dataclass(slots=True)
class CommandChanges:
    """Filled while messages are handled, stored with the batch, and published after its COMMIT."""

    requests: dict[str, RequestRecord] = field(default_factory=dict)
    stopped: dict[str, str] = field(default_factory=dict)
    """Requests whose rollout was stopped, with the reason."""
    new: dict[str, tuple[Command, Mapping[str, Any]]] = field(default_factory=dict)
    """Commands with their arguments."""
    changed: dict[str, Command] = field(default_factory=dict)
    history: list[CommandChange] = field(default_factory=list)
    desired: dict[int, Desired] = field(default_factory=dict)
    """Desired configurations to store, by machine id."""
    sent: list[Command] = field(default_factory=list)
    """Commands to publish."""
    configs: list[tuple[str, str, Desired]] = field(default_factory=list)
    """Desired configurations to publish: organisation, machine, configuration."""
    updates: list[AddressedUpdate] = field(default_factory=list)
    results: list[tuple[Machine, str]] = field(default_factory=list)
    """Final results to acknowledge."""

    def __bool__(self) -> bool:
        return bool(self.requests or self.new or self.changed or self.desired or self.updates or self.results)

    def find(self, id_: str) -> Command | None:
        """Return a command of this transaction in its latest state."""
        return self.new[id_][0] if id_ in self.new else self.changed.get(id_)

    def add(self, command: Command, arguments: Mapping[str, Any], by: str) -> None:
        """Record a new command."""
        self.new[command.id] = (command, arguments)
        self._record_state("", command, by, command.created_at)

    def record(self, before: Command, after: Command, by: str, now: int) -> None:
        """Record a changed command; without a new state it is only stored."""
        if after.id in self.new:
            self.new[after.id] = (after, self.new[after.id][1])
        else:
            self.changed[after.id] = after
        if before.state is not after.state:
            self._record_state(before.state.value, after, by, now)

    def _record_state(self, before: str, after: Command, by: str, now: int) -> None:
        self.history.append(CommandChange(after.id, now, before, after.state.value, by, after.reason, after.detail))
        self.updates.append((after.org, after.principal, command_update(after, after.request, now)))


def username(org: str, level: str) -> str:
    """Return the user name of the principal with this level in the topics of requests and updates."""
    return level if level.startswith("_") else f"{org}._{level}"


def command_update(command: Command, request: str, now: int) -> Update:
    """Return the state of a command as an answer to this request."""
    return Update(
        request=request,
        command=command.id,
        machine=command.machine,
        action=command.action,
        state=command.state.value,
        at=now,
        attempt=command.attempts,
        **outcome(command),
    )
