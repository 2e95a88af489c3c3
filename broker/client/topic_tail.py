"""Tail of an organisation's topics, as any program with a reader's credential sees them.

Invariants:
- Every message is shown; a payload that is not JSON, or not portable JSON (NaN), as text.
- Nothing that is printed can control the terminal.
"""

import json
import sys
from collections.abc import Callable, Sequence
from typing import Any

from broker.access.policy import Principal, Role
from broker.client.live_client import LiveClient, LiveView
from broker.client.mqtt import Mqtt
from broker.client.transport import Connected, Disconnected, Event, Message, Transport
from runtime.clock import SystemClock
from runtime.errors import UserError
from runtime.process import StopSignal
from runtime.settings.client import ActSettings, WatchSettings
from runtime.settings.homeassistant import HomeAssistantSettings
from runtime.terminal import printable
from schemas.contract import topics

READER_NAME = "watch"
MISSING_SECONDS = 5.0
"""Time without live readings after which the reason is told."""

_FOLLOWED = (
    topics.STATUS,
    topics.INFO,
    topics.TELEMETRY,
    topics.BACKFILL,
    topics.RESULT,
    topics.PRESENCE,
    topics.ALERT,
    topics.RESOLVED,
    topics.INCIDENT,
    topics.ORG_CONFIG,
)


def watch(settings: WatchSettings, *, show: Callable[[Event], None], live: Sequence[str] = ()) -> None:
    """Subscribe and show every event until told to stop. Raises UserError if the broker rejects the credential.

    `live`: show only the readings of these machines, every second.
    """
    stop = StopSignal()
    reader = Principal(Role.READER, settings.org, READER_NAME)
    followed = [(topic.filter(org=settings.org), topic.qos) for topic in _FOLLOWED]
    base = [] if live else followed
    looks = Looks(LiveClient(reader, clock=SystemClock(), base=base), settings.org, live)
    transport = Mqtt(
        settings.address,
        username=reader.username,
        password=settings.secret(),
        subscriptions=base,
        keep_alive_seconds=settings.keep_alive_seconds,
        ca_file=settings.ca_file,
    )
    try:
        while not stop.received:
            looks.step(transport)
            for event in transport.receive(100, 0.5):
                if isinstance(event, Disconnected) and event.refused:
                    raise UserError(
                        f"the broker at {settings.server} rejected the reader's secret: {event.reason}"
                        + create_hint(settings, READER_NAME, "reader")
                    )
                if isinstance(event, Connected) and event.refused:
                    raise UserError(f"the broker rejected the subscription to {', '.join(event.refused)}")
                if looks.are_to_show(event):
                    show(event)
    finally:
        transport.close()


class Looks:
    """Looks at machines, whose readings are shown; without machines, every event is shown."""

    def __init__(self, client: LiveClient, org: str, machines: Sequence[str]) -> None:
        self._client = client
        self._org = org
        self._machines = machines
        self._told: dict[str, str] = {}

    def step(self, transport: Transport) -> None:
        """Go on looking, and tell on standard error why there are no readings of a machine, once until that changes."""
        for machine in self._machines:
            why = _missing(self._client.look(self._org, machine))
            if why != self._told.get(machine, ""):
                self._told[machine] = why
                sys.stderr.write(f"no live readings of {machine}: {why}\n" if why else "")
        if self._machines:
            self._client.step(transport)

    def are_to_show(self, event: Event) -> bool:
        """Take an event; return whether it is to be shown."""
        self._client.handle(event)
        if not self._machines or not isinstance(event, Message):
            return True
        address = topics.parse(event.topic)
        return address is not None and address.topic is topics.LIVE and not event.retain


def _missing(view: LiveView) -> str:
    """Return why there are no readings now; empty while there are, and in the first seconds."""
    if view.refused == "unknown-machine":
        return "the organisation has no machine with this id, or it is retired"
    if view.refused:
        return "as many machines are watched as an organisation may watch at a time"
    if view.waited_seconds < MISSING_SECONDS:
        return ""
    return "the machine may be offline, its agent may be older than 0.2.0, or no ingestor may be running"


def create_hint(settings: WatchSettings | ActSettings | HomeAssistantSettings, name: str, role: str) -> str:
    """Return how to create the principal of a command in an organisation, as the end of a sentence."""
    return (
        f" (create it with dashfleet principal add {name} --role {role} --org {settings.org}, and pass its secret in "
        f"DASHFLEET_{settings.part.upper()}_PASSWORD)"
    )


def as_json_lines(event: Event) -> None:
    """Print a message as one line of JSON: topic, whether it was retained, payload."""
    if isinstance(event, Message):
        head = {"topic": event.topic, "retained": event.retain}
        _print(_encoded(event.payload, lambda payload: {**head, "payload": payload}))


def as_text(event: Event) -> None:
    """Print an event as text; changes of the connection go to standard error."""
    match event:
        case Connected():
            sys.stderr.write("connected\n")
        case Disconnected():
            sys.stderr.write(f"not connected: {event.reason}\n")
        case Message():
            _print(f"{printable(event.topic)}{' (retained)' if event.retain else ''}")
            _print(f"    {printable(_encoded(event.payload, ensure_ascii=False))}")


def _encoded(payload: bytes, wrapped: Callable[[Any], Any] = lambda it: it, *, ensure_ascii: bool = True) -> str:
    """Return a payload as JSON on one line, inside the object that `wrapped` puts around it."""
    try:
        return json.dumps(wrapped(json.loads(payload)), allow_nan=False, ensure_ascii=ensure_ascii)
    except (ValueError, RecursionError):  # not JSON; NaN; nested too deeply
        text = payload.decode("utf-8", "backslashreplace")
        return json.dumps(wrapped(text), ensure_ascii=ensure_ascii)


def _print(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()
