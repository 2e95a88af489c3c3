"""The transport: how a part talks to a broker, whichever it is.

It is pulled: `receive` does the network's work in the caller's thread and returns what happened. No callbacks, no
locks, and back-pressure for nothing: what is not pulled waits in the socket, and then at the sender.

Invariants, held by one contract test suite for every implementation:
- It connects and reconnects by itself, with full-jitter backoff; after each connect it subscribes again, and only then
  returns `Connected`, before any message of that connection. Each connection that ends, and each attempt that fails,
  returns one `Disconnected`.
- Nothing is queued for later: `publish` while not connected returns False and the message is gone. What must not be
  lost is kept by the caller (`agent.outbox.outbox`), because a broker's PUBACK does not say that anybody stored it.
- `will` is asked before each connect, so that each connection has a will of its own.
- Sessions are clean; QoS 0 and 1 only.
"""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Message:
    """One message, received or to be published. `retain` on a received one means that the broker had kept it."""

    topic: str
    payload: bytes
    qos: int = 1
    retain: bool = False


@dataclass(frozen=True, slots=True)
class Connected:
    """The broker accepted the connection and answered every subscription; `refused` are the filters it denied."""

    refused: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Disconnected:
    """The connection ended or could not be made. `refused` means that the broker denied the credentials."""

    reason: str
    refused: bool = False


_SHARED = "$share/"

Event = Message | Connected | Disconnected
WillMaker = Callable[[], Message | None]


class Transport(Protocol):
    """One client of one broker."""

    @property
    def connected(self) -> bool:
        """Whether `Connected` was the last change returned."""
        ...

    def receive(self, limit: int, wait: float) -> Sequence[Event]:
        """What happened: returns at once with up to `limit` events, or after `wait` seconds (0 to poll) with none.

        Does all the work there is: connecting, keep-alive, sending what is buffered.
        """
        ...

    def publish(self, message: Message) -> bool:
        """Hand a message to the network. False when there is no connection, or its send buffer is full."""
        ...

    def subscribe(self, subscriptions: Sequence[tuple[str, int]]) -> None:
        """Have these subscriptions from now on, and no others. While connected they are all made (again), so what the
        broker retains for them comes (again)."""
        ...

    def flush(self, seconds: float) -> bool:
        """Wait until all is sent and every QoS 1 publish acknowledged by the broker; False when time ran out first."""
        ...

    def close(self) -> None:
        """Disconnect cleanly (the broker drops the will) and stay disconnected."""
        ...


def shared(filter_: str, group: str) -> str:
    """The subscription of which each message goes to one client of the group, on brokers that know such."""
    return f"{_SHARED}{group}/{filter_}"


def unshared(filter_: str) -> tuple[str, str]:
    """The group and the filter of a shared subscription; the group is empty for any other."""
    if not filter_.startswith(_SHARED):
        return "", filter_
    group, _, rest = filter_.removeprefix(_SHARED).partition("/")
    return group, rest


def never_a_will() -> None:
    """The WillMaker of a client without one."""


@dataclass(slots=True)
class Backoff:
    """Full jitter: a uniform wait between 0 and a bound that doubles with every failure.

    Source: M. Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015. A jittered floor keeps even the
    first attempts of a crowd apart, since a broker that restarts loses everyone in the same second.
    """

    first_seconds: float = 1.0
    most_seconds: float = 60.0
    random: Callable[[], float] = random.random
    _failures: int = field(default=0, init=False)

    def next(self) -> float:
        """Seconds to wait before the next attempt, after one more failure."""
        most = max(self.most_seconds, self.first_seconds)
        bound = min(most, self.first_seconds * 2.0 ** min(self._failures, 32))
        self._failures += 1
        return self.random() * bound

    def reset(self) -> None:
        """Forget the failures, once a connection has lasted."""
        self._failures = 0
