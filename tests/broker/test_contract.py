"""What each broker does, question by question: `docs/brokers.md` has the answers, and this asks for them.

Where the contract needs something, the answers are the same; where they differ, nothing of DashFleet depends on it.
"""

import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
import pytest
from brokers import KINDS, PASSWORD, Gone, RawClient, broker_of_kind, connect_packet, packed, publish_packet, text
from paho.mqtt.enums import CallbackAPIVersion
from waiting import wait_until

from broker.access.policy import Principal, Role
from broker.access.principals import MemoryDirectory
from runtime.settings.broker import BrokerSettings, MosquittoSettings
from schemas.contract import topics

ATTIC = Principal(Role.MACHINE, "home", "attic")
CELLAR = Principal(Role.MACHINE, "home", "cellar")
READER = Principal(Role.READER, "home", "grafana")
OTHER = Principal(Role.READER, "home", "other")
INGESTOR = Principal(Role.INGESTOR, "", "ingestor")
STATUS = topics.STATUS.at(org="home", machine="attic")
TELEMETRY = topics.TELEMETRY.at(org="home", machine="attic")
BACKFILL = topics.BACKFILL.at(org="home", machine="attic")
COMMAND = topics.COMMAND.at(org="home", machine="attic")
CELLARS_STATUS = topics.STATUS.at(org="home", machine="cellar")
ALL_STATUS = topics.STATUS.filter(org="home")
LOST = (STATUS, b"lost", 1, True)
DUP = 0x08
TABLE = Path(__file__).parents[2] / "docs" / "brokers.md"


@dataclass
class Bench:
    """A broker to ask."""

    port: int
    stack: ExitStack

    def client(self, principal: Principal, *filters: str, qos: int = 1, **fields: Any) -> RawClient:  # noqa: ANN401
        """A connected client with these subscriptions."""
        client = self.stack.enter_context(RawClient(self.port))
        assert client.connect(principal.username, **fields) == 0
        if filters:
            assert client.subscribe(*filters, qos=qos) == [qos] * len(filters)
        return client

    def stranger(self, **options: int) -> RawClient:
        return self.stack.enter_context(RawClient(self.port, **options))


Ask = Callable[[Bench], str]
QUESTIONS: dict[str, tuple[Ask, dict[str, int]]] = {}


def asks(question: str, **settings: int) -> Callable[[Ask], Ask]:
    """What a function finds out, and what a broker is set to for it, as far as it has these settings."""

    def keep(ask: Ask) -> Ask:
        QUESTIONS[question] = ask, settings
        return ask

    return keep


def yes(answer: bool) -> str:
    return "yes" if answer else "no"


def times(count: int) -> str:
    return {1: "once", 2: "twice"}[count]


def payloads(client: RawClient) -> list[bytes]:
    """What has been sent to a client by now."""
    client.ping()
    found = [message.payload for message in client._waiting]
    client._waiting.clear()
    return found


def ends(client: RawClient) -> str:
    return yes(client.is_gone())


# Connecting


@asks("no user name, an unknown one, or a wrong password: return code")
def _(bench: Bench) -> str:
    attempts = ((None, None, "home.attic"), ("home.nobody", PASSWORD, None), ("home.attic", "wrong", None))
    codes = {bench.stranger().connect(name, secret, client_id=id_) for name, secret, id_ in attempts}
    return ", ".join(map(str, sorted(codes)))


@asks("a client id of zero length, with a clean session")
def _(bench: Bench) -> str:
    code = bench.stranger().connect("home.attic", client_id="")
    return "is rejected" if code == 2 else "is replaced by the credential's"


@asks("a client id of zero length, with a session that continues, is rejected")
def _(bench: Bench) -> str:
    client = bench.stranger()
    return yes(client.connect("home.attic", client_id="", clean=False) == 2 and client.is_gone())


@asks("MQTT 3.1")
def _(bench: Bench) -> str:
    code = bench.stranger().connect("home.attic", protocol="MQIsdp", level=3)
    return {0: "is accepted", 1: "is rejected"}[code]


# Keep-alive and wills


@asks("silence of 1.5 keep-alives ends a connection and publishes its will")
def _(bench: Bench) -> str:
    ingestor = bench.client(INGESTOR, STATUS)
    half_open = bench.client(ATTIC, keep_alive=1, will=LOST)
    return yes(ingestor.message().payload == b"lost" and half_open.is_gone())


@asks("a client that pings in time stays connected")
def _(bench: Bench) -> str:
    attic, silent = bench.client(ATTIC, keep_alive=1), bench.client(CELLAR, keep_alive=1)
    silent.socket.settimeout(0.3)

    def gone_meanwhile() -> bool:
        attic.ping()
        return silent.is_gone()

    wait_until(gone_meanwhile, what="the silent one is gone")
    attic.ping()
    return "yes"


@asks("a keep-alive of 0 (no limit)")
def _(bench: Bench) -> str:
    return "accepted" if bench.stranger().connect("home.attic", keep_alive=0) == 0 else "rejected"


@asks("a rejected CONNECT publishes no will")
def _(bench: Bench) -> str:
    ingestor, rejected = bench.client(INGESTOR, STATUS), bench.stranger()
    assert rejected.connect("home.attic", "wrong", will=LOST) == 5
    assert rejected.is_gone()
    bench.client(ATTIC).publish(STATUS, b"last")
    return yes(ingestor.messages_until(b"last") == [])


@asks("DISCONNECT drops the will")
def _(bench: Bench) -> str:
    ingestor, attic = bench.client(INGESTOR, STATUS), bench.client(ATTIC, will=LOST)
    attic.send(b"\xe0\x00")
    assert attic.is_gone()
    bench.client(ATTIC).publish(STATUS, b"last")
    return yes(ingestor.messages_until(b"last") == [])


@asks("a broken connection publishes its will, retained if the will requests it")
def _(bench: Bench) -> str:
    for breaks in (RawClient.reset, lambda client: client.socket.close()):
        bench.client(ATTIC).publish(STATUS, b"", retain=True)
        ingestor = bench.client(INGESTOR, STATUS)
        breaks(bench.client(ATTIC, will=LOST))
        first = ingestor.message()
        ingestor.subscribe(STATUS)
        kept = ingestor.message()
        if (first.payload, kept.payload, kept.retain) != (b"lost", b"lost", True):
            return "no"
    return "yes"


@asks("a will that may not be published")
def _(bench: Bench) -> str:
    ingestor = bench.client(INGESTOR, CELLARS_STATUS)
    client = bench.stranger()
    code = client.connect("home.attic", will=(CELLARS_STATUS, b"boom", 1, True))
    client.reset()
    bench.client(CELLAR).publish(CELLARS_STATUS, b"last")
    assert ingestor.messages_until(b"last") == []
    return "CONNECT is rejected" if code else "is dropped"


# Taking over


@asks("a client that connects again ends its old connection, and its new one fully works")
def _(bench: Bench) -> str:
    old, ingestor = bench.client(ATTIC, COMMAND), bench.client(INGESTOR, STATUS)
    new = bench.client(ATTIC, COMMAND)
    gone = old.is_gone()
    ingestor.publish(COMMAND, b"do")
    new.publish(STATUS, b"online")
    return yes(gone and new.message().payload == b"do" and ingestor.message().payload == b"online")


def will_at_a_take_over(bench: Bench, *, clean: bool) -> str:
    ingestor = bench.client(INGESTOR, STATUS)
    old = bench.client(ATTIC, will=(STATUS, b"lost 1", 1, True), clean=clean)
    new = bench.stranger()
    new.send(connect_packet("home.attic", will=(STATUS, b"lost 2", 1, True), clean=clean))
    assert new.reply(0x20)[1] == 0
    assert old.is_gone()
    new.publish(STATUS, b"online")
    new.publish(STATUS, b"last")
    heard = [message.payload for message in ingestor.messages_until(b"last")]
    return {(b"lost 1", b"online"): "published", (b"online",): "dropped"}[tuple(heard)]


@asks("the will of the old connection, with a clean session")
def _(bench: Bench) -> str:
    return will_at_a_take_over(bench, clean=True)


@asks("the will of the old connection, with a session that continues")
def _(bench: Bench) -> str:
    return will_at_a_take_over(bench, clean=False)


# Delivery


@asks("a retained message is kept, replaced, and cleared by an empty one")
def _(bench: Bench) -> str:
    attic = bench.client(ATTIC)
    for payload in (b"one", b"two"):
        attic.publish(STATUS, payload, retain=True)
    attic.publish(STATUS, b"not kept")
    reader = bench.client(READER, STATUS)
    kept = payloads(reader)
    attic.publish(STATUS, b"", retain=True)
    payloads(reader)
    reader.subscribe(STATUS)
    return yes(kept == [b"two"] and payloads(reader) == [])


@asks("a filter with a wildcard receives each retained message that it matches")
def _(bench: Bench) -> str:
    bench.client(ATTIC).publish(STATUS, b"attic", retain=True)
    bench.client(CELLAR).publish(CELLARS_STATUS, b"cellar", retain=True)
    return yes(sorted(payloads(bench.client(READER, ALL_STATUS))) == [b"attic", b"cellar"])


@asks("a retained message for two overlapping filters of one SUBSCRIBE arrives")
def _(bench: Bench) -> str:
    bench.client(ATTIC).publish(STATUS, b"online", retain=True)
    return times(len(payloads(bench.client(READER, STATUS, ALL_STATUS))))


@asks("a message for two overlapping filters arrives")
def _(bench: Bench) -> str:
    reader = bench.client(READER, STATUS, ALL_STATUS)
    bench.client(ATTIC).publish(STATUS, b"online")
    bench.client(CELLAR).publish(CELLARS_STATUS, b"last")
    return times(len(reader.messages_until(b"last")))


@asks("overlapping filters deliver with the highest QoS of them")
def _(bench: Bench) -> str:
    reader = bench.client(READER, STATUS, qos=0)
    assert reader.subscribe(ALL_STATUS, qos=1) == [1]
    bench.client(ATTIC).publish(STATUS, b"online")
    return yes(reader.message().qos == 1)


@asks("a second SUBSCRIBE to a filter replaces the first, with its QoS")
def _(bench: Bench) -> str:
    reader = bench.client(READER, STATUS, qos=0)
    assert reader.subscribe(STATUS, qos=1) == [1]
    bench.client(ATTIC).publish(STATUS, b"online")
    found = reader.message()
    return yes(found.qos == 1 and payloads(reader) == [])


@asks("UNSUBSCRIBE ends the delivery, and is acknowledged without a subscription, too")
def _(bench: Bench) -> str:
    reader = bench.client(READER, STATUS, CELLARS_STATUS)
    reader.unsubscribe(STATUS, BACKFILL)
    bench.client(ATTIC).publish(STATUS, b"online")
    bench.client(CELLAR).publish(CELLARS_STATUS, b"last")
    return yes(reader.messages_until(b"last") == [])


@asks("RETAIN is set only for later subscribers")
def _(bench: Bench) -> str:
    reader = bench.client(READER, STATUS)
    bench.client(ATTIC).publish(STATUS, b"online", retain=True)
    live = reader.message()
    reader.subscribe(STATUS)
    return yes((live.retain, reader.message().retain) == (False, True))


@asks("a message arrives with the lower QoS of publisher and subscriber, 0 or 1")
def _(bench: Bench) -> str:
    attic = bench.client(ATTIC)
    for published, subscribed in ((0, 0), (0, 1), (1, 0), (1, 1)):
        reader = bench.client(READER, STATUS, qos=subscribed)
        attic.publish(STATUS, b"online", qos=published)
        if reader.message().qos != min(published, subscribed):
            return "no"
    return "yes"


@asks("the QoS that is granted to a subscription at QoS 2")
def _(bench: Bench) -> str:
    return str(bench.client(READER).subscribe(STATUS, qos=2)[0])


@asks("a QoS 2 message that is sent twice before PUBREL is delivered once")
def _(bench: Bench) -> str:
    reader, attic = bench.client(READER, STATUS), bench.client(ATTIC)
    packet = publish_packet(STATUS, b"once", qos=2, packet_id=9)
    for first in (packet[0], packet[0] | DUP):
        attic.send(bytes([first]) + packet[1:])
        assert attic.reply(0x50) == b"\x00\x09"
    attic.send(b"\x62\x02\x00\x09")
    assert attic.reply(0x70) == b"\x00\x09"
    attic.publish(STATUS, b"last")
    return yes([message.payload for message in reader.messages_until(b"last")] == [b"once"])


@asks("a QoS 1 message that is sent twice is delivered twice")
def _(bench: Bench) -> str:
    reader, attic = bench.client(READER, STATUS), bench.client(ATTIC)
    packet = publish_packet(STATUS, b"again", packet_id=9)
    for first in (packet[0], packet[0] | DUP):
        attic.send(bytes([first]) + packet[1:])
        assert attic.reply(0x40) == b"\x00\x09"
    attic.publish(STATUS, b"last")
    return yes(len(reader.messages_until(b"last")) == 2)


@asks("messages of one publisher arrive in their order")
def _(bench: Bench) -> str:
    reader, attic = bench.client(READER, TELEMETRY), bench.client(ATTIC)
    for number in range(500):
        attic.publish(TELEMETRY, b"%d" % number)
    return yes([message.payload for message in reader.messages_until(b"499")] == [b"%d" % n for n in range(499)])


@asks("a message of 200,000 bytes arrives whole")
def _(bench: Bench) -> str:
    payload = bytes(range(250)) * 800
    reader = bench.client(READER, BACKFILL)
    bench.client(ATTIC).publish(BACKFILL, payload)
    return yes(reader.message().payload == payload)


@asks("a QoS 1 message that was not acknowledged is sent again, if the session continues")
def _(bench: Bench) -> str:
    reader = bench.client(READER, TELEMETRY, clean=False)
    bench.client(ATTIC).publish(TELEMETRY, b"once")
    assert reader.message(acknowledge=False).payload == b"once"
    reader.reset()
    return yes(session_continues_with(bench, b"once"))


@asks("a QoS 1 message waits for an offline subscriber, if its session continues")
def _(bench: Bench) -> str:
    reader = bench.client(READER, TELEMETRY, clean=False)
    reader.send(b"\xe0\x00")
    assert reader.is_gone()
    bench.client(ATTIC).publish(TELEMETRY, b"waited")
    return yes(session_continues_with(bench, b"waited"))


@asks("a QoS 0 message waits for an offline subscriber, if its session continues")
def _(bench: Bench) -> str:
    reader, attic = bench.client(READER, TELEMETRY, clean=False), bench.client(ATTIC)
    reader.send(b"\xe0\x00")
    assert reader.is_gone()
    attic.publish(TELEMETRY, b"missed", qos=0)
    attic.ping()
    again = bench.stranger()
    again.send(connect_packet("home._grafana", clean=False))
    assert again.reply(0x20)[1] == 0
    return yes(payloads(again) == [b"missed"])


@asks("a clean session has no subscription and no message of the one before")
def _(bench: Bench) -> str:
    reader, attic = bench.client(READER, TELEMETRY), bench.client(ATTIC)
    reader.reset()
    attic.publish(TELEMETRY, b"missed")
    again = bench.client(READER)
    attic.publish(TELEMETRY, b"missed, too")
    return yes(payloads(again) == [])


def session_continues_with(bench: Bench, payload: bytes) -> bool:
    again = bench.stranger()
    again.send(connect_packet("home._grafana", clean=False))
    present, code = again.reply(0x20)
    assert code == 0
    found = payloads(again)
    assert found in ([], [payload])
    assert bool(present) == bool(found)
    return bool(found)


# What is not allowed


@asks("a subscription that is not granted")
def _(bench: Bench) -> str:
    attic = bench.client(ATTIC)
    (code,) = attic.subscribe(CELLARS_STATUS)
    bench.client(CELLAR).publish(CELLARS_STATUS, b"secret")
    assert payloads(attic) == []
    return "is rejected" if code == 0x80 else "is accepted and delivers nothing"


@asks("a SUBSCRIBE with a filter that is granted and one that is not")
def _(bench: Bench) -> str:
    granted, other = bench.client(ATTIC).subscribe(COMMAND, CELLARS_STATUS)
    return {(1, 0x80): "one is rejected", (1, 1): "both are accepted"}[granted, other]


@asks("a subscription to `#` by a reader")
def _(bench: Bench) -> str:
    reader, attic, ingestor = bench.client(READER), bench.client(ATTIC), bench.client(INGESTOR)
    (code,) = reader.subscribe("#")
    ingestor.publish(COMMAND, b"secret")
    attic.publish(STATUS, b"online")
    found = payloads(reader)
    assert b"secret" not in found
    return {(0x80, 0): "is rejected", (1, 1): "delivers what it may read"}[code, len(found)]


@asks("a subscription to `$SYS/#`")
def _(bench: Bench) -> str:
    reader = bench.client(READER)
    (code,) = reader.subscribe("$SYS/#")
    assert payloads(reader) == []
    return "is rejected" if code == 0x80 else "is accepted and delivers nothing"


@asks("a shared subscription (`$share/…`)")
def _(bench: Bench) -> str:
    first, second, attic = bench.client(READER), bench.client(OTHER), bench.client(ATTIC)
    codes = {*first.subscribe(f"$share/group/{STATUS}"), *second.subscribe(f"$share/group/{STATUS}")}
    attic.publish(STATUS, b"online")
    found = payloads(first) + payloads(second)
    return {(0x80, 0): "is rejected", (1, 1): "delivers to one of the group"}[max(codes), len(found)]


@asks("a publish to a topic that begins with `$` is acknowledged and goes nowhere")
def _(bench: Bench) -> str:
    attic, reader = bench.client(ATTIC), bench.client(READER)
    reader.subscribe("#", "$SYS/#")
    for topic in ("$SYS/broker/uptime", "$anything/x"):
        attic.publish(topic, b"mine", retain=True)
    attic.ping()
    return yes(payloads(reader) == [])


@asks("a publish that is not granted is acknowledged and goes nowhere")
def _(bench: Bench) -> str:
    ingestor = bench.client(INGESTOR, CELLARS_STATUS)
    bench.client(ATTIC).publish(CELLARS_STATUS, b"not mine")
    bench.client(CELLAR).publish(CELLARS_STATUS, b"last")
    return yes(ingestor.messages_until(b"last") == [])


@asks("a client id that is not the credential's")
def _(bench: Bench) -> str:
    cellar = bench.client(CELLAR)
    code = bench.stranger().connect("home.attic", client_id="home.cellar")
    cellar.ping()
    return "is rejected" if code else "is replaced by the credential's"


# What is wrong


MALFORMED = {
    "a reserved type": b"\x00\x00",
    "a packet that only brokers send": b"\x20\x02\x00\x00",
    "SUBSCRIBE without its flags": b"\x80" + packed(0x82, b"\x00\x01" + text(STATUS) + b"\x01")[1:],
    "SUBSCRIBE to nothing": packed(0x82, b"\x00\x01"),
    "SUBSCRIBE with QoS 3": packed(0x82, b"\x00\x01" + text(STATUS) + b"\x03"),
    "PUBLISH at QoS 3": packed(0x36, text(STATUS) + b"\x00\x01x"),
    "PUBLISH with packet id 0": packed(0x32, text(STATUS) + b"\x00\x00x"),
    "PUBLISH to a wildcard": publish_packet("dashfleet/v1/home/+/up/status"),
    "PUBLISH to an empty topic": publish_packet(""),
    "PUBLISH to what is not UTF-8": publish_packet(b"dashfleet/v1/\xff/attic/up/status"),
    "a topic longer than its packet": packed(0x30, b"\xff\xff" + STATUS.encode()),
    "a length of five digits": b"\x30\xff\xff\xff\xff\x01",
}


@asks(f"each of {len(MALFORMED)} malformed packets ends the connection and publishes its will")
def _(bench: Bench) -> str:
    ingestor = bench.client(INGESTOR, STATUS)
    for what, packet in MALFORMED.items():
        attic = bench.client(ATTIC, will=LOST)
        with suppress(Gone):
            attic.send(packet)
        if not attic.is_gone() or ingestor.message().payload != b"lost":
            return f"not {what}"
    return "yes"


@asks("a filter that is malformed")
def _(bench: Bench) -> str:
    answers: set[object] = set()
    for filter_ in ("dashfleet/v1/home/at+/up/status", "dashfleet/#/status", ""):
        client = bench.client(READER)
        try:
            answers.update(client.subscribe(filter_))
        except Gone:
            answers.add("gone")
    (answer,) = answers
    return {0x80: "is rejected", "gone": "ends the connection"}[answer]


@asks("the will of a client that sends CONNECT twice")
def _(bench: Bench) -> str:
    ingestor, attic = bench.client(INGESTOR, STATUS), bench.client(ATTIC, will=LOST)
    attic.send(connect_packet("home.attic"))
    assert attic.is_gone()
    bench.client(ATTIC).publish(STATUS, b"last")
    return "is published" if ingestor.messages_until(b"last") else "is dropped"


@asks("a first packet other than CONNECT ends the connection")
def _(bench: Bench) -> str:
    for first in (publish_packet(STATUS), b"\xc0\x00", b"GET / HTTP/1.1\r\n\r\n" + bytes(100)):
        client = bench.stranger()
        client.send(first)
        if not client.is_gone():
            return "no"
    return "yes"


@asks("MQTT 5")
def _(bench: Bench) -> str:
    said: list[bool] = []
    client = paho.Client(CallbackAPIVersion.VERSION2, client_id="home.attic", protocol=paho.MQTTv5)
    client.username_pw_set("home.attic", PASSWORD)
    client.on_connect = lambda _c, _u, _f, reason, _p: said.append(not reason.is_failure)
    client.connect("127.0.0.1", bench.port)
    wait_until(lambda: client.loop(0.05) is not None and said, what="CONNACK")
    client.disconnect()
    return "is accepted" if said[0] else "is rejected"


# Limits


@asks("a packet over `max_packet_bytes` ends the connection", max_packet_bytes=4096)
def _(bench: Bench) -> str:
    attic = bench.client(ATTIC)
    attic.publish(BACKFILL, bytes(4000))
    with suppress(Gone):
        attic.send(publish_packet(BACKFILL, bytes(4200)))
    return ends(attic)


@asks("a connection over `max_connections` is closed at once, and the others stay", max_connections=2)
def _(bench: Bench) -> str:
    attic, cellar = bench.client(ATTIC), bench.client(CELLAR)
    third = bench.stranger()
    with suppress(Gone):
        third.send(connect_packet("home._grafana"))
    gone = third.is_gone()
    attic.ping()
    cellar.ping()
    return yes(gone)


@asks("a subscriber that does not read", client_bytes_per_second=1 << 30)  # else 70 MB take half a minute
def _(bench: Bench) -> str:
    reader, attic = bench.client(OTHER, BACKFILL), bench.client(ATTIC)
    slow = bench.stranger(receive_buffer=4096)
    slow.connect("home._grafana")
    slow.subscribe(BACKFILL)
    for number in range(700):
        attic.publish(BACKFILL, b"%05d" % number + bytes(100_000))
        reader.message()
    attic.publish(BACKFILL, b"last")
    reader.messages_until(b"last")
    numbers = []
    slow.socket.settimeout(5)
    try:
        while (message := slow.message()).payload != b"last":
            numbers.append(int(message.payload[:5]))
    except Gone:
        return "is disconnected"
    except TimeoutError:  # the last one, too
        return "loses messages"
    return "gets everything" if numbers == list(range(700)) else "loses messages"


# The table


def answers() -> dict[str, tuple[str, ...]]:
    """Each question of the table with each broker's answer."""
    rows = re.findall(r"^\| (.+?) \| (.+?) \| (.+?) \|$", TABLE.read_text(), re.MULTILINE)
    return {question: tuple(found) for question, *found in rows if question in QUESTIONS}


def test_every_question_is_in_the_table_and_no_other() -> None:
    section = TABLE.read_text().partition("## What they do")[2].partition("\n## ")[0]
    listed = re.findall(r"^\| (.+?) \| .+ \| .+ \|$", section, re.MULTILINE)
    assert listed == list(QUESTIONS)


def test_every_difference_has_a_reason() -> None:
    chapter = TABLE.read_text().partition("## Why they differ")[2].partition("\n## ")[0]
    reasons = re.findall(r"^- \*(.+?)\*: .+", chapter, re.MULTILINE)
    assert reasons == [question for question, found in answers().items() if len(set(found)) > 1]


@pytest.fixture
def bench(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Bench]:
    question, kind = request.param
    directory = MemoryDirectory(dict.fromkeys((ATTIC, CELLAR, READER, OTHER, INGESTOR), PASSWORD))
    fields = BrokerSettings.model_fields if kind == "embedded" else MosquittoSettings.model_fields
    settings = {name: value for name, value in QUESTIONS[question][1].items() if name in fields}
    with broker_of_kind(kind, directory, tmp_path, **settings) as broker, ExitStack() as stack:
        yield Bench(broker.port, stack)


@pytest.mark.parametrize(
    ("bench", "question", "kind"),
    [((question, kind), question, kind) for question in QUESTIONS for kind in KINDS],
    indirect=["bench"],
    ids=[f"{kind}: {question}" for question in QUESTIONS for kind in KINDS],
)
def test_the_answer_is_what_the_table_says(bench: Bench, question: str, kind: str) -> None:
    found = QUESTIONS[question][0](bench)
    assert found == answers().get(question, ("?", "?"))[KINDS.index(kind)]
