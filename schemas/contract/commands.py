"""What travels about actions: orders, commands, results, requests and updates.

An operator's side signs one order per machine and publishes them in a request; the ingestor makes a command of each and
sends it until the machine says that it runs; the machine answers with results; whoever asked hears updates.

Invariants:
- An order says everything that decides what happens, and is signed as a whole (`schemas.contract.signing`). What
  stands around it
  (a command's or request's other fields) decides nothing on the machine.
- Every message may come again; the order's `id` tells.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Literal, Self

from pydantic import Field, JsonValue, model_validator

from schemas.contract.administration import Administration
from schemas.contract.messages import (
    ContractModel,
    Count,
    Identifier,
    MetricName,
    Milliseconds,
    Payload,
    RandomId,
    Session,
    Signed,
    Text,
)
from schemas.contract.topics import ID_PATTERN, ORG_MAX_LENGTH

ORDERS_MAX = 200
"""In one request; a larger selection travels as several requests of one `batch`."""

OUTPUT_MAX = 64 << 10
"""Characters of a result's output."""

LIFETIME_MAX_SECONDS = 30 * 86_400
"""Between an order's issue and its expiry."""

OrgName = Annotated[str, Field(pattern=ID_PATTERN, max_length=ORG_MAX_LENGTH)]
Detail = Annotated[str, Field(max_length=1000)]


class CommandState(StrEnum):
    """Where a command is. See `TRANSITIONS` for what may follow what."""

    QUEUED = "queued"
    """Recorded; its machine is away, or it is not yet its turn in a rollout."""
    SENT = "sent"
    """Published to the machine; sent again after a backoff until the machine says that it runs."""
    RUNNING = "running"
    """The machine has written it to its journal and begun."""
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    """It ran, and did not do what it should; or was interrupted (`reason`), and nobody knows."""
    REJECTED = "rejected"
    """The machine did not run it: signature, target, expiry, allow-list or arguments."""
    TIMED_OUT = "timed-out"
    """No outcome in time. Not final: a late result still counts."""
    EXPIRED = "expired"
    """Never ran, and never will."""
    CANCELLED = "cancelled"
    """Taken back before it was sent."""


FINAL = frozenset(
    (CommandState.SUCCEEDED, CommandState.FAILED, CommandState.REJECTED, CommandState.EXPIRED, CommandState.CANCELLED)
)
"""States that nothing follows."""

_OUTCOMES = frozenset((CommandState.SUCCEEDED, CommandState.FAILED, CommandState.REJECTED))

TRANSITIONS: Mapping[CommandState, frozenset[CommandState]] = {
    CommandState.QUEUED: frozenset(
        (CommandState.SENT, CommandState.RUNNING, CommandState.EXPIRED, CommandState.CANCELLED)
    )
    | _OUTCOMES,
    CommandState.SENT: frozenset((CommandState.RUNNING, CommandState.TIMED_OUT)) | _OUTCOMES,
    CommandState.RUNNING: frozenset((CommandState.TIMED_OUT,)) | _OUTCOMES,
    CommandState.TIMED_OUT: frozenset((CommandState.RUNNING,)) | _OUTCOMES,
    **dict.fromkeys(FINAL, frozenset[CommandState]()),
}
"""What may follow what. What a machine says counts in every state that is not final."""


class Order(ContractModel):
    """What an operator wants of one machine. The statement of a `Signed`; times are the operator's clock."""

    kind: Literal["order"] = "order"
    id: RandomId
    org: OrgName
    machine: Identifier
    action: MetricName
    arguments: dict[str, JsonValue] = Field(default_factory=dict)
    issued_at: Milliseconds
    expires_at: Milliseconds

    @model_validator(mode="after")
    def _lives_for_a_while(self) -> Self:
        if not 0 < self.expires_at - self.issued_at <= LIFETIME_MAX_SECONDS * 1000:
            raise ValueError("expires_at must be after issued_at, by 30 days at most")
        return self


class CommandMessage(Payload):
    """One order on its way to its machine, on `down/command`. `attempt` counts from 1."""

    order: Signed
    attempt: Annotated[int, Field(ge=1)] = 1


class Result(Payload):
    """Progress or outcome of a command, on `up/result`. Sent again until `Ack.results` names it, when it is final.

    `reason` is a code (`interrupted`, `signature`, `expired`, `not-allowed`, `arguments`, `timeout`, …), `detail` a
    sentence for people, `output` what the action printed, at most OUTPUT_MAX characters, cut if `output_truncated`.
    """

    session: Session
    id: RandomId
    state: Literal["running", "succeeded", "failed", "rejected"]
    at: Milliseconds
    reason: Annotated[str, Field(max_length=32)] = ""
    detail: Detail = ""
    exit_code: int | None = None
    output: Annotated[str, Field(max_length=OUTPUT_MAX)] | None = None
    output_truncated: bool = False


class Desired(Payload):
    """The configuration that a machine should have, retained on `down/config`: its newest `configure` order.

    A machine whose configuration has a lower version takes it up, after the same checks as a command's but for its
    expiry: it is a lasting wish.
    """

    version: Annotated[int, Field(ge=1)]
    order: Signed


class Rollout(ContractModel):
    """How many machines act at once. All defaults: everybody at once.

    The first `canary` commands must end well before any other is sent; then at most `per_minute` are sent; when more
    than `stop_percent` of those that ended (three at least) did not succeed, the rest is cancelled.
    """

    canary: Annotated[int, Field(ge=0, le=1000)] = 0
    per_minute: Annotated[int, Field(ge=1, le=100_000)] | None = None
    stop_percent: Annotated[float, Field(ge=0, le=100)] = 100


class Act(ContractModel):
    """Run these orders. Requests of the same `batch` share one rollout, that of the first."""

    kind: Literal["act"] = "act"
    batch: RandomId
    orders: Annotated[tuple[Signed, ...], Field(min_length=1, max_length=ORDERS_MAX, strict=False)]
    rollout: Rollout = Rollout()


class Cancel(ContractModel):
    """Take these commands back, those that were not sent yet."""

    kind: Literal["cancel"] = "cancel"
    commands: Annotated[tuple[RandomId, ...], Field(min_length=1, max_length=1000, strict=False)]


class Request(Payload):
    """What a principal asks of the ingestor, on its own `request` topic. Administration is for the dashboard alone.

    `actor` is who asked, by the principal's word, such as the dashboard's signed-in person. It decides nothing.
    """

    id: RandomId
    actor: Text = ""
    change: Annotated[Act | Cancel | Administration, Field(discriminator="kind")]


class Update(Payload):
    """What became of a request or of one of its commands, to the principal that asked.

    Without `command` it is about the request as a whole: `state` is `accepted`, `refused`, or `stopped` when its
    rollout was. With one it is that command's new state, or `refused` when no command was made of that order.
    """

    request: RandomId
    command: RandomId | None = None
    machine: Identifier | None = None
    action: MetricName | None = None
    state: Literal[
        "accepted",
        "refused",
        "stopped",
        "queued",
        "sent",
        "running",
        "succeeded",
        "failed",
        "rejected",
        "timed-out",
        "expired",
        "cancelled",
    ]
    at: Milliseconds
    reason: Annotated[str, Field(max_length=32)] = ""
    detail: Detail = ""
    exit_code: int | None = None
    output: Annotated[str, Field(max_length=OUTPUT_MAX)] | None = None
    output_truncated: bool = False
    attempt: Count = 0
