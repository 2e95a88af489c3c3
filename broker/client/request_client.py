"""Requests to the ingestor: signed orders, published until they are answered, and the updates about them.

For the command line, the dashboard, and programs that embed DashFleet.

    requests = act(orders, seed, actor="ada")
    client = RequestClient(transport, principal, clock=…)
    for request in requests: client.send("home", request, until=orders[0].expires_at)
    while …: for update in client.step(0.5): …

Invariants:
- An order is signed for one machine. Orders and requests keep their ids however often they are published, so publishing
  is idempotent.
- A request is published again on every new connection and after RETRY_SECONDS, until an update accepts or rejects it or
  its time is over (`until`).
- Driven by `step`, without a thread. A message that cannot be decoded is counted and ignored.
"""

import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from broker.access.policy import Principal, Role
from broker.client.transport import Connected, Disconnected, Event, Message, Transport
from runtime.clock import Clock
from schemas.contract import topics
from schemas.contract.administration import Administration
from schemas.contract.commands import ORDERS_MAX, Act, Cancel, Order, Request, Rollout, Update
from schemas.contract.messages import Signed
from schemas.contract.signing import sign

REQUEST_BYTES_MAX = 128 << 10
"""Maximum size of the signed orders in one request: half of a broker's maximum packet size."""

RETRY_SECONDS = 5.0
"""Interval between two publications of an unanswered request."""

OPERATOR_NAME = "act"
"""Name of the principal of `dashfleet act` in its organisation."""

DASHBOARD = Principal(Role.DASHBOARD, "", "dashboard")
"""The dashboard, which acts for the users of every organisation."""

CANCEL_MAX = 1000
_ORDER_OVERHEAD = 64  # bytes of JSON around an order in its request


def new_id() -> str:
    """Return a new id of an order, a batch or a request."""
    return secrets.token_hex(16)


def orders(
    machines: Iterable[str],
    action: str,
    arguments: Mapping[str, Any],
    *,
    org: str,
    now: int,
    lifetime_seconds: float,
    new_id: Callable[[], str] = new_id,
) -> list[Order]:
    """Return an order for each machine that expires after `lifetime_seconds`. Raises ValueError if it is invalid."""
    return [
        Order(
            id=new_id(),
            org=org,
            machine=machine,
            action=action,
            arguments=dict(arguments),
            issued_at=now,
            expires_at=now + round(lifetime_seconds * 1000),
        )
        for machine in machines
    ]


def act(
    wanted: Sequence[Order],
    seed: str,
    *,
    actor: str,
    rollout: Rollout | None = None,
    new_id: Callable[[], str] = new_id,
) -> list[Request]:
    """Sign orders with a private key and return the requests that carry them: one batch in one or more requests."""
    batch, chosen = new_id(), rollout or Rollout()
    return [
        Request(id=new_id(), actor=actor, change=Act(batch=batch, orders=tuple(chunk), rollout=chosen))
        for chunk in _chunks(sign(order, seed) for order in wanted)
    ]


def carried(orders: Sequence[Order], requests: Sequence[Request]) -> dict[str, tuple[str, ...]]:
    """Map the id of each request to the ids of its orders; both in the sequence in which `act` took and made them."""
    rest = [order.id for order in orders]
    found = {}
    for request in requests:
        if isinstance(request.change, Act):
            count = len(request.change.orders)
            found[request.id], rest = tuple(rest[:count]), rest[count:]
    return found


def cancel(commands: Sequence[str], *, actor: str, new_id: Callable[[], str] = new_id) -> list[Request]:
    """Return the requests that cancel these commands."""
    chunks = (tuple(commands[start : start + CANCEL_MAX]) for start in range(0, len(commands), CANCEL_MAX))
    return [Request(id=new_id(), actor=actor, change=Cancel(commands=chunk)) for chunk in chunks]


def administer(change: Administration, *, actor: str, new_id: Callable[[], str] = new_id) -> Request:
    """Return the request for a change of an organisation."""
    return Request(id=new_id(), actor=actor, change=change)


def _chunks(signed: Iterable[Signed]) -> Iterator[list[Signed]]:
    chunk: list[Signed] = []
    size = 0
    for order in signed:
        weight = len(order.model_dump_json()) + _ORDER_OVERHEAD
        if chunk and (len(chunk) == ORDERS_MAX or size + weight > REQUEST_BYTES_MAX):
            yield chunk
            chunk, size = [], 0
        chunk.append(order)
        size += weight
    if chunk:
        yield chunk


@dataclass(slots=True)
class _Pending:
    message: Message
    until: int
    due: float


class RequestClient:
    """Publishes a principal's requests and returns the updates about them."""

    def __init__(
        self,
        transport: Transport,
        principal: Principal,
        *,
        clock: Clock,
        retry_seconds: float = RETRY_SECONDS,
        other: Callable[[Message], None] = lambda _: None,
    ) -> None:
        """`other`: called with each message that is no update, of subscriptions that the caller has added."""
        self._transport = transport
        self._level = principal.level
        self._clock = clock
        self._retry_seconds = retry_seconds
        self._other = other
        self._filters = frozenset(filter_ for filter_, _ in self.subscriptions(principal))
        self._pending: dict[str, _Pending] = {}
        self.refused = ""
        """Why the broker rejects this principal or its subscription; empty if it does not."""
        self.trouble = ""
        """Why there is no connection; empty while connected."""
        self.unreadable = 0

    @staticmethod
    def subscriptions(principal: Principal) -> list[tuple[str, int]]:
        """Return the transport's subscriptions: the updates of one organisation, or of all for the server's own."""
        levels = {"org": principal.org} if principal.org else {}
        return [(topics.UPDATE.filter(**levels, principal=principal.level), topics.UPDATE.qos)]

    @property
    def connected(self) -> bool:
        """Whether a request can be published now."""
        return self._transport.connected

    @property
    def pending(self) -> frozenset[str]:
        """Ids of the requests that are not answered yet."""
        return frozenset(self._pending)

    def send(self, org: str, request: Request, *, until: int) -> None:
        """Publish a request with the next step, and again until it is answered or `until` (milliseconds) is past."""
        topic = topics.REQUEST.at(org=org, principal=self._level)
        message = Message(topic, request.encode(), topics.REQUEST.qos, topics.REQUEST.retain)
        self._pending.setdefault(request.id, _Pending(message, until, due=self._clock.monotonic()))

    def step(self, wait: float) -> list[Update]:
        """Publish what is due, do the network's work for up to `wait` seconds, and return the updates received."""
        self.publish_due()
        updates = [update for event in self._transport.receive(100, wait) for update in self.handle(event)]
        self.publish_due()
        return updates

    def handle(self, event: Event) -> list[Update]:
        """Take an event of the transport, for a caller that receives by itself; return the updates in it."""
        match event:
            case Message():
                return self._read(event)
            case Connected():
                self._handle_connected(event)
            case Disconnected():
                self.trouble, self.refused = event.reason, event.reason if event.refused else ""
        return []

    def _handle_connected(self, event: Connected) -> None:
        self.trouble = ""
        refused = [filter_ for filter_ in event.refused if filter_ in self._filters]
        self.refused = f"the broker rejected the subscription to {', '.join(refused)}" if refused else ""
        for pending in self._pending.values():
            pending.due = self._clock.monotonic()

    def _read(self, message: Message) -> list[Update]:
        address = topics.parse(message.topic)
        if address is None or address.topic is not topics.UPDATE:
            self._other(message)
            return []
        try:
            update = Update.decode(message.payload)
        except ValidationError:
            self.unreadable += 1
            return []
        self._pending.pop(update.request, None)  # any update means that the request has been received
        return [update]

    def publish_due(self) -> None:
        """Publish requests that are new, or not answered in time; forget those whose time is over."""
        now, monotonic = self._clock.now(), self._clock.monotonic()
        self._pending = {id_: pending for id_, pending in self._pending.items() if now < pending.until}
        for pending in self._pending.values():
            if pending.due <= monotonic and self._transport.publish(pending.message):
                pending.due = monotonic + self._retry_seconds
