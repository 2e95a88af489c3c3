"""What an action is: a function in a file of its own below `agent/actions/`, with a model of its arguments.

Invariants:
- An action runs in a thread of its own, one at a time, after everything was checked and its order's id is on disk. So
  it may take its time, and it is never run a second time for the same order.
- It touches the agent only through its `ActionContext`. It may raise: that is its failure, and nobody else's.
- One whose outcome shows later (`restart`: when the agent is back) returns None and has a `settle`, which is asked
  until it knows, also by the next process. Every other that was interrupted counts as failed.
- Arguments are strict, and extra ones are refused; what is allowed is described to all in `info`.
"""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import ModuleType
from typing import Any, Generic, Literal, Protocol, TypeVar

from pydantic import BaseModel, ConfigDict

from runtime import plugins
from runtime.settings.agent import AgentSettings
from schemas.contract.commands import Order
from schemas.contract.messages import ActionDescription, OfflineReason

ENTRY_POINTS = "dashfleet.actions"
"""The entry points of other distributions that provide a function decorated with `@action`."""

SECONDS = 60.0
"""What an action takes at most, unless it says otherwise; then it counts as failed and its thread is left alone."""

log = logging.getLogger(__name__)


class Arguments(BaseModel):
    """What an order may say to an action; an action's own arguments are fields of a subclass."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", allow_inf_nan=False)


class NoArguments(Arguments):
    """Of an action that takes none."""


A = TypeVar("A", bound=Arguments)
A_contra = TypeVar("A_contra", bound=Arguments, contravariant=True)


@dataclass(frozen=True, slots=True)
class Outcome:
    """How an action ended. `reason` is a code, `detail` a sentence for people, `output` what it printed."""

    state: Literal["succeeded", "failed"]
    reason: str = ""
    detail: str = ""
    exit_code: int | None = None
    output: str | None = None
    output_truncated: bool = False

    @classmethod
    def succeeded(cls, detail: str = "", *, output: str | None = None) -> "Outcome":
        """It did what it should."""
        return cls("succeeded", "", detail, output=output)

    @classmethod
    def failed(cls, reason: str, detail: str) -> "Outcome":
        """It did not."""
        return cls("failed", reason, detail)


class ActionContext(Protocol):
    """What an action knows, and what it may ask of the agent, which answers in its own thread."""

    settings: AgentSettings
    order: Order
    received_at: int
    """When the order arrived, in milliseconds of the machine's clock."""

    def now(self) -> int:
        """Milliseconds of the machine's clock."""
        ...

    def sample(self) -> int:
        """Take a sample and publish it; its number."""
        ...

    def configure(self, wish: Any) -> str:  # noqa: ANN401 - agent.configuration.Wish, which imports this file
        """Take up another configuration; why not, or nothing."""
        ...

    def leave(self, reason: OfflineReason) -> None:
        """Let the agent say goodbye with this reason, and begin again."""
        ...

    def expect(self, reason: OfflineReason) -> None:
        """Let the agent give this reason when it is told to stop."""
        ...


@dataclass(frozen=True, slots=True)
class Situation:
    """The present, for an action whose outcome shows later.

    `process` is another one after each start of the agent and `boot` after each boot of the machine; `configured_at`
    and `reverted_at` are when the configuration that has proved itself, and the last that was given up, were ordered.
    """

    process: str
    boot: str
    now: int
    configured_at: int
    reverted_at: int


@dataclass(frozen=True, slots=True)
class Begun:
    """What the journal says of an order that is running: when it began, and in which process and boot."""

    order: Order
    at: int
    process: str
    boot: str


class Run(Protocol[A_contra]):
    """Does it, and says how it ended; None: it shows later."""

    def __call__(self, arguments: A_contra, context: ActionContext, /) -> Outcome | None:
        """May raise."""
        ...


class Settle(Protocol):
    """Says how it ended, None while that is not known. Called often, in the agent's own thread: it must be quick."""

    def __call__(self, begun: Begun, situation: Situation, /) -> Outcome | None:
        """May raise."""
        ...


Describe = Callable[[AgentSettings], dict[str, Any]]


class Check(Protocol[A_contra]):
    """Looks at arguments that are of the right form, before anything runs."""

    def __call__(self, arguments: A_contra, settings: AgentSettings, /) -> None:
        """Raises ValueError with a sentence when they are not for this machine."""
        ...


@dataclass(frozen=True, slots=True)
class Action(Generic[A]):
    """One action. `describe` makes the JSON Schema of its arguments when that depends on the machine's settings, and
    `check` looks at them for the same reason.
    """

    name: str
    title: str
    arguments: type[A]
    run: Run[A]
    settle: Settle | None = None
    describe: Describe | None = None
    check: Check[A] | None = None
    seconds: float = SECONDS

    def description(self, settings: AgentSettings) -> ActionDescription:
        """What `info` says of it."""
        schema = self.arguments.model_json_schema() if self.describe is None else self.describe(settings)
        return ActionDescription(name=self.name, title=self.title, arguments_schema=schema)


def action(
    arguments: type[A],
    *,
    title: str,
    settle: Settle | None = None,
    describe: Describe | None = None,
    check: Check[A] | None = None,
    seconds: float = SECONDS,
) -> Callable[[Run[A]], Action[A]]:
    """Make an action of a function, with the function's name."""

    def made(run: Run[A]) -> Action[A]:
        return Action(str(getattr(run, "__name__", "")), title, arguments, run, settle, describe, check, seconds)

    return made


def attempt(work: Callable[[], Outcome | None]) -> Outcome | None:
    """Do one thing of an action; whatever it raises is its outcome."""
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
    """What `info` says of the actions that the machine's owner allows."""
    return tuple(actions[name].description(settings) for name in sorted(actions) if name in settings.allowed_actions)
