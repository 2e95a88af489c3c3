"""A running action, in a thread of its own, so that sampling never waits for it.

Its requests to the agent are executed by the agent's own thread, which looks for them in every step (`serve`).
"""

import threading
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

from agent.action import Action, ActionHost, Arguments, Outcome, attempt
from agent.configuration import Configuration, RequestedConfiguration
from agent.transfer.file_transfers import FileTransfers
from runtime.clock import Clock
from runtime.settings.agent import AgentSettings
from schemas.contract.commands import Order
from schemas.contract.messages import Extra, OfflineReason, Vitals

ANSWER_SECONDS = 30.0


class _HostRequest:
    def __init__(self, do: Callable[[ActionHost], Any]) -> None:
        self.do = do
        self.answer: Any = None
        self.done = threading.Event()


class ThreadContext:
    """The `agent.action.ActionContext` of an action that runs in a thread. Its requests raise TimeoutError."""

    def __init__(
        self,
        settings: AgentSettings,
        order: Order,
        received_at: int,
        *,
        clock: Clock,
        configuration: Configuration,
        transfers: FileTransfers,
    ) -> None:
        self.settings = settings
        self.order = order
        self.received_at = received_at
        self.now = clock.now
        self.fetch = transfers.fetch
        self.transfer_directory = transfers.directory
        self._transfers = transfers
        self._configuration = configuration
        self._requests: deque[_HostRequest] = deque()

    def send(self, path: Path, sha256: str, *, seconds: float) -> None:
        """See `ActionContext`."""
        self._transfers.send(path, sha256, self.order.id, seconds=seconds)

    def sample(self) -> int:
        """See `ActionContext`."""
        return cast("int", self._ask(lambda host: host.sample()))

    def configure(self, requested: RequestedConfiguration) -> str:
        """See `ActionContext`."""
        return cast("str", self._ask(lambda _: self._configuration.apply(requested, self.order.issued_at)))

    def restart(self, reason: OfflineReason) -> None:
        """See `ActionContext`."""
        self._ask(lambda host: host.restart(reason))

    def set_stop_reason(self, reason: OfflineReason) -> None:
        """See `ActionContext`."""
        self._ask(lambda host: host.set_stop_reason(reason))

    def readings(self) -> tuple[Vitals, Extra]:
        """See `ActionContext`."""
        return cast("tuple[Vitals, Extra]", self._ask(lambda host: host.readings()))

    @property
    def session(self) -> int:
        """See `ActionContext`."""
        return cast("int", self._ask(lambda host: host.session))

    def leave(self) -> None:
        """See `ActionContext`."""
        self._ask(lambda host: host.leave())

    def serve(self, host: ActionHost) -> None:
        """Execute the waiting requests, in the agent's thread."""
        while self._requests:
            request = self._requests.popleft()
            request.answer = request.do(host)
            request.done.set()

    def _ask(self, do: Callable[[ActionHost], Any]) -> Any:  # noqa: ANN401 - what `do` returns
        request = _HostRequest(do)
        self._requests.append(request)
        if not request.done.wait(ANSWER_SECONDS):
            raise TimeoutError("the agent did not answer")
        return request.answer


class ActionThread:
    """A running action. `outcome` is valid when `done` is set; None then means that `resolve` tells it later."""

    def __init__(self, action: Action[Any], arguments: Arguments, context: ThreadContext, *, started_at: float) -> None:
        self.action = action
        self.context = context
        self.started_at = started_at
        """Seconds of the monotonic clock."""
        self.done = threading.Event()
        self.outcome: Outcome | None = None
        self._arguments = arguments

    def start(self) -> None:
        """Start the thread."""
        threading.Thread(target=self._run, name=f"action-{self.action.name}", daemon=True).start()

    def _run(self) -> None:
        self.outcome = attempt(lambda: self.action.run(self._arguments, self.context))
        self.done.set()
