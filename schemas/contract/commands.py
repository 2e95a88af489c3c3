"""Messages about actions: orders, commands, results, requests and updates.

The operator signs one order per machine and publishes them in a request. The ingestor makes a command of each order and
sends it until the machine reports that it runs. The machine publishes results, the ingestor updates to the principal.

Invariants:
- An order contains everything that determines what a machine does, and is signed as a whole
  (`schemas.contract.signing`). The fields of the command or request around it have no effect on the machine.
- Every message may be repeated; the order's `id` identifies the command.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from schemas.contract.administration import Administration
from schemas.contract.messages import (
    INTEGER_MAX,
    ContractModel,
    Count,
    Identifier,
    MetricName,
    Milliseconds,
    Payload,
    RandomId,
    Session,
    Signed,
)
from schemas.contract.text import Code, Lines, SignedJson, SignedText, Text
from schemas.contract.topics import ID_PATTERN, ORG_MAX_LENGTH

ORDERS_MAX = 200
"""Orders in one request; a larger selection is published as several requests with the same `batch`."""

OUTPUT_MAX = 64 << 10
"""Maximum length of the output of a result, in characters."""

LIFETIME_MAX_SECONDS = 30 * 86_400
"""Maximum time between issue and expiry of an order."""

StateName = Literal["queued", "sent", "running", "succeeded", "failed", "rejected", "timed-out", "expired", "cancelled"]
"""The values of `CommandState`, which strict decoding takes as text."""

OrgName = Annotated[str, Field(pattern=ID_PATTERN, max_length=ORG_MAX_LENGTH)]
Detail = Annotated[Lines, Field(max_length=1000)]
Output = Annotated[Lines, Field(max_length=OUTPUT_MAX)]
ExitCode = Annotated[int, Field(ge=-INTEGER_MAX, le=INTEGER_MAX)]


class CommandState(StrEnum):
    """State of a command; `TRANSITIONS` has the permitted changes."""

    QUEUED = "queued"
    """Recorded; the machine is offline, or the rollout has not reached it."""
    SENT = "sent"
    """Published to the machine; retried with backoff until the machine reports `running`."""
    RUNNING = "running"
    """Recorded in the machine's journal and started."""
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    """It ran without success, or was interrupted (see `reason`) with an unknown outcome."""
    REJECTED = "rejected"
    """The machine did not run it: invalid signature, target, expiry or arguments, or not on the allow-list."""
    TIMED_OUT = "timed-out"
    """No outcome in time. Not final: a late result replaces it."""
    EXPIRED = "expired"
    """Not run before its expiry; it will never run."""
    CANCELLED = "cancelled"
    """Cancelled before it was sent."""


_OUTCOMES = frozenset((CommandState.SUCCEEDED, CommandState.FAILED, CommandState.REJECTED))
_UNSENT = frozenset((CommandState.EXPIRED, CommandState.CANCELLED))
FINAL = _OUTCOMES | _UNSENT
"""States without a successor."""

TRANSITIONS: Mapping[CommandState, frozenset[CommandState]] = {
    CommandState.QUEUED: _OUTCOMES | {CommandState.SENT, CommandState.RUNNING, *_UNSENT},
    CommandState.SENT: _OUTCOMES | {CommandState.RUNNING, CommandState.TIMED_OUT},
    CommandState.RUNNING: _OUTCOMES | {CommandState.TIMED_OUT},
    CommandState.TIMED_OUT: _OUTCOMES | {CommandState.RUNNING},
    **dict.fromkeys(FINAL, frozenset[CommandState]()),
}
"""Permitted successors of each state. Results of the machine are accepted in every state that is not final."""


class Order(ContractModel):
    """An action for one machine, as the statement of a `Signed`. Times are by the operator's clock."""

    kind: Literal["order"] = "order"
    id: RandomId
    org: OrgName
    machine: Identifier
    action: MetricName
    arguments: dict[SignedText, SignedJson] = Field(default_factory=dict)
    issued_at: Milliseconds
    expires_at: Milliseconds

    @model_validator(mode="after")
    def _lives_for_a_while(self) -> Self:
        if not 0 < self.expires_at - self.issued_at <= LIFETIME_MAX_SECONDS * 1000:
            raise ValueError("expires_at must be after issued_at, by 30 days at most")
        return self


class CommandMessage(Payload):
    """An order for its machine, on `down/command`. `attempt` counts the publications from 1."""

    order: Signed
    attempt: Annotated[int, Field(ge=1)] = 1


class Result(Payload):
    """Progress or outcome of a command, on `up/result`. A final result is repeated until `Ack.results` contains its id.

    `reason` is a code (`interrupted`, `signature`, `expired`, `not-allowed`, `arguments`, `timeout`, …), `detail` a
    sentence for people. `exit_code` and `output` are null where the action has none; `output_truncated` tells that the
    output was longer than OUTPUT_MAX characters. `at` is the machine's clock. `action` is the order's; null if the
    machine does not trust the order that claims this id.
    """

    session: Session
    id: RandomId
    action: MetricName | None = Field(default=None, exclude_if=lambda value: value is None)
    state: Literal["running", "succeeded", "failed", "rejected"]
    at: Milliseconds
    reason: Code = ""
    detail: Detail = ""
    exit_code: ExitCode | None = None
    output: Output | None = None
    output_truncated: bool = False


class Desired(Payload):
    """The desired configuration of a machine, retained on `down/config`: its newest `configure` order.

    A machine whose configuration has a lower version applies it after the checks of a command, except that of expiry.
    """

    version: Annotated[int, Field(ge=1)]
    order: Signed


class Rollout(ContractModel):
    """Order and pace in which the commands of a batch are sent. The defaults send all at once.

    The first `canary` commands must succeed before any other is sent; then at most `per_minute` are sent (null:
    unlimited). If more than `stop_percent` of the ended commands, at least three, did not succeed, the rest is
    cancelled.
    """

    canary: Annotated[int, Field(ge=0, le=1000)] = 0
    per_minute: Annotated[int, Field(ge=1, le=100_000)] | None = None
    stop_percent: Annotated[float, Field(ge=0, le=100)] = 100


class Act(ContractModel):
    """Run these orders. Requests with the same `batch` share the rollout of the first."""

    kind: Literal["act"] = "act"
    batch: RandomId
    orders: Annotated[tuple[Signed, ...], Field(min_length=1, max_length=ORDERS_MAX, strict=False)]
    rollout: Rollout = Rollout()


class Cancel(ContractModel):
    """Cancel those of these commands that have not been sent."""

    kind: Literal["cancel"] = "cancel"
    commands: Annotated[tuple[RandomId, ...], Field(min_length=1, max_length=1000, strict=False)]


class Request(Payload):
    """A request of a principal to the ingestor, on its own `request` topic. Administration is for the dashboard alone.

    `actor` names the person as the principal states, for the history; it grants nothing.
    """

    id: RandomId
    actor: Text = ""
    change: Annotated[Act | Cancel | Administration, Field(discriminator="kind")]


class Update(Payload):
    """Progress of a request or of one of its commands, to the principal that published it.

    Without `command` it is about the whole request: `accepted`, `refused`, or `stopped` with its rollout. Otherwise
    `state` is the new state of the command, or `refused` if the order did not become a command. `machine` and `action`
    are those of the command; the other fields are as in `Result`, `at` by the server's clock.
    """

    request: RandomId
    command: RandomId | None = None
    machine: Identifier | None = None
    action: MetricName | None = None
    state: Literal["accepted", "refused", "stopped"] | StateName
    at: Milliseconds
    reason: Code = ""
    detail: Detail = ""
    exit_code: ExitCode | None = None
    output: Output | None = None
    output_truncated: bool = False
    attempt: Count = 0
