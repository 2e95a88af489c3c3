"""The queue of the files that a machine transfers in one direction, one after the other.

An action waits for its file in its own thread; messages are published and answers handled by the agent's.

Invariants:
- One message is open, at the pace of `agent.transfer.pace`. Nothing else depends on the connection.
- A file that nobody waits for any more is given up.
"""

import threading
from abc import ABC, abstractmethod
from collections import deque
from typing import Generic, TypeVar

from agent.transfer.pace import PATIENCE_SECONDS, Pace
from runtime.clock import Clock


class TransferError(Exception):
    """A file could not be transferred; the message is a sentence."""


class QueuedFile:
    """A file that is being transferred. `problem` is valid when `done` is set.

    `abandoned` is set by the thread that no longer waits for it.
    """

    def __init__(self) -> None:
        self.problem = ""
        self.abandoned = False
        self.done = threading.Event()


F = TypeVar("F", bound=QueuedFile)


class FileQueue(ABC, Generic[F]):
    """The files that wait, and the pace of the one that is being transferred."""

    def __init__(self, clock: Clock, *, bytes_per_second: float) -> None:
        self._waiting: deque[F] = deque()
        self._pace = Pace(clock, bytes_per_second)

    @abstractmethod
    def _message(self, file: F, length: int) -> bytes:
        """Return the next message about a file, for up to `length` bytes of it. Raises OSError."""

    @property
    def due_at(self) -> float:
        """When `step` has something to do, in seconds of the monotonic clock."""
        return self._pace.due_at if self._waiting else float("inf")

    def connected(self) -> None:
        """Send again what was on its way when the connection ended."""
        self._pace.forget()

    def step(self, *, connected: bool) -> list[bytes]:
        """Return the message to publish, if one is due."""
        file = self._current()
        if file is None or not connected:
            self._pace.wait()
            return []
        if not self._pace.is_due:
            return []
        if self._pace.is_hopeless:
            self._end(file, f"the server has not answered for {PATIENCE_SECONDS:g} s")
            return []
        self._pace.sent()
        try:
            return [self._message(file, self._pace.length)]
        except OSError as error:
            self._end(file, f"the file cannot be read: {error.strerror}")
            return []

    def _wait_for(self, file: F, seconds: float, too_late: str) -> None:
        """Queue a file and wait until it is transferred; runs in the thread of an action. Raises TransferError."""
        self._waiting.append(file)
        if not file.done.wait(seconds):
            file.abandoned = True
            raise TransferError(f"{too_late} within {seconds:g} s")
        if file.problem:
            raise TransferError(file.problem)

    def _current(self) -> F | None:
        while self._waiting and self._waiting[0].abandoned:
            self._waiting.popleft()
            self._pace.forget()
        return self._waiting[0] if self._waiting else None

    def _end(self, file: F, problem: str) -> None:
        """Tell the action that its current file is transferred, or why it is not."""
        self._waiting.popleft()
        self._pace.forget()
        self._pace.wait()
        file.problem = problem
        file.done.set()
