"""A small consumer that follows the contract, and can be told to break one rule of it at a time."""

import json

from clocks import Clock
from pydantic import ValidationError

from broker.client.transport import Message
from broker.conformance.packets import Connect
from broker.conformance.program_broker import ProgramBroker
from schemas.contract import topics
from schemas.contract.presence import PresenceMessage

BACKOFF_SECONDS = 1.0


class SmallConsumer:
    """A program under a run; `breaks` is the rule that it breaks, or empty. Call `step` often."""

    def __init__(self, broker: ProgramBroker, clock: Clock, *, breaks: str = "") -> None:
        self._broker = broker
        self._clock = clock
        self._breaks = breaks
        self._lines: list[str] = []
        self._runs = self._connected = False
        self._connects = 0
        self._next_connect = 0.0
        self._ignores = False
        self._last: Message | None = None

    def start(self) -> None:
        self._runs = True

    def kill(self) -> None:
        self._runs = False

    def lines(self) -> list[str]:
        return self._lines

    def status(self) -> int | None:
        return None if self._runs else 0

    def step(self) -> None:
        if self._runs and not self._connected and self._clock.monotonic() >= self._next_connect:
            self._connect()

    def send(self, message: Message) -> None:
        if self._breaks != "nothing acknowledged" and message.qos:
            self._broker.acknowledge()
        address = topics.parse(message.topic)
        if address is None or address.topic is not topics.PRESENCE or self._ignores:
            return
        if message.retain and self._breaks == "retained ignored":
            return
        if not message.retain and self._breaks == "only the first":
            return
        machine = address.machine
        if self._breaks == "ends after a duplicate" and message == self._last:
            self._ignores = True
            return
        self._last = message
        if not message.payload:
            self._lines.append(machine if self._breaks == "removals ignored" else f"{machine} removed")
            return
        self._show(machine, message.payload)

    def close(self) -> None:
        self._connected = False
        wait = 0.0 if self._breaks == "connects at once" else BACKOFF_SECONDS
        self._next_connect = self._clock.monotonic() + wait
        if self._breaks == "connects once":
            self._runs = False

    def _show(self, machine: str, payload: bytes) -> None:
        try:
            found = PresenceMessage.decode(payload)
        except ValidationError:
            self._ignores = self._breaks == "ends after an invalid message"
            return
        known = json.loads(payload)
        if self._breaks == "unknown fields refused" and not known.keys() <= PresenceMessage.model_fields.keys():
            return
        if self._breaks == "every field required" and "verified" not in known:
            return
        verified = found.verified or self._breaks == "verified ignored"
        if self._breaks == "nothing verified":
            verified = False
        self._lines.append(f"{machine}: {found.presence}{'' if verified else ' (unverified)'}")

    def _connect(self) -> None:
        self._connects += 1
        name, breaks = self._broker.principal.username, self._breaks
        will = Message(topics.PRESENCE.at(org="home", machine="x"), b"x") if breaks == "a will" else None
        connect = Connect(
            version=5 if breaks == "version 5" and self._connects > 1 else 4,
            client_id="mine" if breaks == "another client id" and self._connects == 2 else name,
            username=name,
            password=self._broker.password,
            clean=breaks != "session continues",
            keep_alive=0 if breaks == "no keep-alive" else 60,
            will=will,
        )
        if self._broker.connect(self, connect) != 0:
            self.close()
            if breaks == "gives up":
                self._runs = False
            return
        self._connected, self._ignores = True, False
        if breaks == "subscribes once" and self._connects > 1:
            return
        filters = [(topics.PRESENCE.filter(org="home"), 1)]
        if breaks == "subscribes to everything":
            filters.append(("dashfleet/v1/home/#", 1))
        self._broker.subscribe(filters)
        self._broker.send_retained(filters)
        if breaks == "publishes":
            self._broker.publish(Message(topics.STATUS.at(org="home", machine="x"), b"x"))
