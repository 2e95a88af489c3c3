"""The transport: the connection of a part to a broker of any kind.

It is pulled: `receive` does the network's work in the caller's thread and returns events. There are no callbacks and no
locks, and back-pressure is free: messages that are not pulled wait in the socket, and then at the sender.

Invariants, verified by one contract test suite for every implementation:
- It connects and reconnects by itself, with full-jitter backoff. After each connect it subscribes again, and only then
  returns `Connected`, before any message of that connection. Each connection that ends, and each attempt that fails,
  returns one `Disconnected`.
- Nothing is queued while disconnected: `publish` returns False and the message is dropped. The caller keeps what must
  not be lost (`agent.outbox`), because a broker's PUBACK does not mean that the message is stored.
- `will` is called before each connect, so that each connection has its own will.
- Sessions are clean; QoS 0 and 1 only.
"""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol


@dataclass(slots=True, unsafe_hash=True)  # not frozen: one is created per message, in a third of the time
class Message:
    """A message, received or to be published. `retain` on a received one means that the broker had retained it.

    It is never changed.
    """

    topic: str
    payload: bytes
    qos: int = 1
    retain: bool = False


@dataclass(frozen=True, slots=True)
class Connected:
    """The broker accepted the connection and answered every subscription; `refused` are the rejected filters."""

    refused: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Disconnected:
    """The connection ended or could not be made. `refused`: the broker rejected the credentials."""

    reason: str
    refused: bool = False


Event = Message | Connected | Disconnected
WillMaker = Callable[[], Message | None]


class Transport(Protocol):
    """A client of a broker."""

    @property
    def connected(self) -> bool:
        """Whether `Connected` was the last change returned."""
        ...

    def receive(self, limit: int, wait: float) -> Sequence[Event]:
        """Return up to `limit` events as soon as there are any, or none after `wait` seconds (0 to poll).

        Does all the work of the connection: connecting, keep-alive, sending buffered messages.
        """
        ...

    def publish(self, message: Message) -> bool:
        """Publish a message. Return False without a connection or when its send buffer is full."""
        ...

    def subscribe(self, subscriptions: Sequence[tuple[str, int]]) -> None:
        """Replace the subscriptions. While connected all of them are made again, so retained messages arrive again."""
        ...

    def reread(self, subscriptions: Sequence[tuple[str, int]]) -> None:
        """Request the retained messages that match; the subscriptions stay as they are. Nothing while disconnected."""
        ...

    def flush(self, seconds: float) -> bool:
        """Wait until everything is sent and every QoS 1 message acknowledged; return False when time runs out first."""
        ...

    def close(self) -> None:
        """Disconnect cleanly, so that the broker drops the will, and stay disconnected."""
        ...


def never_a_will() -> None:
    """Return no will: the WillMaker of a client without one."""


@dataclass(slots=True)
class Backoff:
    """Full jitter: a uniform wait between a tenth of the first bound and a bound that doubles with every failure.

    Source: M. Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015. The first attempts are jittered
    as well, since a broker that restarts loses all clients in the same second. No wait is close to 0, as the contract
    demands (`broker.conformance.assertions.CONSUMER_WAITS`).
    """

    first_seconds: float = 1.0
    most_seconds: float = 60.0
    random: Callable[[], float] = random.random
    _failures: int = field(default=0, init=False)

    def next(self) -> float:
        """Return the seconds to wait before the next attempt, counting one more failure."""
        most = max(self.most_seconds, self.first_seconds)
        bound = min(most, self.first_seconds * 2.0 ** min(self._failures, 32))
        self._failures += 1
        least = min(bound, self.first_seconds / 10)
        return least + self.random() * (bound - least)

    def reset(self) -> None:
        """Reset the number of failures, once a connection has lasted."""
        self._failures = 0
