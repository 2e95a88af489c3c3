"""The loop that keeps an external broker in sync with the principals."""

import time
from collections.abc import Callable
from typing import Protocol

FOLLOW_SECONDS = 1.0


class ExternalBroker(Protocol):
    """A broker whose files are written from the table of principals."""

    def start(self) -> None:
        """Write all files and start. Raises UserError."""

    def step(self) -> None:
        """Apply changes of the principals. Raises BrokerError if the broker has ended."""

    def stop(self) -> None:
        """Stop. May be called again."""


def run(
    broker: ExternalBroker,
    on_ready: Callable[[], None],
    *,
    stopping: Callable[[], bool],
    wait: Callable[[float], object] = time.sleep,
) -> None:
    """Run the broker until it is time to stop; `on_ready` is called after the start. Raises UserError."""
    broker.start()
    try:
        on_ready()
        while not stopping():
            broker.step()
            wait(FOLLOW_SECONDS)
    finally:
        broker.stop()
