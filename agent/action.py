"""The contract of an action: a function with a model of its arguments, in a file of its own in `agent/actions/`.

Another distribution provides an action through an entry point of the group `dashfleet.actions`.

Invariants:
- An action runs in a thread of its own, one at a time, after every check and after its order's id is on disk. So it may
  take its time, and it never runs a second time for the same order.
- It reaches the agent only through its `ActionContext`. An exception fails this action and nothing else.
- An action whose outcome is known only later (`restart`: when the agent is back) returns None and has a `resolve`,
  which is called until it returns an outcome, also by the next process. Any other that was interrupted has failed.
- Arguments are strict, and unknown ones are rejected; `info` describes them to all readers.
"""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, Generic, Literal, Protocol, TypeVar

from pydantic import BaseModel, ConfigDict, PydanticUserError, ValidationError

from runtime import plugins
from runtime.errors import SettingsError
from runtime.sentences.validation_errors import first_sentence
from runtime.settings.agent import AgentSettings
from runtime.terminal import printable
from schemas.contract.commands import Order
from schemas.contract.messages import ActionDescription, Extra, OfflineReason, Vitals

ENTRY_POINTS = "dashfleet.actions"

SECONDS = 60.0
"""Default time limit of an action; after it, the action has failed and its thread is left alone."""

log = logging.getLogger(__name__)


class Arguments(BaseModel):
    """Base of an action's arguments, which are fields of a subclass."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", allow_inf_nan=False)


class NoArguments(Arguments):
    """Arguments of an action that takes none."""


A = TypeVar("A", bound=Arguments)


@dataclass(frozen=True, slots=True)
class Outcome:
    """Final state of an action. `reason` is a code, `detail` a sentence for operators, `output` what it printed."""

    state: Literal["succeeded", "failed"]
    reason: str = ""
    detail: str = ""
    exit_code: int | None = None
    output: str | None = None
    output_truncated: bool = False

    @classmethod
    def succeeded(cls, detail: str = "", *, output: str | None = None) -> "Outcome":
        """Return the outcome of an action that succeeded."""
        return cls("succeeded", "", detail, output=output)

    @classmethod
    def failed(cls, reason: str, detail: str) -> "Outcome":
        """Return the outcome of an action that failed."""
        return cls("failed", reason, detail)


class ActionHost(Protocol):
    """The agent, as an action may use it."""

    def sample(self) -> int:
        """Take a sample, publish it, and return its sequence number."""

    def restart(self, reason: OfflineReason) -> None:
        """Publish the goodbye with this reason, stop, and start again."""

    def set_stop_reason(self, reason: OfflineReason) -> None:
        """Set the reason that the goodbye gives when the agent is told to stop."""

    def readings(self) -> tuple[Vitals, Extra]:
        """Take readings for a sample that is not the agent's own."""

    @property
    def session(self) -> int:
        """Session number of the present connection, 0 before the first."""

    def leave(self) -> None:
        """Take no more samples, and start again when this order's outcome and all sent samples are acknowledged."""


class ActionContext(ActionHost, Protocol):
    """The order of an action, and its requests, which the agent executes in its own thread."""

    settings: AgentSettings
    order: Order
    received_at: int
    """When the order arrived, in milliseconds of the machine's clock."""

    def now(self) -> int:
        """Return milliseconds of the machine's clock."""

    def fetch(self, sha256: str, *, limit: int, seconds: float) -> Path:
        """Return the path of the server's file with this hash, of at most `limit` bytes; see `FileFetcher.fetch`."""

    def send(self, path: Path, sha256: str, *, seconds: float) -> None:
        """Send a file with this hash to the server, for this order; see `FileSender.send`."""

    transfer_directory: Path
    """Directory for the copies of files that are sent."""

    def configure(self, requested: Any) -> str:  # noqa: ANN401 - a RequestedConfiguration, whose module imports this one
        """Apply another configuration; return why it was not applied, or an empty string."""


@dataclass(frozen=True, slots=True)
class MachineState:
    """The present state of the machine, from which `resolve` tells an outcome.

    `process` changes with each start of the agent and `boot` with each boot of the machine. `configured_at` and
    `reverted_at` are the times of issue of the last configuration that was proved, and of the last that was reverted.
    `data` is the state directory.
    """

    process: str
    boot: str
    now: int
    configured_at: int
    reverted_at: int
    data: Path = Path()


@dataclass(frozen=True, slots=True)
class StartedOrder:
    """An order that was started: when, and in which process and boot."""

    order: Order
    at: int
    process: str
    boot: str


RunAction = Callable[[A, ActionContext], Outcome | None]
"""Executes the action in its thread; returns None when `resolve` tells the outcome later. May raise."""

ResolveAction = Callable[[StartedOrder, MachineState], Outcome | None]
"""Returns the outcome, None while it is unknown. Called in each step of the agent: it must be quick. May raise."""

DescribeArguments = Callable[[AgentSettings], dict[str, Any]]
"""Returns the JSON Schema of the arguments."""

CheckArguments = Callable[[A, AgentSettings], None]
"""Raises ValueError, with a sentence for operators, when the machine does not allow valid arguments."""


@dataclass(frozen=True, slots=True)
class Action(Generic[A]):
    """An action. `describe` and `check` are for arguments that depend on the machine's settings.

    `replaces_agent`: another process, perhaps with another server, follows. An order of such an action is rejected
    while one of another such action waits or runs, also across restarts.
    """

    name: str
    title: str
    arguments: type[A]
    run: RunAction[A]
    resolve: ResolveAction | None = None
    describe: DescribeArguments | None = None
    check: CheckArguments[A] | None = None
    seconds: float = SECONDS
    replaces_agent: bool = False

    def description(self, settings: AgentSettings) -> ActionDescription:
        """Return the description of the action for `info`."""
        schema = self.arguments.model_json_schema() if self.describe is None else self.describe(settings)
        return ActionDescription(name=self.name, title=self.title, arguments_schema=schema)


def action(
    arguments: type[A],
    *,
    title: str,
    resolve: ResolveAction | None = None,
    describe: DescribeArguments | None = None,
    check: CheckArguments[A] | None = None,
    seconds: float = SECONDS,
    replaces_agent: bool = False,
) -> Callable[[RunAction[A]], Action[A]]:
    """Make an action of a function, with the function's name."""

    def made(run: RunAction[A]) -> Action[A]:
        name = str(getattr(run, "__name__", ""))
        return Action(name, title, arguments, run, resolve, describe, check, seconds, replaces_agent)

    return made


def attempt(work: Callable[[], Outcome | None]) -> Outcome | None:
    """Call a function of an action; an exception becomes its outcome."""
    try:
        return work()
    except Exception as error:  # one of the named places: an action may raise anything
        log.warning("an action failed: %s", type(error).__name__, exc_info=True)
        return Outcome.failed("error", f"{type(error).__name__}: {error}")


def discover(package: ModuleType) -> dict[str, Action[Any]]:
    """Return the actions in a package and in the entry points of ENTRY_POINTS, by name.

    An action that cannot be loaded is logged and skipped.
    """
    return plugins.discover(
        package,
        ENTRY_POINTS,
        accepts=lambda value: isinstance(value, Action),
        name=lambda found: found.name,
        source=lambda found: found.run,
    )


def described(actions: Mapping[str, Action[Any]], settings: AgentSettings) -> tuple[ActionDescription, ...]:
    """Return the descriptions of the actions that the machine's owner allows.

    Raises SettingsError if one cannot be described, as with a name or title that the contract does not permit.
    """
    allowed = [actions[name] for name in sorted(actions) if name in settings.allowed_actions]
    return tuple(_description(each, settings) for each in allowed)


def _description(found: Action[Any], settings: AgentSettings) -> ActionDescription:
    try:
        return found.description(settings)
    except (ValueError, TypeError, LookupError, AttributeError, PydanticUserError) as error:
        why = f"{type(error).__name__}: {error}"
        if isinstance(error, ValidationError):
            why = first_sentence(error)
        raise SettingsError(
            f"the action {printable(found.name)} of allowed_actions cannot be described ({why}): correct the plug-in, "
            "or remove it from allowed_actions"
        ) from None
