"""Clocks for delays and costs on a machine that other processes keep busy."""

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import psutil

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


class WorkClock:
    """A clock that advances by the CPU time of this process, and by what a test adds to `slept`, in seconds.

    Delays by it are those of a machine that does nothing else, so that a busy machine is no slow product.
    """

    def __init__(self) -> None:
        self.slept = 0.0
        self._started_at = time.time() - time.process_time()

    def now(self) -> int:
        return round(1000 * (self._started_at + self.monotonic()))

    def monotonic(self) -> float:
        return time.process_time() + self.slept


@contextmanager
def available_time() -> Iterator[AvailableTime]:
    """Count the time that is available while the block runs."""
    clock = AvailableTime()
    clock.start()
    try:
        yield clock
    finally:
        clock.stop()


class ProcessorTime:
    """Processor time that given processes use, with those that they have started and waited for, and all others."""

    def __init__(self, pids: Sequence[int]) -> None:
        self._processes = [psutil.Process(), *map(psutil.Process, pids)]
        self._began = self._own(), _busy()

    @property
    def own_seconds(self) -> float:
        """Seconds of this process and the given ones since the beginning."""
        return self._own() - self._began[0]

    @property
    def others_seconds(self) -> float:
        """Seconds of all other processes of this machine since the beginning."""
        return max(0.0, _busy() - self._began[1] - self.own_seconds)

    def _own(self) -> float:
        return sum(sum(each.cpu_times()[:4]) for each in self._processes)


def _busy() -> float:
    times = psutil.cpu_times()
    return float(sum(times) - times.idle - getattr(times, "iowait", 0.0))
