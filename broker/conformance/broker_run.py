"""A run that checks a broker: that it does what the contract needs of it, and lets nobody do more than they may.

The run has credentials of two organisations of its own, which are new to the broker.

Invariants:
- Nothing arrives is judged after a message that does arrive, or after QUIET_SECONDS.
- A connection that the broker ends without an answer is tried again, as the contract asks of every client: NATS holds a
  client id back for a second after a second connection has ended the first.
"""

import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from broker.client.transport import Message
from broker.conformance import assertions as df
from broker.conformance.broker_client import BrokerClient
from broker.conformance.packets import ACCEPTED, REFUSED_FILTER, Connect
from broker.conformance.report import ConformanceReport
from schemas.contract import topics

QUIET_SECONDS = 1.0
KEEP_ALIVE = 60
SHORT_KEEP_ALIVE = 1
ORDERED = 50
LARGE_BYTES = 200_000
CONNECT_TRIES = 5
PAUSE_SECONDS = 0.2


@dataclass(frozen=True, slots=True)
class Credential:
    """A user name, which is the client id, and its secret."""

    username: str
    secret: str


@dataclass(frozen=True, slots=True)
class BrokerCredentials:
    """Credentials of the run.

    Those of two machines `a` and `b` and of two readers are of the organisation `org`. `revoke`: revokes that of `b`.
    """

    org: str
    other_org: str
    machine_a: Credential
    machine_b: Credential
    reader: Credential
    late_reader: Credential
    """It subscribes after a message was published."""
    other_reader: Credential
    ingestor: Credential
    revoke: Callable[[], None]


class BrokerRun:
    """A run.

    `connecting`: returns a client without a connection. `pause`: waits for some seconds before another try.
    `patience_seconds`: the longest time to wait.
    """

    def __init__(
        self,
        connecting: Callable[[], BrokerClient],
        credentials: BrokerCredentials,
        *,
        name: str,
        patience_seconds: float,
        pause: Callable[[float], None],
    ) -> None:
        self.report = ConformanceReport("broker", name)
        self._connecting = connecting
        self._pause = pause
        self._credentials = credentials
        self._patience = patience_seconds
        self._clients: list[BrokerClient] = []
        self._retains = False

    def run(self) -> ConformanceReport:
        """Check everything; return the verdicts."""
        try:
            if self._admit():
                for check in (self._deliver, self._order, self._retain, self._will, self._sessions, self._access):
                    check()
                    self._end_clients()
                self._revoke()
        finally:
            self._end_clients()
        return self.report

    def _admit(self) -> bool:
        """Wait until the broker knows the credentials; try a wrong password."""
        mine = self._credentials
        everybody = (mine.machine_a, mine.machine_b, mine.reader, mine.late_reader, mine.other_reader, mine.ingestor)
        codes = {each.username: self._connect(each)[1] for each in everybody}
        refused = {name: code for name, code in codes.items() if code != ACCEPTED}
        told = ", ".join(f"{name}: {code}" for name, code in refused.items())
        self.report.check(df.BROKER_CONNECTS, not refused, f"CONNACK {told}")
        wrong = Credential(mine.reader.username, secrets.token_hex(16))
        _, code = self._connect(wrong)
        self.report.check(df.BROKER_PASSWORD, code != ACCEPTED, "it accepts another password")
        self._end_clients()
        return not refused

    def _deliver(self) -> None:
        reader, machine = self._reader(topics.TELEMETRY), self._machine()
        payload = bytes(range(256))
        acknowledged = machine.publish(Message(self._at(topics.TELEMETRY), payload), self._patience)
        self.report.check(df.BROKER_ACKNOWLEDGES, acknowledged, f"no PUBACK within {self._patience:g} s")
        found = reader.receive(bool, self._patience)
        told = [(each.topic, each.payload[:20]) for each in found]
        holds = [(each.topic, each.payload) for each in found] == [(self._at(topics.TELEMETRY), payload)]
        self.report.check(df.BROKER_DELIVERS, holds, f"it delivers {told}")
        if found:
            self.report.check(df.BROKER_QOS, found[0].qos == 1, f"it delivers with QoS {found[0].qos}")
        large = secrets.token_bytes(LARGE_BYTES)
        machine.publish(Message(self._at(topics.TELEMETRY), large), self._patience)
        found = reader.receive(bool, self._patience)
        sizes = [len(each.payload) for each in found]
        self.report.check(df.BROKER_LARGE, [each.payload for each in found] == [large], f"it delivers {sizes} bytes")

    def _order(self) -> None:
        """Publish numbers to one topic, and to two in turn."""
        reader, machine = self._reader(topics.TELEMETRY, topics.RESULT), self._machine()
        for assertion, used in (
            (df.BROKER_ORDER, (topics.TELEMETRY,)),
            (df.BROKER_ORDER_OF_TOPICS, (topics.TELEMETRY, topics.RESULT)),
        ):
            numbers = [str(number).encode() for number in range(ORDERED)]
            for place, number in enumerate(numbers):
                machine.publish(Message(self._at(used[place % len(used)]), number), self._patience)
            found = [each.payload for each in reader.receive(lambda some: len(some) >= ORDERED, self._patience)]
            told = b" ".join(found).decode(errors="replace")
            self.report.check(assertion, found == numbers, f"0 to {ORDERED - 1} arrive as {told}")

    def _retain(self) -> None:
        machine, before = self._machine(), self._reader(topics.INFO)
        for payload in (b"first", b"second"):
            machine.publish(self._retained(topics.INFO, payload), self._patience)
        live = before.receive(lambda some: len(some) > 1, self._patience)
        found = self._later(topics.INFO)
        self.report.check(df.BROKER_RETAINS, bool(found) and found[-1].retain, f"it delivers {_told(found)}")
        self._retains = bool(found)
        if found:
            self.report.check(df.BROKER_REPLACES, _payloads(found) == [b"second"], f"it delivers {_told(found)}")
            self._read_retained_again(before, found[-1])
        machine.publish(self._retained(topics.INFO, b""), self._patience)
        left = [each for each in self._later(topics.INFO, expects=False) if each.topic == self._at(topics.INFO)]
        self.report.check(df.BROKER_CLEARS, not left, f"it delivers {_told(left)}")
        machine.publish(Message(self._at(topics.RESULT), b"live"), self._patience)
        late = self._later(topics.RESULT, expects=False)
        flagged = [each for each in live if each.retain]
        self.report.check(df.BROKER_NOT_RETAINED, not late and not flagged, f"it delivers {_told(late + flagged)}")

    def _read_retained_again(self, subscriber: BrokerClient, known: Message) -> None:
        """Subscribe once more to the retained message, and read it together with that of another machine."""
        seconds, filter_ = self._patience, topics.INFO.filter(org=self._credentials.org)
        answered = subscriber.subscribe([filter_], seconds)
        again = subscriber.receive(bool, seconds) if answered else []
        self.report.check(df.BROKER_REREAD, known.payload in _payloads(again), f"it delivers {_told(again)}")
        other = self._machine(self._credentials.machine_b)
        other.publish(self._retained(topics.INFO, b"third", "b"), seconds)
        both = self._later(topics.INFO, count=2)
        holds = {each.topic for each in both} == {self._at(topics.INFO), self._at(topics.INFO, "b")}
        self.report.check(df.BROKER_WILDCARD, holds, f"it delivers {_told(both)}")
        other.publish(self._retained(topics.INFO, b"", "b"), seconds)

    def _will(self) -> None:
        reader = self._reader(topics.STATUS)
        cut = self._machine(will=self._retained(topics.STATUS, b"will"))
        cut.cut()
        found = reader.receive(bool, self._patience)
        self.report.check(df.BROKER_WILL, _payloads(found) == [b"will"], f"it publishes {_told(found)}")
        if found and self._retains:
            kept = self._later(topics.STATUS)
            self.report.check(df.BROKER_WILL_RETAINED, _payloads(kept) == [b"will"], f"it delivers {_told(kept)}")
        orderly = self._machine(will=self._retained(topics.STATUS, b"never"))
        orderly.disconnect()
        unwanted = [each for each in reader.receive(bool, QUIET_SECONDS) if each.payload == b"never"]
        self.report.check(df.BROKER_NO_WILL, not unwanted, "it publishes the will")
        silent = self._machine(keep_alive=SHORT_KEEP_ALIVE)
        gone = silent.is_gone(self._patience)
        self.report.check(df.BROKER_KEEP_ALIVE, gone, f"it stays for {self._patience:g} s without a packet")
        self._machine().publish(self._retained(topics.STATUS, b""), self._patience)

    def _sessions(self) -> None:
        first = self._reader(topics.TELEMETRY)
        second, code = self._connect(self._credentials.reader)
        if code == ACCEPTED:
            gone = first.is_gone(self._patience)
            self.report.check(df.BROKER_TAKE_OVER, gone, f"the first stays for {self._patience:g} s")
        else:
            self.report.fail(df.BROKER_TAKE_OVER, f"CONNACK {code} for the second")
        self._machine().publish(Message(self._at(topics.TELEMETRY), b"for nobody"), self._patience)
        found = second.receive(bool, QUIET_SECONDS)
        self.report.check(df.BROKER_CLEAN, not found, f"it delivers {_told(found)} to a session without subscriptions")

    def _access(self) -> None:
        mine, seconds = self._credentials, self._patience
        ingestor, _ = self._connect(mine.ingestor)
        ingestor.subscribe([topic.filter() for topic in (topics.INFO, topics.STATUS)], seconds)
        forged = self._machine(mine.machine_b, will=self._retained(topics.STATUS, b"forged"))
        forged.publish(Message(self._at(topics.INFO), b"forged"), seconds)
        forged.publish(Message(self._at(topics.INFO, "b"), b"own"), seconds)
        found = ingestor.receive(lambda some: b"own" in _payloads(some), seconds)
        told = [each for each in found if each.payload == b"forged"]
        self.report.check(df.BROKER_PUBLISH_DENIED, not told, f"it delivers {_told(told)}")
        forged.cut()
        told = [each for each in ingestor.receive(bool, QUIET_SECONDS) if each.topic == self._at(topics.STATUS)]
        self.report.check(df.BROKER_WILL_DENIED, not told, f"it publishes {_told(told)}")
        curious, other = self._machine(mine.machine_b), self._connect(mine.other_reader)[0]
        curious.subscribe([self._at(topics.COMMAND)], seconds)
        curious.subscribe([self._at(topics.COMMAND, "b")], seconds)
        other.subscribe([topics.PRESENCE.filter(org=mine.org)], seconds)
        other.subscribe([topics.PRESENCE.filter(org=mine.other_org)], seconds)
        for machine in ("a", "b"):
            ingestor.publish(Message(self._at(topics.COMMAND, machine), machine.encode()), seconds)
        ingestor.publish(Message(self._at(topics.PRESENCE), b"theirs"), seconds)
        ingestor.publish(Message(topics.PRESENCE.at(org=mine.other_org, machine="a"), b"own"), seconds)
        found = curious.receive(lambda some: b"b" in _payloads(some), seconds)
        self.report.check(df.BROKER_READ_DENIED, _payloads(found) == [b"b"], f"machine b receives {_told(found)}")
        found = other.receive(lambda some: b"own" in _payloads(some), seconds)
        self.report.check(df.BROKER_ORGANISATIONS, _payloads(found) == [b"own"], f"it delivers {_told(found)}")

    def _revoke(self) -> None:
        revoked = self._machine(self._credentials.machine_b)
        self._credentials.revoke()
        gone = revoked.is_gone(self._patience)
        self.report.check(df.BROKER_REVOKED, gone, f"it stays for {self._patience:g} s")

    def _connect(
        self, credential: Credential, *, will: Message | None = None, keep_alive: int = KEEP_ALIVE
    ) -> tuple[BrokerClient, int | None]:
        """Connect, and try again while the broker ends the connection without an answer."""
        name = credential.username
        connect = Connect(4, name, name, credential.secret, keep_alive=keep_alive, will=will)
        for left in reversed(range(CONNECT_TRIES)):
            client = self._connecting()
            code = client.connect(connect, self._patience)
            if code is not None or not left or not client.is_gone(0.0):
                break
            self._pause(PAUSE_SECONDS)
        self._clients.append(client)
        return client, code

    def _machine(
        self, credential: Credential | None = None, *, will: Message | None = None, keep_alive: int = KEEP_ALIVE
    ) -> BrokerClient:
        return self._connect(credential or self._credentials.machine_a, will=will, keep_alive=keep_alive)[0]

    def _reader(self, *wanted: topics.Topic, late: bool = False) -> BrokerClient:
        client, _ = self._connect(self._credentials.late_reader if late else self._credentials.reader)
        filters = [topic.filter(org=self._credentials.org) for topic in wanted]
        codes = dict(zip(filters, client.subscribe(filters, self._patience), strict=False))
        if lowered := [filter_ for filter_, code in codes.items() if code == REFUSED_FILTER]:
            self.report.fail(df.BROKER_QOS, f"it rejects a subscription at QoS 1: {', '.join(lowered)}")
            codes |= dict(zip(lowered, client.subscribe(lowered, self._patience, qos=0), strict=False))
        if not codes or REFUSED_FILTER in codes.values():
            self.report.fail(df.BROKER_DELIVERS, f"SUBACK {[*codes.values()]} for what a reader may read")
        return client

    def _later(self, topic: topics.Topic, *, count: int = 1, expects: bool = True) -> list[Message]:
        """Return what a new subscription receives: `count` messages, and what arrives shortly after them."""
        client = self._reader(topic, late=True)
        found = client.receive(lambda some: len(some) >= count, self._patience if expects else QUIET_SECONDS)
        more = client.receive(lambda _: False, QUIET_SECONDS / 4) if expects else []
        client.disconnect()  # before the next one, which has the same credential
        return [*found, *more]

    def _at(self, topic: topics.Topic, machine: str = "a") -> str:
        return topic.at(org=self._credentials.org, machine=machine)

    def _retained(self, topic: topics.Topic, payload: bytes, machine: str = "a") -> Message:
        return Message(self._at(topic, machine), payload, retain=True)

    def _end_clients(self) -> None:
        for client in self._clients:
            client.disconnect()
        self._clients.clear()


def _payloads(found: Sequence[Message]) -> list[bytes]:
    return [each.payload for each in found]


def _told(found: Sequence[Message]) -> str:
    return ", ".join(f"{each.payload[:20]!r} on {each.topic}, retain {each.retain}" for each in found) or "nothing"
