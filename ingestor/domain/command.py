"""The states of a command: pure functions over (command, event, server's time).

Invariants:
- Only the server's clock decides when a command expires or times out; a machine's clock appears nowhere here.
- A final state never changes, and only `schemas.contract.commands.TRANSITIONS` happen. A function that changes nothing
  returns the same object.
- A command is published only before its expiry. A command that was never published expires; one that was may have run,
  so it times out, and a late result still wins.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from schemas.contract.commands import FINAL, CommandState, Result
from schemas.contract.messages import Signed

RUNNING_SECONDS = 15 * 60.0
"""A command that runs for longer times out, whatever its action."""

ANSWER_SECONDS = 60.0
"""Time after the expiry of a sent command in which its result may still arrive."""

RETRY_FLOOR_SECONDS = 1.0
RETRY_FIRST_SECONDS = 4.0
RETRY_MOST_SECONDS = 300.0

OUTCOME_FIELDS = ("reason", "detail", "exit_code", "output", "output_truncated")
"""Fields that a command, a result and an update have in common."""

OPEN = frozenset((CommandState.QUEUED, CommandState.SENT, CommandState.RUNNING))
"""States in which the ingestor still has something to do."""


@dataclass(frozen=True, slots=True)
class Command:
    """An order for a machine, and its state. Times are milliseconds of the server's clock."""

    id: str
    machine_id: int
    org: str
    machine: str
    request: str
    principal: str
    """User name of the principal that requested it."""
    batch: str
    gated: bool
    """Whether a rollout may hold it back (`ingestor.domain.rollout`)."""
    action: str
    order: Signed
    expires_at: int
    created_at: int
    state: CommandState = CommandState.QUEUED
    reason: str = ""
    detail: str = ""
    exit_code: int | None = None
    output: str | None = None
    output_truncated: bool = False
    attempts: int = 0
    sent_at: int | None = None
    """Time of the last attempt."""
    running_at: int | None = None
    ended_at: int | None = None


def may_send(command: Command, now: int) -> bool:
    """Return whether the command may be published (again)."""
    return command.state in (CommandState.QUEUED, CommandState.SENT) and now < command.expires_at


def on_send(command: Command, now: int) -> Command:
    """Publish the command to its machine, which is online."""
    if not may_send(command, now):
        return command
    return replace(command, state=CommandState.SENT, reason="", detail="", attempts=command.attempts + 1, sent_at=now)


def on_result(command: Command, result: Result, now: int) -> Command:
    """Apply the machine's report of progress or outcome."""
    if command.state in FINAL:
        return command
    if result.state != "running":
        return replace(command, state=CommandState(result.state), ended_at=now, **outcome(result))
    if command.running_at is not None:  # a repeated report: a command runs once
        return command
    return replace(
        command, state=CommandState.RUNNING, reason=result.reason, detail=result.detail, running_at=now, ended_at=None
    )


def on_cancel(command: Command, reason: str, detail: str, now: int) -> Command:
    """Cancel the command if it was not sent yet."""
    if command.state is not CommandState.QUEUED:
        return command
    return _ended(command, CommandState.CANCELLED, reason, detail, now)


def on_time(command: Command, now: int) -> Command:
    """Expire the command, or time it out, once `ends_at` is reached."""
    if command.state not in OPEN or now < ends_at(command):
        return command
    match command.state:
        case CommandState.QUEUED:
            return _ended(command, CommandState.EXPIRED, "expired", "its machine was not online in time", now)
        case CommandState.SENT:
            return _ended(
                command, CommandState.TIMED_OUT, "no-answer", "it was sent, and its machine did not answer", now
            )
        case _:
            return _ended(command, CommandState.TIMED_OUT, "no-result", "it started, and no result arrived", now)


def ends_at(command: Command) -> int:
    """Return when an open command expires or times out."""
    match command.state:
        case CommandState.QUEUED:
            return command.expires_at
        case CommandState.SENT:
            return command.expires_at + round(ANSWER_SECONDS * 1000)
        case _:
            return (command.running_at or 0) + round(RUNNING_SECONDS * 1000)


def retry_seconds(attempts: int, random: Callable[[], float]) -> float:
    """Return the backoff after this many attempts: full jitter over a bound that doubles."""
    return RETRY_FLOOR_SECONDS + random() * min(RETRY_MOST_SECONDS, RETRY_FIRST_SECONDS * 2.0 ** min(attempts - 1, 32))


def outcome(of: Command | Result) -> dict[str, Any]:
    """Return the OUTCOME_FIELDS of a command or a result."""
    return {name: getattr(of, name) for name in OUTCOME_FIELDS}


def _ended(command: Command, state: CommandState, reason: str, detail: str, now: int) -> Command:
    return replace(command, state=state, reason=reason, detail=detail, ended_at=now)
