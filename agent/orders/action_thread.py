"""One action at work, in a thread of its own, so that sampling never waits for it.

What it asks of the agent is done by the agent's own thread, which looks for such calls in every step (`Calls.serve`).
"""

import threading
from collections import deque
from collections.abc import Callable
from typing import Any, Protocol, cast

from agent.action import Action, Arguments, Outcome, attempt
from agent.configuration import Configuration, Wish
from runtime.settings.agent import AgentSettings
from schemas.contract.commands import Order
from schemas.contract.messages import OfflineReason

ANSWER_SECONDS = 30.0


class Host(Protocol):
    """What an action may ask of the agent. Called in the agent's own thread."""

    def sample_now(self) -> int:
        """Take a sample and publish it; its number."""
        ...

    def leave(self, reason: OfflineReason) -> None:
        """End, with this reason in the goodbye, and begin again."""
        ...

    def expect(self, reason: OfflineReason) -> None:
        """Give this reason when told to stop."""
        ...


class _Call:
    def __init__(self, do: Callable[[Host], Any]) -> None:
        self.do = do
        self.answer: Any = None
        self.done = threading.Event()


class Calls:
    """What one action has asked of the agent."""

    def __init__(self) -> None:
        self._waiting: deque[_Call] = deque()

    def ask(self, do: Callable[[Host], Any]) -> Any:  # noqa: ANN401 - what `do` returns
        """Have something done by the agent's thread, and wait for the answer. Raises TimeoutError."""
        call = _Call(do)
        self._waiting.append(call)
        if not call.done.wait(ANSWER_SECONDS):
            raise TimeoutError("the agent did not answer")
        return call.answer

    def serve(self, host: Host) -> None:
        """Do what was asked."""
        while self._waiting:
            call = self._waiting.popleft()
            call.answer = call.do(host)
            call.done.set()


class WorkContext:
    """The `agent.action.Context` of one action at work."""

    def __init__(
        self,
        settings: AgentSettings,
        order: Order,
        received_at: int,
        *,
        now: Callable[[], int],
        configuration: Configuration,
    ) -> None:
        self.settings = settings
        self.order = order
        self.received_at = received_at
        self.now = now
        self.calls = Calls()
        self._configuration = configuration

    def sample(self) -> int:
        """See `Context`."""
        return cast("int", self.calls.ask(lambda host: host.sample_now()))

    def configure(self, wish: Wish) -> str:
        """See `Context`."""
        return cast("str", self.calls.ask(lambda _: self._configuration.take(wish, self.order.issued_at)))

    def leave(self, reason: OfflineReason) -> None:
        """See `Context`."""
        self.calls.ask(lambda host: host.leave(reason))

    def expect(self, reason: OfflineReason) -> None:
        """See `Context`."""
        self.calls.ask(lambda host: host.expect(reason))


class Work:
    """An action that runs. `outcome` counts when `done` is set; None then means that it shows later."""

    def __init__(self, action: Action[Any], arguments: Arguments, context: WorkContext, *, started: float) -> None:
        self.action = action
        self.context = context
        self.started = started
        self.done = threading.Event()
        self.outcome: Outcome | None = None
        self._arguments = arguments

    def start(self) -> None:
        """Begin."""
        threading.Thread(target=self._run, name=f"action-{self.action.name}", daemon=True).start()

    def _run(self) -> None:
        self.outcome = attempt(lambda: self.action.run(self._arguments, self.context))
        self.done.set()
