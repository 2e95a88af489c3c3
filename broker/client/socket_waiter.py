"""SocketWaiter: a thread waits for its connection, and another one can wake it."""

import selectors
import socket
from collections.abc import Callable
from contextlib import suppress
from typing import Any


class SocketWaiter:
    """Waits for data on the socket that `find` returns; it returns None while there is none."""

    def __init__(self, find: Callable[[], Any]) -> None:
        self._find = find
        self._woken, self._waking = socket.socketpair()
        for end in (self._woken, self._waking):
            end.setblocking(False)

    def wait(self, seconds: float) -> None:
        """Wait until data has arrived or `wake` was called, at most for this time; not at all without a socket."""
        found = self._find()
        if found is None:
            return
        with selectors.DefaultSelector() as selector:
            selector.register(found, selectors.EVENT_READ)
            selector.register(self._woken, selectors.EVENT_READ)
            selector.select(seconds)
        with suppress(BlockingIOError):
            while self._woken.recv(4096):
                pass

    def wake(self) -> None:
        """End the wait that is going on, or the next one. Any thread may call it."""
        with suppress(OSError):  # so full that the wait ends anyway, or closed
            self._waking.send(b"\0")

    def close(self) -> None:
        """Free the sockets; no thread may wait any more."""
        self._woken.close()
        self._waking.close()
