"""Calls that may hang, such as statvfs on a dead network file system, one after the other in a thread.

Invariants:
- A call that hangs is left alone in its thread, costs its own result only, and is not repeated until it returns.
- At most HANGING_MAX threads wait; beyond that nothing is called.
"""

import threading
import time
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

HANGING_MAX = 16

T = TypeVar("T")


class _Calls(Generic[T]):
    """Calls in a thread, until all are done or it is abandoned."""

    def __init__(self, names: Sequence[str], read: Callable[[str], T]) -> None:
        self.results: dict[str, T | OSError] = {}
        self.current = ""
        self.abandoned = False
        self.progress = threading.Event()
        self.alive = True
        self._names = names
        self._read = read

    def run(self) -> None:
        for name in self._names:
            if self.abandoned:
                break
            self.current = name
            try:
                result: T | OSError = self._read(name)
            except OSError as error:
                result = error
            if not self.abandoned:
                self.results[name] = result
                self.progress.set()
        self.alive = False
        self.progress.set()


class EachInTime(Generic[T]):
    """Calls `read` for names; a call may take `seconds`."""

    def __init__(self, read: Callable[[str], T], seconds: float) -> None:
        self._read = read
        self._seconds = seconds
        self._hanging: list[_Calls[T]] = []

    def __call__(self, names: Sequence[str]) -> dict[str, T | OSError]:
        """Return the results by name, an OSError for those that failed, and a TimeoutError for those that hang."""
        self._hanging = [each for each in self._hanging if each.alive]
        hanging = {each.current for each in self._hanging}
        results: dict[str, T | OSError] = {name: TimeoutError() for name in names if name in hanging}
        waiting = [name for name in names if name not in hanging]
        while waiting and len(self._hanging) < HANGING_MAX:
            calls = _Calls(waiting, self._read)
            threading.Thread(target=calls.run, name="calls", daemon=True).start()
            self._wait(calls)
            results |= calls.results
            done = [name for name in waiting if name in calls.results]
            waiting = waiting[len(done) :]
            if calls.alive:
                calls.abandoned = True
                self._hanging.append(calls)
                results[waiting.pop(0)] = TimeoutError()
            elif waiting:  # an error other than OSError
                results[waiting.pop(0)] = OSError("cannot be read")
        return results | {name: TimeoutError() for name in waiting}

    def _wait(self, calls: _Calls[T]) -> None:
        """Wait until all is done, or nothing has been for the time of one call."""
        since, before = time.monotonic(), 0
        while calls.alive and time.monotonic() - since < self._seconds:
            calls.progress.wait(self._seconds)
            calls.progress.clear()
            if len(calls.results) > before:
                since, before = time.monotonic(), len(calls.results)
