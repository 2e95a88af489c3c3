"""Looking at machines: requests for their live readings for as long as somebody looks, and the newest readings.

    looking = LiveClient(principal, clock=…, base=[…])
    view = looking.look("home", "attic")        # from any thread, at least every LOOK_SECONDS
    while …: looking.step(transport); for event in transport.receive(100, 0.5): looking.handle(event)

Invariants:
- A machine is requested once in REQUEST_SECONDS, however many look through this client.
- Readings are in memory only, bounded, and forgotten LOOK_SECONDS after the last look.
- What is not a valid live reading of a machine that is looked at is ignored, such as one that a broker has retained.
"""

import threading
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from pydantic import ValidationError

from broker.access.policy import Principal
from broker.client.transport import Event, Message, Transport
from runtime.clock import Clock
from schemas.contract import topics
from schemas.contract.live import LIVE_SECONDS, REQUEST_SECONDS, Live, LiveAnswer, LiveRequest

LOOK_SECONDS = 4.0
"""Time after which a machine is no longer looked at unless `look` is called again."""

READINGS_MAX = 180
"""Readings that are kept of a machine: three minutes."""

MACHINES_MAX = 500
"""Machines that one client looks at."""

LATE_SECONDS = 3.5 * LIVE_SECONDS
"""Age from which on the newest reading is no longer of this moment."""

Key = tuple[str, str]
"""An organisation and a machine."""


@dataclass(frozen=True, slots=True)
class LiveReading:
    """A live reading, and when it arrived, in milliseconds of this process's clock."""

    at: int
    reading: Live


@dataclass(frozen=True, slots=True)
class LiveView:
    """The state of a look at a machine, at one moment.

    `readings`: the newest is the last. `is_live`: whether the newest is of this moment. `refused`: why there are none,
    a code of LiveAnswer or `too-many`. `waited_seconds`: time since the look began, or since the last reading.
    """

    readings: Sequence[LiveReading] = ()
    is_live: bool = False
    refused: str = ""
    waited_seconds: float = 0.0


@dataclass(slots=True)
class _Look:
    until: float
    began: float
    heard: float | None = None
    due: float = 0.0
    refused: str = ""
    readings: deque[LiveReading] = field(default_factory=lambda: deque(maxlen=READINGS_MAX))


class LiveClient:
    """The looks of one principal. `base`: the other subscriptions of its transport. Thread-safe.

    It subscribes only while somebody looks, so that a broker that does not grant this loses the principal nothing else.
    """

    def __init__(self, principal: Principal, *, clock: Clock, base: Sequence[tuple[str, int]] = ()) -> None:
        self.unreadable = 0
        """Number of live readings that were invalid."""
        self._level = principal.level
        levels = {"org": principal.org} if principal.org else {}
        self._answers = (topics.LIVE_ANSWER.filter(**levels, principal=principal.level), topics.LIVE_ANSWER.qos)
        self._clock = clock
        self._base = list(base)
        self._looks: dict[Key, _Look] = {}
        self._subscribed: frozenset[Key] = frozenset()
        self._lock = threading.Lock()

    def look(self, org: str, machine: str) -> LiveView:
        """Look at a machine for LOOK_SECONDS from now; return what is known at this moment."""
        now = self._clock.monotonic()
        with self._lock:
            self._end(now)
            look = self._looks.get((org, machine))
            if look is None:
                if len(self._looks) >= MACHINES_MAX:
                    return LiveView(refused="too-many")
                look = self._looks[org, machine] = _Look(until=now, began=now, due=now)
            look.until = now + LOOK_SECONDS
            waited = now - (look.began if look.heard is None else look.heard)
            is_live = look.heard is not None and waited < LATE_SECONDS
            return LiveView(tuple(look.readings), is_live, "" if is_live else look.refused, waited)

    def step(self, transport: Transport) -> None:
        """Subscribe to the readings of the machines that are looked at, and send the requests that are due."""
        now = self._clock.monotonic()
        with self._lock:
            self._end(now)
            keys = frozenset(self._looks)
            due = [key for key, look in self._looks.items() if look.due <= now]
        if keys != self._subscribed:
            self._subscribed = keys
            live = [(topics.LIVE.at(org=org, machine=machine), topics.LIVE.qos) for org, machine in sorted(keys)]
            transport.subscribe([*self._base, *([self._answers, *live] if live else [])])
        for org, machine in due:
            request = LiveRequest(machine=machine).encode()
            topic = topics.LIVE_REQUEST.at(org=org, principal=self._level)
            if transport.publish(Message(topic, request, topics.LIVE_REQUEST.qos)):
                self._requested((org, machine), now)

    def handle(self, event: Event) -> None:
        """Take a live reading or an answer; ignore everything else."""
        if not isinstance(event, Message) or event.retain:
            return
        address = topics.parse(event.topic)
        if address is None:
            return
        try:
            if address.topic is topics.LIVE:
                self._take((address.org, address.machine), Live.decode(event.payload))
            elif address.topic is topics.LIVE_ANSWER:
                answer = LiveAnswer.decode(event.payload)
                self._answered((address.org, answer.machine or ""), answer.refused or "")
        except ValidationError:
            self.unreadable += 1

    def _requested(self, key: Key, now: float) -> None:
        with self._lock:
            if (look := self._looks.get(key)) is not None:
                look.due = now + REQUEST_SECONDS

    def _take(self, key: Key, reading: Live) -> None:
        with self._lock:
            if (look := self._looks.get(key)) is not None:
                look.heard = self._clock.monotonic()
                look.readings.append(LiveReading(self._clock.now(), reading))

    def _answered(self, key: Key, refused: str) -> None:
        with self._lock:
            if (look := self._looks.get(key)) is not None:
                look.refused = refused

    def _end(self, now: float) -> None:
        for key in [key for key, look in self._looks.items() if now >= look.until]:
            del self._looks[key]
