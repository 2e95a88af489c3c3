"""A connection that outlives long work of its caller, such as a commit: a thread sends PINGREQ meanwhile.

Invariants:
- The thread only pings, and only while no call is in progress. It reads nothing: no message is taken from the network,
  and none acknowledged to the broker, before the caller asks for it.
- A connection whose loss the thread notices is reported to the caller by the next `receive`, as any other.
"""

import threading
from collections.abc import Sequence

from broker.client.mqtt import Mqtt
from broker.client.transport import Event, Message

_SHARE = 1 / 3
"""Time between two pings, as a share of the keep-alive; the broker waits for one and a half."""


class KeptAlive:
    """A Transport that keeps an `Mqtt` alive. `close` ends its thread."""

    def __init__(self, transport: Mqtt, *, keep_alive_seconds: float) -> None:
        self._transport = transport
        self._every_seconds = keep_alive_seconds * _SHARE
        self._lock = threading.Lock()
        self._used = True
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._ping, name="keep-alive", daemon=True)
        self._thread.start()

    @property
    def connected(self) -> bool:
        """See `Transport`."""
        return self._transport.connected

    def receive(self, limit: int, wait: float) -> Sequence[Event]:
        """See `Transport`."""
        with self._lock:
            self._used = True
            return self._transport.receive(limit, wait)

    def publish(self, message: Message) -> bool:
        """See `Transport`."""
        with self._lock:
            return self._transport.publish(message)

    def subscribe(self, subscriptions: Sequence[tuple[str, int]]) -> None:
        """See `Transport`."""
        with self._lock:
            self._transport.subscribe(subscriptions)

    def reread(self, subscriptions: Sequence[tuple[str, int]]) -> None:
        """See `Transport`."""
        with self._lock:
            self._transport.reread(subscriptions)

    def flush(self, seconds: float) -> bool:
        """See `Transport`."""
        with self._lock:
            return self._transport.flush(seconds)

    def close(self) -> None:
        """See `Transport`."""
        self._closed.set()
        self._thread.join()
        self._transport.close()

    def _ping(self) -> None:
        """Ping whenever the caller has not received anything since the last look."""
        while not self._closed.wait(self._every_seconds):
            if self._lock.acquire(blocking=False):
                try:
                    if not self._used:
                        self._transport.ping()
                    self._used = False
                finally:
                    self._lock.release()
