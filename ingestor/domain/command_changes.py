"""What one transaction stores of requests and commands, and what is said when it is committed.

Invariant: every change of a command goes through `Changes.record`, which notes the command and, with a new state, a row
of its history and an update for whoever asked; so none of the three can be forgotten.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from broker.client.transport import Message
from ingestor.domain.command import Command
from ingestor.domain.machine import Machine
from schemas.contract import topics
from schemas.contract.commands import Desired, Rollout, Update

INGESTOR = "ingestor"
"""Who changed a command when time did."""


@dataclass(slots=True, eq=False)
class RequestRecord:
    """A request as it is stored. `state`: accepted, refused or stopped; `rollout`: None when it gates nothing."""

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
class Change:
    """A row of a command's history. `before` is empty for the first."""

    command: str
    at: int
    before: str
    after: str
    by: str
    reason: str
    detail: str


@dataclass(slots=True)
class Changes:
    """Filled while a batch is read, stored with it, and said after its COMMIT."""

    requests: dict[str, RequestRecord] = field(default_factory=dict)
    stopped: dict[str, str] = field(default_factory=dict)
    """Requests whose rollout was stopped, and why."""
    new: dict[str, tuple[Command, Mapping[str, Any]]] = field(default_factory=dict)
    """With their arguments."""
    changed: dict[str, Command] = field(default_factory=dict)
    history: list[Change] = field(default_factory=list)
    desired: dict[int, Desired] = field(default_factory=dict)
    """By the machine's row."""
    commands: list[Message] = field(default_factory=list)
    """To machines: commands and configurations."""
    updates: list[Message] = field(default_factory=list)
    """To those who asked."""
    results: list[tuple[Machine, str]] = field(default_factory=list)
    """Final results that are stored, and may be acknowledged."""

    def __bool__(self) -> bool:
        return bool(self.requests or self.new or self.changed or self.desired or self.updates or self.results)

    def find(self, id_: str) -> Command | None:
        """A command that this transaction is about to store, as it will be."""
        return self.new[id_][0] if id_ in self.new else self.changed.get(id_)

    def add(self, command: Command, arguments: Mapping[str, Any], by: str) -> None:
        """A command is new."""
        self.new[command.id] = (command, arguments)
        self._note("", command, by, command.created_at)

    def record(self, before: Command, after: Command, by: str, now: int) -> None:
        """A command has changed; without a new state it is only stored."""
        if after.id in self.new:
            self.new[after.id] = (after, self.new[after.id][1])
        else:
            self.changed[after.id] = after
        if before.state is not after.state:
            self._note(before.state.value, after, by, now)

    def _note(self, before: str, after: Command, by: str, now: int) -> None:
        self.history.append(Change(after.id, now, before, after.state.value, by, after.reason, after.detail))
        self.updates.append(command_update(after, now))


def username(org: str, level: str) -> str:
    """The user name of the principal with this level in the topics of requests and updates (`Principal.level`)."""
    return level if level.startswith("_") else f"{org}._{level}"


def command_update(command: Command, now: int) -> Message:
    """What has become of a command, for whoever asked for it."""
    return update(command.org, command.principal, standing(command, command.request, now))


def standing(command: Command, request: str, now: int) -> Update:
    """Where a command is, as an answer to this request."""
    return Update(
        request=request,
        command=command.id,
        machine=command.machine,
        action=command.action,
        state=command.state.value,
        at=now,
        reason=command.reason,
        detail=command.detail,
        exit_code=command.exit_code,
        output=command.output,
        output_truncated=command.output_truncated,
        attempt=command.attempts,
    )


def update(org: str, principal: str, content: Update) -> Message:
    """The message to the principal of this user name."""
    level = principal if principal.startswith("_") else principal.removeprefix(f"{org}._")
    topic = topics.UPDATE.at(org=org, principal=level)
    return Message(topic, content.encode(), topics.UPDATE.qos, topics.UPDATE.retain)
