"""Publishing the past: messages that are already in order, at a multiple of the speed at which they happened.

Invariants:
- Messages are published in the order in which they come, each once, and only below the topics of replays.
- A message is published no earlier than its time divided by the speed. What the broker cannot take that fast is
  published later, never dropped.
- A connection that ends would leave a gap, so it ends the replay.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from broker.client.transport import Disconnected, Message, Transport
from runtime.clock import Clock
from runtime.errors import UserError
from schemas.database.replay.machine_past import StoredMessage

FLUSH_SECONDS = 60.0
_WAIT_SECONDS = 0.2
_FULL_WAIT_SECONDS = 0.01


class ReplayError(UserError):
    """The replay ended before its end."""


@dataclass(frozen=True, slots=True)
class ReplayPace:
    """A replay called `id` of an organisation's history from `start` (milliseconds). `speed`: 1 is the original."""

    id: str
    org: str
    start: int
    speed: float


def publish_past(
    transport: Transport,
    messages: Iterable[StoredMessage],
    pace: ReplayPace,
    *,
    clock: Clock,
    progress: Callable[[int], None] = lambda _: None,
) -> int:
    """Publish messages through a connected transport; return their number when the broker has acknowledged all.

    `progress` is called with the milliseconds of the past between a message and the one before. Raises ReplayError when
    the connection ends.
    """
    began, count, at = clock.monotonic(), 0, pace.start
    for message in messages:
        progress(message.at - at)
        at = message.at
        due = began + (at - pace.start) / 1000 / pace.speed
        while (left := due - clock.monotonic()) > 0:
            _work(transport, min(left, _WAIT_SECONDS), at)
        topic = message.topic.at(replay=pace.id, org=pace.org, machine=message.machine, rule=message.rule)
        wanted = Message(topic, message.payload, message.topic.qos, message.topic.retain)
        while not transport.publish(wanted):
            _work(transport, _FULL_WAIT_SECONDS, at)
        count += 1
    if not transport.flush(FLUSH_SECONDS):
        raise ReplayError(f"the broker did not acknowledge the last messages within {FLUSH_SECONDS:g} s")
    return count


def _work(transport: Transport, wait: float, at: int) -> None:
    """Do the network's work for up to `wait` seconds."""
    for event in transport.receive(100, wait):
        if isinstance(event, Disconnected):
            raise ReplayError(f"the connection to the broker ended ({event.reason}): nothing from {at} on was replayed")
