"""A clock for delays on a machine that other processes keep busy."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

_PAUSE_SECONDS = 0.005
_COUNTED_MAX_SECONDS = 0.006


class AvailableTime:
    """Seconds during which this process could run: short pauses, which last longer while others have the processors.

    What this process waits for by itself counts in full, so that a delay of the product is not hidden.
    """

    def __init__(self) -> None:
        self.seconds = 0.0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._count, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._ended.set()
        self._thread.join()

    def _count(self) -> None:
        before = time.monotonic()
        while not self._ended.wait(_PAUSE_SECONDS):
            now = time.monotonic()
            self.seconds += min(now - before, _COUNTED_MAX_SECONDS)
            before = now


@contextmanager
def available_time() -> Iterator[AvailableTime]:
    """Count the time that is available while the block runs."""
    clock = AvailableTime()
    clock.start()
    try:
        yield clock
    finally:
        clock.stop()
