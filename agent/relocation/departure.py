"""The agent's departure from a server that its machine has moved away from.

Invariant: nothing waits for the old server for longer than PATIENCE_SECONDS. What it has not acknowledged by then is
sent to the new one as well, so nothing is lost.
"""

from agent.orders.executor import Executor
from agent.outbox.delivery import SampleDelivery
from runtime.clock import Clock

PATIENCE_SECONDS = 10.0


class Departure:
    """Not begun at first."""

    def __init__(self, delivery: SampleDelivery, executor: Executor | None, clock: Clock) -> None:
        self._delivery = delivery
        self._executor = executor
        self._clock = clock
        self._until: float | None = None

    @property
    def begun(self) -> bool:
        """True after `begin`."""
        return self._until is not None

    @property
    def over(self) -> bool:
        """True if the agent can go: samples and outcomes that were sent are acknowledged, or it waited long enough."""
        if self._until is None or self._clock.monotonic() >= self._until:
            return self._until is not None
        return self._delivery.all_acknowledged and (self._executor is None or self._executor.all_reported)

    def begin(self) -> None:
        """Depart."""
        self._until = self._clock.monotonic() + PATIENCE_SECONDS
