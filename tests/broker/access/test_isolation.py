"""The walls: nothing gets from one organisation to another, or from one machine to another, on any broker.

Everything an attacker can try is tried from every place that is not the owner's, and a witness who may see it says what
got through. It is the broker that decides, so the attackers speak in bytes and obey nothing.
"""

from collections.abc import Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from brokers import KINDS, PASSWORD, Gone, RawClient, broker_of_kind, connect_packet, packed, publish_packet, text
from faults.scale import IS_WHOLE
from waiting import wait_until

from broker.access.policy import NOTIFIER, Principal, Role, Verb, allowed, grants
from broker.access.principals import MemoryDirectory
from schemas.contract import topics

OWNER = Principal(Role.MACHINE, "home", "attic")
READER = Principal(Role.READER, "home", "grafana")
INGESTOR = Principal(Role.INGESTOR, "", "ingestor")
DASHBOARD = Principal(Role.DASHBOARD, "", "dashboard")
NEIGHBOUR = Principal(Role.MACHINE, "home", "cellar")
STRANGER = Principal(Role.MACHINE, "work", "attic")
OTHER_READER = Principal(Role.READER, "work", "grafana")
OTHER_OPERATOR = Principal(Role.OPERATOR, "work", "ann")
TOKEN = Principal(Role.ENROL, "home", "spring")
OTHER_TOKEN = Principal(Role.ENROL, "work", "spring")
OPERATOR = Principal(Role.OPERATOR, "home", "ann")
REPLAY = Principal(Role.REPLAY, "home", "past")
ATTACKERS = (NEIGHBOUR, STRANGER, OTHER_READER, OTHER_OPERATOR, TOKEN, OTHER_TOKEN, NOTIFIER, REPLAY)
WRITERS = (OWNER, INGESTOR, OPERATOR, TOKEN, REPLAY)
EVERYBODY = (OWNER, READER, INGESTOR, DASHBOARD, OPERATOR, *ATTACKERS)


def target(topic: topics.Topic) -> str:
    """This topic in the owner's organisation."""
    principal = "spring" if topic in (topics.ENROL_REQUEST, topics.ENROL_ANSWER) else "ann"
    return topic.at(
        org="home", machine="attic", principal=principal, rule="disk", incident="7", kind="services", replay="r1"
    )


TARGETS = tuple(target(topic) for topic in topics.ALL if topic is not topics.PROBE)
"""What an ingestor says to itself has no witness beside it; `test_access` has that."""

ANSWER = target(topics.ENROL_ANSWER)

STATUS = topics.STATUS.at(org="home", machine="attic")
COMMAND = topics.COMMAND.at(org="home", machine="attic")
SECRET = b"secret"
LAST = b"last"
WILDCARDS = (
    "#",
    "+/#",
    "dashfleet/#",
    "dashfleet/v1/#",
    "dashfleet/v1/home/#",
    "dashfleet/v1/home/attic/#",
    "+/+/+/+/+/+",
    "dashfleet/replay/#",
    "dashfleet/replay/+/+/+/up/telemetry",
    "dashfleet/replay/r1/home/#",
    "dashfleet/v1/+/+/up/+",
    "dashfleet/v1/home/+/up/telemetry",
    "dashfleet/v1/home/+/down/command",
    "/dashfleet/v1/home/attic/up/status",
)
DOLLAR = ("$SYS/#", "$SYS/broker/#", "$CONTROL/#", "$share/x/#", "$share/x/dashfleet/v1/#", "$queue/#", "$/#")


@dataclass
class Walls:
    """A broker with everybody's credential, and clients that end with the test."""

    port: int
    stack: ExitStack
    directory: MemoryDirectory
    kind: str
    witnesses: dict[str, RawClient] = field(default_factory=dict)

    def client(self, principal: Principal, **fields: Any) -> RawClient:  # noqa: ANN401
        """A connected client."""
        nonce = {"client_id": f"{principal.username}.{'0' * 32}"} if principal.role is Role.ENROL else {}
        made: list[RawClient] = []

        def is_let_in() -> bool:
            made.append(self.stranger())
            with suppress(Gone):  # NATS closes the connection of a client id that was taken over a moment ago
                return made[-1].connect(principal.username, **{**nonce, **fields}) == 0
            return False

        wait_until(is_let_in, what=f"{principal.username} let in")
        return made[-1]

    def must_tie_client_ids(self) -> None:
        """End a test of what NATS does not do."""
        if self.kind == "nats":
            pytest.xfail("NATS ties no client id to a credential: docs/scale.md says what to do")

    def stranger(self) -> RawClient:
        """A socket to the broker that has said nothing yet."""
        return self.stack.enter_context(RawClient(self.port))

    def witness(self, topic: str) -> RawClient:
        """Somebody who may read this topic, and has subscribed to it."""
        reading = next(who for who in (READER, OWNER, INGESTOR, DASHBOARD, OPERATOR, TOKEN) if may(who, topic))
        client = self.client(reading)
        assert client.subscribe(topic) == [1]
        return client

    def say(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        """Publish as somebody who may."""
        writing = next(who for who in WRITERS if allowed(who, Verb.PUBLISH, topic))
        nonce = {"client_id": f"{writing.username}.{'1' * 32}"} if writing.role is Role.ENROL else {}
        with self.client(writing, **nonce) as client:
            client.publish(topic, payload, retain=retain)


def may(principal: Principal, topic: str) -> bool:
    return allowed(principal, Verb.RECEIVE, topic)


def forbidden(attacker: Principal, verb: Verb) -> list[str]:
    """The topics of the owner's organisation where this is not granted.

    Where only the attacker itself could be the witness there is nobody to harm.
    """
    own = {ANSWER} if attacker is TOKEN else set()
    return [topic for topic in TARGETS if topic not in own and not allowed(attacker, verb, topic)]


@pytest.fixture(params=[*KINDS, *(["nats"] if IS_WHOLE else [])])
def walls(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Walls]:
    directory = MemoryDirectory(dict.fromkeys(EVERYBODY, PASSWORD))
    with broker_of_kind(request.param, directory, tmp_path) as broker, ExitStack() as stack:
        yield Walls(broker.port, stack, directory, request.param)


every_attacker = pytest.mark.parametrize("attacker", ATTACKERS, ids=lambda who: who.username)


def heard(client: RawClient) -> list[bytes]:
    """What a client has been sent by now; an ended connection has been sent what it has been sent."""
    with suppress(Gone):
        client.ping()
    return [message.payload for message in client._waiting]


def subscribe(client: RawClient, filter_: str) -> bool:
    """Whether the connection outlived it; what SUBACK says does not matter, only what is delivered."""
    try:
        client.subscribe(filter_)
    except Gone:
        return False
    return True


def speak_for_all(walls: Walls) -> None:
    """Everybody who may says a secret on every topic of the owner's organisation."""
    for topic in TARGETS:
        walls.say(topic, SECRET)


def test_these_topics_are_all_there_are_and_somebody_may_use_each() -> None:
    assert len(TARGETS) == len(topics.ALL) - 1
    for topic in TARGETS:
        assert any(allowed(who, Verb.PUBLISH, topic) for who in WRITERS)
    for attacker in ATTACKERS:
        assert forbidden(attacker, Verb.PUBLISH), attacker
        assert forbidden(attacker, Verb.RECEIVE), attacker


# Publishing


@every_attacker
@pytest.mark.parametrize("retain", [False, True], ids=["passing", "retained"])
def test_nothing_is_published_where_it_is_not_granted(walls: Walls, attacker: Principal, retain: bool) -> None:
    for topic in forbidden(attacker, Verb.PUBLISH):
        witness = walls.witness(topic)
        with walls.client(attacker) as client:
            for qos in (0, 1):
                client.publish(topic, SECRET, qos=qos, retain=retain)
            client.ping()
        walls.say(topic, LAST)
        assert witness.messages_until(LAST) == [], topic
        witness.unsubscribe(topic)
        witness.subscribe(topic)
        assert heard(witness) == [], f"{topic} was retained"
        witness.socket.close()


@every_attacker
def test_what_another_retained_is_neither_replaced_nor_cleared(walls: Walls, attacker: Principal) -> None:
    kept = [target(topic) for topic in topics.ALL if topic.retain]
    for topic in kept:
        walls.say(topic, b"mine", retain=True)
    with walls.client(attacker) as client:
        for topic in kept:
            client.publish(topic, SECRET, retain=True)
            client.publish(topic, b"", retain=True)
    for topic in kept:
        assert walls.witness(topic).message().payload == b"mine"


@pytest.mark.parametrize("topic", ["$SYS/broker/version", "$CONTROL/dynamic-security/v1", "$share/x/" + STATUS])
def test_the_brokers_own_topics_are_nobodys(walls: Walls, topic: str) -> None:
    with walls.client(OWNER) as client, suppress(Gone):
        client.publish(topic, SECRET)
    with walls.client(INGESTOR) as client:
        subscribe(client, topic)
        assert heard(client) == []


# Subscribing


@every_attacker
def test_a_subscription_to_anothers_topic_delivers_nothing(walls: Walls, attacker: Principal) -> None:
    client = walls.client(attacker)
    for topic in forbidden(attacker, Verb.RECEIVE):
        assert subscribe(client, topic)
    speak_for_all(walls)
    assert heard(client) == []


@every_attacker
@pytest.mark.parametrize("filters", [WILDCARDS, DOLLAR], ids=["wildcards", "dollar"])
def test_no_wildcard_shared_or_special_filter_delivers_anothers_messages(
    walls: Walls, attacker: Principal, filters: tuple[str, ...]
) -> None:
    clients = []
    for filter_ in filters:  # one after the other, as a client id has one connection
        client = walls.client(attacker)
        clients.append(client)
        subscribe(client, filter_)
        walls.say(STATUS, SECRET)
        walls.say(COMMAND, SECRET)
        assert heard(client) == [], filter_
    client = walls.client(attacker)
    for filter_ in filters:
        if not subscribe(client, filter_):
            client = walls.client(attacker)
    speak_for_all(walls)
    mine = {topic for topic in TARGETS if may(attacker, topic)}
    with suppress(Gone):
        client.ping()
    assert {message.topic for message in client._waiting} <= mine


@every_attacker
def test_what_is_retained_is_not_delivered_to_those_who_may_not_read_it(walls: Walls, attacker: Principal) -> None:
    for topic in TARGETS:
        walls.say(topic, SECRET, retain=True)
    mine = {topic for topic in TARGETS if may(attacker, topic)}
    for filter_ in (*TARGETS, *WILDCARDS, *DOLLAR):
        client = walls.client(attacker)
        subscribe(client, filter_)
        with suppress(Gone):
            client.ping()
        assert {message.topic for message in client._waiting} <= mine, filter_


# Wills


@every_attacker
@pytest.mark.parametrize("retain", [False, True], ids=["passing", "retained"])
def test_no_will_is_published_where_it_is_not_granted(walls: Walls, attacker: Principal, retain: bool) -> None:
    nonce = {"client_id": f"{attacker.username}.{'0' * 32}"} if attacker.role is Role.ENROL else {}
    for topic in forbidden(attacker, Verb.PUBLISH):
        witness = walls.witness(topic)
        with walls.stranger() as client, suppress(Gone):
            client.connect(attacker.username, will=(topic, SECRET, 1, retain), **nonce)
        with walls.client(attacker) as again:  # the end of the one before has been dealt with
            again.ping()
        assert heard(witness) == [], topic
        witness.subscribe(topic)
        assert heard(witness) == [], f"{topic} was retained"
        witness.socket.close()


# Client ids


@every_attacker
@pytest.mark.parametrize("clean", [True, False])
def test_a_live_client_id_of_another_cannot_be_taken(walls: Walls, attacker: Principal, clean: bool) -> None:
    walls.must_tie_client_ids()
    witness = walls.witness(STATUS)
    owner = walls.client(OWNER, will=(STATUS, b"lost", 1, True))
    owner.subscribe(COMMAND)
    with walls.client(INGESTOR) as ingestor, walls.stranger() as client:
        with suppress(Gone):
            client.connect(attacker.username, client_id=OWNER.username, clean=clean)
            client.ping()
        ingestor.publish(COMMAND, b"do")
        assert heard(client) == []
    assert owner.message().payload == b"do"
    owner.publish(STATUS, LAST)
    assert witness.messages_until(LAST) == [], "nobody took it for lost"


@every_attacker
def test_a_stored_client_id_and_what_waits_for_it_cannot_be_taken(walls: Walls, attacker: Principal) -> None:
    walls.must_tie_client_ids()
    with walls.client(OWNER, clean=False) as owner:
        owner.subscribe(COMMAND)
    walls.say(COMMAND, SECRET)
    with walls.stranger() as client, suppress(Gone):
        assert connect_in_any_way(client, attacker, OWNER.username) == []


def connect_in_any_way(client: RawClient, attacker: Principal, client_id: str) -> list[bytes]:
    """What somebody hears who asks for the session of another client id; some brokers refuse, some give it its own."""
    client.send(connect_packet(attacker.username, client_id=client_id, clean=False))
    assert client.reply(0x20)[0] == 0, "a session was present"
    return heard(client)


# Before anybody is known


WITHOUT = [(None, None), (OWNER.username, "wrong"), (OWNER.username, ""), ("home.nobody", PASSWORD), ("", PASSWORD)]


@pytest.mark.parametrize(("username", "secret"), WITHOUT)
@pytest.mark.parametrize("clean", [True, False])
def test_who_is_not_let_in_changes_and_sees_nothing(
    walls: Walls, username: str | None, secret: str | None, clean: bool
) -> None:
    witness = walls.witness(STATUS)
    owner = walls.client(OWNER)
    owner.subscribe(COMMAND)
    everything = packed(0x82, b"\x00\x01" + text("#") + b"\x01") + publish_packet(STATUS, SECRET, retain=True)
    with walls.stranger() as client:
        client.send(
            connect_packet(username, secret, client_id=OWNER.username, clean=clean, will=(STATUS, SECRET, 1, True))
            + everything
        )
        walls.say(COMMAND, b"do")
        assert client.is_gone()
        assert client._waiting == []
    assert owner.message().payload == b"do"
    owner.publish(STATUS, LAST)
    assert witness.messages_until(LAST) == []


def test_who_says_no_connect_is_not_heard(walls: Walls) -> None:
    witness = walls.client(INGESTOR)
    witness.subscribe(STATUS)
    for packet in (publish_packet(STATUS, SECRET, qos=0), packed(0x82, b"\x00\x01" + text("#") + b"\x01"), b"\xc0\x00"):
        with walls.stranger() as client:
            client.send(packet)
            assert client.is_gone()
            assert client._waiting == []
    walls.say(STATUS, LAST)
    assert witness.messages_until(LAST) == []


# Afterwards


def test_what_waited_for_a_revoked_client_is_not_delivered_to_anybody(walls: Walls) -> None:
    walls.must_tie_client_ids()
    with walls.client(READER, clean=False) as reader:
        reader.subscribe(STATUS)
    walls.say(STATUS, SECRET)
    walls.directory.revoke(READER.username)
    wait_until(lambda: not lets_in(walls, READER), what="the reader is revoked")
    for attacker in ATTACKERS:
        with walls.stranger() as client, suppress(Gone):
            assert connect_in_any_way(client, attacker, READER.username) == []


def lets_in(walls: Walls, principal: Principal) -> bool:
    with RawClient(walls.port) as client:
        client.send(connect_packet(principal.username))
        return client.packet()[1][1] == 0


def test_a_live_session_of_a_revoked_client_sends_and_hears_nothing_more(walls: Walls) -> None:
    witness = walls.witness(STATUS)
    owner = walls.client(OWNER, will=(STATUS, b"lost", 1, True))
    owner.subscribe(COMMAND)
    walls.directory.revoke(OWNER.username)
    assert owner.is_gone()
    assert heard(owner) == []
    assert heard(witness) == [], "not even its will"


def test_everybody_may_still_do_what_is_granted(walls: Walls) -> None:
    """So that no test above passes because nothing works."""
    for who in EVERYBODY:
        for filter_ in grants(who).read:
            with walls.client(who) as client:
                assert client.subscribe(filter_) == [1]
    for topic in TARGETS:
        witness = walls.witness(topic)
        walls.say(topic, LAST)
        assert witness.message().payload == LAST
        witness.socket.close()
