"""The Requests of an actor during a run, judged as they come.

Invariant: a violation is recorded under one assertion: a Request that cannot be decoded is judged no further.
"""

import json
from typing import TYPE_CHECKING

from pydantic import ValidationError

from broker.access.policy import covers
from broker.client.transport import Message
from broker.conformance import assertions as df
from broker.conformance.packets import REFUSED_FILTER
from broker.conformance.program import ProgramWatch
from broker.conformance.program_broker import ClientConnected, ClientPublished, ClientSubscribed
from broker.conformance.report import ConformanceReport
from runtime.clock import Clock
from schemas.contract import topics
from schemas.contract.commands import Act, Order, Request
from schemas.contract.messages import Signed

if TYPE_CHECKING:
    from broker.conformance.order_signer import SeedSigner

CLOCK_MILLISECONDS = 5 * 60_000


class ActorRequests:
    """Reads the log of the broker. `begin` before each start of the program."""

    def __init__(
        self,
        watch: ProgramWatch,
        signer: "SeedSigner",
        clock: Clock,
        report: ConformanceReport,
        *,
        machine: str,
        action: str,
    ) -> None:
        self._watch = watch
        self._signer = signer
        self._clock = clock
        self._report = report
        self._wanted = (watch.broker.principal.org, machine, action)
        self._start = self._read = 0
        self._ids: list[tuple[str, ...]] = []
        self.id = self.order_id = ""
        """Ids of the Request and of its order; empty before the first."""
        self._first: object = None
        self._repetitions = 0

    @property
    def is_readable(self) -> bool:
        """Whether a Request with an order has arrived."""
        self._handle_new()
        return bool(self.order_id)

    @property
    def repetitions(self) -> int:
        """Number of repetitions of the Request so far."""
        self._handle_new()
        return self._repetitions

    def begin(self) -> None:
        """Forget the Request before this start of the program."""
        self._handle_new()
        self._start = self._read = len(self._watch.broker.log)
        self.id = self.order_id = ""
        self._first, self._repetitions = None, 0

    def explain_silence(self, seconds: float) -> None:
        """Record why there is no Request that can be judged, unless a violation was recorded."""
        if not self._report.failed:
            connects = self._watch.events(ClientConnected, self._start)
            what = f"no Request within {seconds:g} s" if connects else f"no CONNECT within {seconds:g} s"
            self._report.fail(df.ACTOR_TOPIC if connects else df.ACTOR_IDENTITY, what)

    def judge_ids(self) -> None:
        """Judge the ids of all starts together."""
        if self._ids:
            every = [id_ for ids in self._ids for id_ in ids]
            repeated = sorted({id_ for id_ in every if every.count(id_) > 1})
            self._report.check(df.ACTOR_NEW_IDS, not repeated, f"{', '.join(repeated)} was used before")

    def _handle_new(self) -> None:
        log = self._watch.broker.log
        while self._read < len(log):
            event, self._read = log[self._read], self._read + 1
            if isinstance(event, ClientPublished):
                self._handle(event.message)

    def _handle(self, message: Message) -> None:
        principal, report = self._watch.broker.principal, self._report
        topic = topics.REQUEST.at(org=principal.org, principal=principal.level)
        report.check(df.ACTOR_TOPIC, message.topic == topic, f"it publishes to {message.topic} instead of {topic}")
        if message.topic != topic:
            return
        sent = f"QoS {message.qos}, retain {message.retain}"
        report.check(df.ACTOR_QOS, (message.qos, message.retain) == (1, False), sent)
        report.check(df.ACTOR_SUBSCRIBES, self._is_subscribed(), "no subscription to its Updates before the Request")
        try:
            request = Request.decode(message.payload)
        except ValidationError as error:
            place = ".".join(map(str, error.errors()[0]["loc"]))
            report.fail(df.ACTOR_VALID, f"{place}: {error.errors()[0]['msg']}")
            return
        if request.id == self.id:
            self._repetitions += 1
            same = json.loads(message.payload) == self._first
            report.check(df.ACTOR_SAME, same, f"the Request {request.id} has another content than before")
        elif not self.id:
            self._judge_first(request, json.loads(message.payload))

    def _is_subscribed(self) -> bool:
        """Return whether the present connection has subscribed to its Updates before its last event."""
        principal = self._watch.broker.principal
        updates = topics.UPDATE.at(org=principal.org, principal=principal.level)
        log = self._watch.broker.log[self._start : self._read]
        connects = [place for place, event in enumerate(log) if isinstance(event, ClientConnected)]
        return any(
            code != REFUSED_FILTER and covers(filter_, updates)
            for event in log[connects[-1] if connects else len(log) :]
            if isinstance(event, ClientSubscribed)
            for (filter_, _), code in zip(event.filters, event.codes, strict=True)
        )

    def _judge_first(self, request: Request, content: object) -> None:
        report, change = self._report, request.change
        if not isinstance(change, Act):
            report.fail(df.ACTOR_VALID, f"the change is {change.kind}, not act")
            return
        order = self._judge_order(change.orders[0])
        if order is None:
            return
        report.check(df.ACTOR_VALID, holds=True, detail="")
        self.id, self.order_id, self._first = request.id, order.id, content
        self._ids.append((request.id, change.batch, order.id))
        count = len(change.orders)
        report.check(df.ACTOR_TARGET, count == 1, f"{count} orders for one machine")

    def _judge_order(self, signed: Signed) -> Order | None:
        report, now = self._report, self._clock.now()
        try:
            order = Order.model_validate_json(signed.statement)
        except ValidationError as error:
            place = ".".join(map(str, error.errors()[0]["loc"]))
            report.fail(df.ACTOR_VALID, f"the statement of the order: {place}: {error.errors()[0]['msg']}")
            return None
        report.check(
            df.ACTOR_SIGNED, self._signer.has_signed(signed), f"key {signed.key}, signature {signed.signature}"
        )
        named = (order.org, order.machine, order.action)
        report.check(df.ACTOR_TARGET, named == self._wanted, f"it orders {named}")
        is_new = abs(order.issued_at - now) <= CLOCK_MILLISECONDS and now < order.expires_at
        report.check(df.ACTOR_TIMES, is_new, f"issued {order.issued_at}, expires {order.expires_at}, now {now}")
        return order
