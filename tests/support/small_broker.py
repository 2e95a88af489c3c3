"""A small broker in memory that does what the contract needs, and can be told to break one rule of it at a time."""

from collections.abc import Callable, Sequence
from dataclasses import replace

from broker.access.policy import Principal, Role, Verb, allowed, covers
from broker.client.transport import Message
from broker.conformance.broker_run import BrokerCredentials, Credential
from broker.conformance.packets import Connect

SECRET = "secret"
ORG, OTHER_ORG = "home", "other"


class SmallBroker:
    """`breaks` is the rule that it breaks, or empty."""

    def __init__(self, breaks: str = "") -> None:
        self.breaks = breaks
        self.clients: list[SmallClient] = []
        self.retained: dict[str, Message] = {}
        self.kept_sessions: dict[str, list[str]] = {}
        self.revoked: set[str] = set()
        self.held: list[tuple[Principal, Message]] = []
        self.held_back = 0
        """How many second connections of a client id it ends without an answer."""
        people = {
            "machine_a": Principal(Role.MACHINE, ORG, "a"),
            "machine_b": Principal(Role.MACHINE, ORG, "b"),
            "reader": Principal(Role.READER, ORG, "reader"),
            "late_reader": Principal(Role.READER, ORG, "late"),
            "other_reader": Principal(Role.READER, OTHER_ORG, "reader"),
            "ingestor": Principal(Role.INGESTOR, "", "conform"),
        }
        self.principals = {each.username: each for each in people.values()}
        given = {name: Credential(each.username, SECRET) for name, each in people.items()}
        self.credentials = BrokerCredentials(org=ORG, other_org=OTHER_ORG, revoke=self._revoke, **given)

    def client(self) -> "SmallClient":
        return SmallClient(self)

    def route(self, sender: Principal, message: Message, *, is_will: bool = False) -> None:
        open_to_all = "wills of anybody" if is_will else "anybody publishes"
        if not allowed(sender, Verb.PUBLISH, message.topic) and self.breaks != open_to_all:
            return
        if self._is_broken_by(message):
            return
        if self.breaks == "reorders topics" and message.topic.endswith("result") and len(message.payload) < 3:
            self.held.append((sender, message))
            return
        self._distribute(message, is_will=is_will)
        if self.held and message.payload == b"48":
            for _, held in self.held:
                self._distribute(held, is_will=False)
            self.held.clear()

    def _is_broken_by(self, message: Message) -> bool:
        return (
            (self.breaks == "loses messages" and len(message.payload) == 256)
            or (self.breaks == "loses large messages" and len(message.payload) > 100_000)
            or (self.breaks == "reorders" and message.payload == b"7" and message.topic.endswith("telemetry"))
        )

    def _distribute(self, message: Message, *, is_will: bool) -> None:
        keeps = message.retain or (self.breaks == "retains everything" and message.topic.endswith("result"))
        if is_will and self.breaks == "wills not retained":
            keeps = False
        if keeps and self.breaks != "retains nothing" and not self._stays(message):
            if message.payload or self.breaks == "clears nothing":
                self.retained[message.topic] = message
            else:
                self.retained.pop(message.topic, None)
        for client in list(self.clients):
            client.offer(message, live=True)

    def _stays(self, message: Message) -> bool:
        known = self.retained.get(message.topic)
        return self.breaks == "replaces nothing" and known is not None and bool(message.payload)

    def _revoke(self) -> None:
        self.revoked.add(self.credentials.machine_b.username)
        if self.breaks != "revoked ones stay":
            for client in [each for each in self.clients if each.name in self.revoked]:
                client.leave(will=False)


class SmallClient:
    """One connection."""

    def __init__(self, broker: SmallBroker) -> None:
        self._broker = broker
        self._messages: list[Message] = []
        self._filters: list[str] = []
        self._connect: Connect | None = None
        self._is_first_retained = True
        self.name = ""

    def connect(self, connect: Connect, seconds: float) -> int | None:  # noqa: ARG002 - it waits for nothing
        broker = self._broker
        if broker.breaks == "accepts nobody":
            return 3
        if connect.password != SECRET and broker.breaks != "any password":
            return 5
        others = [each for each in broker.clients if each.name == connect.username]
        if broker.breaks == "refuses the second" and others:
            return 2
        if broker.breaks == "never answers the second" and others:
            return None
        if broker.held_back > 0 and others:
            broker.held_back -= 1
            return None
        for other in others:
            if broker.breaks != "two of a name":
                other.leave(will=True)
        self.name, self._connect = connect.username, connect
        if broker.breaks == "keeps sessions":
            self._filters = broker.kept_sessions.get(self.name, [])
        broker.clients.append(self)
        return 0

    def subscribe(self, filters: Sequence[str], seconds: float, *, qos: int = 1) -> list[int]:
        if qos == 1 and self._broker.breaks == "one filter at QoS 1" and len(filters) > 1:
            return [*self.subscribe(filters[:1], seconds), *(0x80 for _ in filters[1:])]
        known = set(self._filters)
        self._filters = [*dict.fromkeys([*self._filters, *filters])]
        self._broker.kept_sessions[self.name] = self._filters
        for filter_ in filters:
            if filter_ in known and self._broker.breaks == "rereads nothing":
                continue
            if "+" in filter_ and self._broker.breaks == "one per wildcard":
                newest = [each for each in self._broker.retained.values() if covers(filter_, each.topic)][:1]
            else:
                newest = list(self._broker.retained.values())
            for message in newest:
                if covers(filter_, message.topic):
                    self.offer(message, live=False)
        return [1] * len(filters)

    def publish(self, message: Message, seconds: float) -> bool:  # noqa: ARG002
        if self._connect is not None:
            self._broker.route(self._principal, message)
        return self._broker.breaks != "acknowledges nothing"

    def receive(self, until: Callable[[list[Message]], bool], seconds: float) -> list[Message]:  # noqa: ARG002
        found, self._messages = self._messages, []
        return found

    def is_gone(self, seconds: float) -> bool:
        connect = self._connect
        if connect is not None and connect.keep_alive * 1.5 < seconds and self._broker.breaks != "waits for ever":
            self.leave(will=True)
        return self._connect is None

    def cut(self) -> None:
        self.leave(will=True)

    def disconnect(self) -> None:
        self.leave(will=self._broker.breaks == "a will after all")

    def leave(self, *, will: bool) -> None:
        connect, self._connect = self._connect, None
        if connect is None:
            return
        self._broker.clients.remove(self)
        if will and connect.will is not None and self._broker.breaks != "no wills":
            self._broker.route(self._principal, connect.will, is_will=True)

    def offer(self, message: Message, *, live: bool) -> None:
        """Deliver a message that a subscription matches and the policy grants."""
        breaks = self._broker.breaks
        if not any(covers(filter_, message.topic) for filter_ in self._filters):
            return
        if not allowed(self._principal, Verb.RECEIVE, message.topic) and not self._may_wrongly(message):
            return
        flagged = not live and breaks != "no flag"
        sent = replace(message, qos=0 if breaks == "QoS 0" else message.qos, retain=flagged)
        if live and breaks == "a flag on live messages" and message.retain:
            sent = replace(sent, retain=True)
        if breaks == "changes payloads" and len(message.payload) == 256:
            sent = replace(sent, payload=message.payload[::-1])
        self._messages.append(sent)

    def _may_wrongly(self, message: Message) -> bool:
        is_foreign = f"/{self._principal.org}/" not in message.topic
        return self._broker.breaks == ("other organisations" if is_foreign else "others' commands")

    @property
    def _principal(self) -> Principal:
        return self._broker.principals[self.name]
