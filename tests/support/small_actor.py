"""A small actor that follows the contract, and can be told to break one rule of it at a time."""

import json
import secrets
from dataclasses import dataclass, field
from typing import Any

from clocks import Clock
from pydantic import ValidationError

from broker.client.transport import Message
from broker.conformance.order_signer import SeedSigner
from broker.conformance.packets import Connect
from broker.conformance.program_broker import ProgramBroker
from schemas.contract import topics
from schemas.contract.commands import Act, Order, Request, Update
from schemas.contract.signing import new_key

BACKOFF_SECONDS, REPEAT_SECONDS = 1.0, 3.0
LEVELS = {"org": "home", "principal": "conform"}
OUTCOMES = ("succeeded", "failed", "rejected", "expired", "cancelled")


@dataclass
class Run:
    """One run of the program."""

    request: Request
    order_id: str
    starts_at: float
    connected: bool = False
    connects: int = 0
    answered: bool = False
    asks: bool = False
    next_connect: float = 0.0
    repeat_at: float = 0.0
    deaf: bool = False
    ids: list[str] = field(default_factory=list)
    last: tuple[str, str | None] | None = None


class SmallActor:
    """A program under a run; `breaks` is the rule that it breaks, or empty. Call `step` often."""

    def __init__(self, broker: ProgramBroker, clock: Clock, seed: str, *, breaks: str = "") -> None:
        self._broker = broker
        self._clock = clock
        self._signer = SeedSigner(new_key() if breaks == "another key" else seed)
        self._breaks = breaks
        self._run: Run | None = None
        self._status: int | None = None

    def start(self) -> None:
        fixed, breaks, now = "ab" * 16, self._breaks, self._clock.now()
        order_id = fixed if breaks == "one order id" else secrets.token_hex(16)
        past = 3_600_000 if breaks == "issued in the past" else 0
        order = Order(
            id=order_id,
            org="other" if breaks == "another organisation" else "home",
            machine="another" if breaks == "another machine" else "probe",
            action="refresh" if breaks == "another action" else "ping",
            issued_at=now - past,
            expires_at=now - past + 600_000,
        )
        batch = fixed if breaks == "one batch" else secrets.token_hex(16)
        request_id = fixed if breaks == "one request id" else secrets.token_hex(16)
        request = Request(id=request_id, change=Act(batch=batch, orders=(self._signer.sign(order),)))
        self._run, self._status = Run(request, order_id, self._clock.monotonic()), None

    def kill(self) -> None:
        self._run = None

    def lines(self) -> list[str]:
        return []

    def status(self) -> int | None:
        return self._status

    def step(self) -> None:
        run, now = self._run, self._clock.monotonic()
        if run is None or self._status is not None:
            return
        if not run.connected and now >= run.next_connect:
            self._connect(run)
        if run.connected and (not run.answered or run.asks) and now >= run.repeat_at:
            self._publish(run)

    def send(self, message: Message) -> None:
        run, breaks = self._run, self._breaks
        self._broker.acknowledge()
        if run is None or run.deaf or self._status is not None:
            return
        try:
            update = Update.decode(message.payload)
        except ValidationError:
            self._status = 2 if breaks == "ends after an invalid message" else None
            run.deaf = breaks == "deaf after an invalid message"
            return
        if breaks == "unknown fields refused" and not json.loads(message.payload).keys() <= Update.model_fields.keys():
            return
        if update.request != run.request.id and breaks != "Updates of others":
            return
        if breaks == "ends after a duplicate" and (update.state, update.command) == run.last:
            self._status = 1
        run.last = update.state, update.command
        run.answered, run.asks = True, False
        self._follow(update)

    def close(self) -> None:
        run = self._run
        if run is not None:
            run.connected, run.next_connect = False, self._clock.monotonic() + BACKOFF_SECONDS
            run.asks = self._breaks != "never asks again"

    def _follow(self, update: Update) -> None:
        if update.state == "refused":
            self._status = 0 if self._breaks == "refused is well" else 1
        elif update.state == "timed-out" and self._breaks == "timed-out is final":
            self._status = 1
        elif update.state in OUTCOMES:
            well = update.state == "succeeded" or self._breaks == "every outcome is well"
            self._status = int(not well) if self._breaks != "no outcome is well" else 1

    def _connect(self, run: Run) -> None:
        run.connects += 1
        name, breaks = self._broker.principal.username, self._breaks
        connect = Connect(4, name, name, self._broker.password, clean=breaks != "session continues", keep_alive=60)
        if breaks == "another client id" and run.connects == 1:
            connect = Connect(4, "mine", name, self._broker.password)
        if self._broker.connect(self, connect) != 0:
            self.close()
            return
        run.connected, run.repeat_at = True, 0.0
        run.asks = run.asks or not run.answered
        if breaks == "repeats only in time" and run.connects > 1:
            run.repeat_at = self._clock.monotonic() + 100
        if breaks == "subscribes to the Updates of another":
            self._broker.subscribe([(topics.UPDATE.at(org="home", principal="another"), 1)])
        elif breaks != "subscribes later":
            self._broker.subscribe([(topics.UPDATE.at(**LEVELS), 1)])

    def _publish(self, run: Run) -> None:
        breaks, now = self._breaks, self._clock.monotonic()
        run.repeat_at = now + (1000 if breaks == "repeats only when connected" else REPEAT_SECONDS)
        content: dict[str, Any] = json.loads(run.request.encode())
        if breaks == "other content again" and run.connects > 1:
            content["actor"] = "somebody else"
        if breaks == "text for a number":
            content["v"] = "1"
        if breaks == "order without an id":
            content["change"]["orders"][0]["statement"] = "{}"
        topic = (
            topics.STATUS.at(org="home", machine="probe") if breaks == "another topic" else topics.REQUEST.at(**LEVELS)
        )
        message = Message(topic, json.dumps(content).encode(), int(breaks != "QoS 0"), retain=breaks == "retained")
        self._broker.publish(message)
        if breaks in ("subscribes later", "subscribes to the Updates of another"):
            self._broker.subscribe([(topics.UPDATE.at(**LEVELS), 1)])
