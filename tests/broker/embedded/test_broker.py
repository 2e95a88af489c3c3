"""Who is let in, and what goes where: the embedded broker's decisions, seen from its sockets."""

import threading
from collections.abc import Iterator
from typing import Any

import paho.mqtt.client as paho
import pytest
from brokers import PASSWORD, Gone, RawClient, RunningBroker, embedded_broker
from paho.mqtt.enums import CallbackAPIVersion
from waiting import wait_until

from broker.access import policy
from broker.access.policy import Principal, Role, Verb
from broker.access.principals import MemoryDirectory
from broker.embedded.connection import ConnectionLimits
from schemas.contract import topics

ATTIC = Principal(Role.MACHINE, "home", "attic")
CELLAR = Principal(Role.MACHINE, "home", "cellar")
ELSEWHERE = Principal(Role.MACHINE, "work", "attic")
READER = Principal(Role.READER, "home", "grafana")
OPERATOR = Principal(Role.OPERATOR, "home", "ann")
INGESTOR = Principal(Role.INGESTOR, "", "ingestor")
SECRETS = dict.fromkeys((ATTIC, CELLAR, ELSEWHERE, READER, OPERATOR, INGESTOR), PASSWORD)

STATUS = topics.STATUS.at(org="home", machine="attic")
TELEMETRY = topics.TELEMETRY.at(org="home", machine="attic")
COMMAND = topics.COMMAND.at(org="home", machine="attic")
CELLARS_STATUS = topics.STATUS.at(org="home", machine="cellar")
ALL_STATUS = topics.STATUS.filter()
ALL_TELEMETRY = topics.TELEMETRY.filter()

NOT_AUTHORIZED = 5
IDENTIFIER_REJECTED = 2


@pytest.fixture
def broker() -> Iterator[RunningBroker]:
    with embedded_broker(SECRETS) as running:
        yield running


def joined(broker: RunningBroker, principal: Principal, *filters: str, qos: int = 1, **fields: Any) -> RawClient:  # noqa: ANN401
    """A connected client of this principal with these subscriptions, all granted."""
    client = RawClient(broker.port)
    assert client.connect(principal.username, **fields) == 0
    if filters:
        assert client.subscribe(*filters, qos=qos) == [qos] * len(filters)
    return client


class Rules:
    """The rules, and what a test adds to them."""

    def __init__(self) -> None:
        self.denied: set[Verb] = set()
        self.broken: set[Verb] = set()

    def __call__(self, principal: Principal, verb: Verb, topic: str) -> bool:
        if verb in self.broken:
            raise RuntimeError("made up")
        return verb not in self.denied and policy.allowed(principal, verb, topic)


# Who is let in


@pytest.mark.parametrize(
    ("username", "password", "fields"),
    [
        (None, None, {"client_id": "home.attic"}),
        (None, PASSWORD, {"client_id": "home.attic"}),
        ("home.attic", None, {}),
        ("home.attic", "", {}),
        ("home.attic", "wrong", {}),
        ("home.stranger", PASSWORD, {}),
        ("", PASSWORD, {"client_id": "home.attic"}),
    ],
)
def test_without_a_right_credential_nobody_is_let_in(
    broker: RunningBroker, username: str | None, password: str | None, fields: dict[str, str]
) -> None:
    with RawClient(broker.port) as client:
        assert client.connect(username, password, **fields) == NOT_AUTHORIZED
        assert client.is_gone()
    assert broker.clients == frozenset()


@pytest.mark.parametrize("client_id", ["home.cellar", "", "HOME.ATTIC", "home.attic "])
def test_a_credential_is_good_for_one_client_id(broker: RunningBroker, client_id: str) -> None:
    with RawClient(broker.port) as client:
        assert client.connect("home.attic", client_id=client_id) == IDENTIFIER_REJECTED
        assert client.is_gone()
    assert broker.clients == frozenset()


@pytest.mark.parametrize(
    ("username", "password"), [("home.attic", "wrong"), ("home.cellar", PASSWORD), ("home.stranger", "x"), (None, None)]
)
@pytest.mark.parametrize("clean", [True, False])
def test_a_refused_connect_changes_nothing_for_the_owner_of_the_client_id(
    broker: RunningBroker, username: str | None, password: str | None, clean: bool
) -> None:
    will = (STATUS, b"not me", 1, True)
    with joined(broker, ATTIC, STATUS, will=(STATUS, b"lost", 1, True)) as owner, RawClient(broker.port) as other:
        code = other.connect(username, password, client_id="home.attic", clean=clean, will=will)
        assert code in (NOT_AUTHORIZED, IDENTIFIER_REJECTED)
        assert other.is_gone()
        owner.publish(STATUS, b"online")
        assert owner.messages_until(b"online") == []
    assert broker.counters["connects"] == 1


def test_refused_clients_leave_nothing_behind(broker: RunningBroker) -> None:
    for _ in range(20):
        with RawClient(broker.port) as client:
            assert client.connect("home.attic", "wrong") == NOT_AUTHORIZED
    wait_until(lambda: broker.sockets == 0, what="all connections closed")
    assert broker.clients == frozenset()


def test_refused_clients_that_vanish_use_up_no_place() -> None:
    with embedded_broker(SECRETS, max_connections=2) as broker:
        for _ in range(10):
            client = RawClient(broker.port)
            assert client.connect("home.attic", "wrong") == NOT_AUTHORIZED
            client.reset()
            wait_until(lambda: broker.sockets == 0, what="the place is free")
        with joined(broker, ATTIC), joined(broker, CELLAR):
            assert broker.clients == {"home.attic", "home.cellar"}


def test_a_connection_too_many_is_closed_at_once_and_a_place_that_is_left_can_be_taken() -> None:
    with embedded_broker(SECRETS, max_connections=2) as broker:
        with joined(broker, ATTIC), joined(broker, CELLAR) as cellar:
            with RawClient(broker.port) as third, pytest.raises(Gone):
                third.connect("home._grafana")
            cellar.ping()
        wait_until(lambda: broker.sockets == 0, what="the places are free")
        joined(broker, READER).socket.close()


def test_a_persistent_session_is_asked_for_in_vain(broker: RunningBroker) -> None:
    with joined(broker, READER, TELEMETRY, clean=False):
        pass
    wait_until(lambda: not broker.clients, what="the reader gone")
    with joined(broker, ATTIC) as attic, joined(broker, READER, STATUS, clean=False) as reader:
        attic.publish(TELEMETRY, b"not subscribed any more")
        attic.publish(STATUS, b"last")
        assert reader.messages_until(b"last") == []


def test_paho_connects_publishes_and_receives(broker: RunningBroker) -> None:
    received: list[tuple[str, bytes, int]] = []
    client = paho.Client(CallbackAPIVersion.VERSION2, client_id="home.attic")
    client.username_pw_set("home.attic", PASSWORD)
    client.on_connect = lambda c, *_: c.subscribe(STATUS, 1)
    client.on_subscribe = lambda c, *_: c.publish(STATUS, b"online", 1)
    client.on_message = lambda _c, _u, message: received.append((message.topic, bytes(message.payload), message.qos))
    client.connect("127.0.0.1", broker.port)
    wait_until(lambda: client.loop(0.05) is not None and received, what="the message")
    client.disconnect()
    assert received == [(STATUS, b"online", 1)]


def test_a_client_that_speaks_mqtt_5_is_told_that_it_cannot(broker: RunningBroker) -> None:
    refused: list[str] = []
    client = paho.Client(CallbackAPIVersion.VERSION2, client_id="home.attic", protocol=paho.MQTTv5)
    client.username_pw_set("home.attic", PASSWORD)
    client.on_connect = lambda _c, _u, _f, reason, _p: refused.append(str(reason))
    client.connect("127.0.0.1", broker.port)
    wait_until(lambda: client.loop(0.05) is not None and refused, what="CONNACK")
    client.disconnect()
    assert broker.clients == frozenset()
    assert broker.counters["refused"] == 1


# Publishing


def test_a_publish_that_is_denied_is_acknowledged_counted_and_goes_nowhere(broker: RunningBroker) -> None:
    with joined(broker, INGESTOR, ALL_STATUS) as ingestor, joined(broker, ATTIC) as attic:
        attic.publish(CELLARS_STATUS, b"not mine")
        attic.publish(COMMAND, b"not mine either", qos=0)
        attic.publish(STATUS, b"mine")
        assert ingestor.messages_until(b"mine") == []
    assert broker.counters["publish_denied"] == 2
    assert broker.counters["published"] == 1


def test_a_retained_publish_that_is_denied_is_not_kept_and_clears_nothing(broker: RunningBroker) -> None:
    with joined(broker, ATTIC) as attic, joined(broker, CELLAR) as cellar:
        cellar.publish(CELLARS_STATUS, b"online", retain=True)
        attic.publish(CELLARS_STATUS, b"not mine", retain=True)
        attic.publish(CELLARS_STATUS, b"", retain=True)
    with joined(broker, INGESTOR, CELLARS_STATUS) as ingestor:
        assert ingestor.message().payload == b"online"


@pytest.mark.parametrize(
    "topic",
    [
        COMMAND,
        CELLARS_STATUS,
        topics.STATUS.at(org="work", machine="attic"),
        "homeassistant/status",  # the default will of Home Assistant
        "$SYS/broker/connection/bridge/state",  # and that of a Mosquitto bridge
    ],
)
def test_a_client_is_admitted_without_a_will_that_it_may_not_publish(
    broker: RunningBroker, topic: str, caplog: pytest.LogCaptureFixture
) -> None:
    with RawClient(broker.port) as client:
        assert client.connect("home.attic", will=(topic, b"boom", 1, True)) == 0
        client.reset()
    wait_until(lambda: not broker.clients, what="it is gone")
    assert f"home.attic is admitted without its will: it may not publish to {topic!r}" in caplog.text
    with joined(broker, INGESTOR, ALL_STATUS) as ingestor:
        ingestor.ping()
        assert ingestor.nothing_waits()


def test_whether_a_will_may_be_published_is_asked_when_it_is() -> None:
    directory = MemoryDirectory(SECRETS)
    with embedded_broker({}, directory=directory) as broker, joined(broker, INGESTOR, ALL_STATUS) as ingestor:
        attic = joined(broker, ATTIC, will=(STATUS, b"lost", 1, True))
        directory.revoke("home.attic")
        assert attic.is_gone()
        attic.socket.close()
        with joined(broker, CELLAR) as cellar:
            cellar.publish(CELLARS_STATUS, b"last")
        assert ingestor.messages_until(b"last") == []


# Subscribing and receiving


def test_each_filter_of_a_subscribe_is_decided_on_its_own(broker: RunningBroker) -> None:
    with RawClient(broker.port) as reader:
        reader.connect("home._grafana")
        assert reader.subscribe(TELEMETRY, COMMAND, STATUS) == [1, 0x80, 1]
    assert broker.counters["subscribe_denied"] == 1


@pytest.mark.parametrize(
    "filter_",
    [
        "#",
        "$SYS/#",
        "$share/ingestors/" + ALL_TELEMETRY,
        "dashfleet/v1/home/#",
        "dashfleet/v1/#/up/status",
        "dashfleet/v1/home/+x/up/status",
        "dashfleet/v1/home/x+/up/status",
        "dashfleet/v1/home/#/up/status",
        "dashfleet/v1/home/attic/up/status#",
        "dashfleet/v1/+/+/up/telemetry",
        "dashfleet/v1/home/a\0c/up/status",
        "",
    ],
)
def test_a_filter_that_is_wrong_shared_or_not_granted_is_refused_and_the_client_stays(
    broker: RunningBroker, filter_: str
) -> None:
    with RawClient(broker.port) as reader:
        reader.connect("home._grafana")
        assert reader.subscribe(filter_) == [0x80]
        reader.ping()


def test_more_subscriptions_than_a_client_may_have_are_refused() -> None:
    filters = [topics.STATUS.at(org="home", machine=f"m{number}") for number in range(4)]
    with embedded_broker(SECRETS, limits=ConnectionLimits(subscriptions=3)) as broker, joined(broker, READER) as reader:
        assert reader.subscribe(*filters) == [1, 1, 1, 0x80]
        assert reader.subscribe(filters[0], qos=0) == [0], "an old one may be changed"
        reader.unsubscribe(filters[0])
        assert reader.subscribe(filters[3]) == [1]


def test_a_client_receives_only_what_it_subscribed_to(broker: RunningBroker) -> None:
    with joined(broker, ATTIC) as attic, joined(broker, CELLAR) as cellar:
        attic.publish(STATUS, b"online", retain=True)
        cellar.publish(CELLARS_STATUS, b"online", retain=True)
    with joined(broker, INGESTOR, ALL_STATUS) as ingestor, joined(broker, READER) as reader:
        assert {ingestor.message().topic, ingestor.message().topic} == {STATUS, CELLARS_STATUS}
        reader.ping()
        assert reader.nothing_waits()
        assert reader.subscribe(CELLARS_STATUS) == [1]
        assert reader.message().topic == CELLARS_STATUS


def test_nothing_crosses_from_one_organisation_to_another(broker: RunningBroker) -> None:
    with (
        joined(broker, READER, topics.STATUS.filter(org="home")) as reader,
        joined(broker, ELSEWHERE) as elsewhere,
        joined(broker, ATTIC) as attic,
    ):
        elsewhere.publish(topics.STATUS.at(org="work", machine="attic"), b"secret", retain=True)
        attic.publish(STATUS, b"last")
        assert reader.messages_until(b"last") == []
        assert reader.subscribe(topics.STATUS.at(org="work", machine="attic")) == [0x80]


def test_whether_a_message_may_be_received_is_asked_for_each_message() -> None:
    rules = Rules()
    with (
        embedded_broker(SECRETS, allowed=rules) as broker,
        joined(broker, READER, TELEMETRY) as reader,
        joined(broker, ATTIC) as attic,
    ):
        rules.denied.add(Verb.RECEIVE)
        attic.publish(TELEMETRY, b"hidden")
        attic.publish(STATUS, b"hidden too", retain=True)
        assert reader.subscribe(STATUS) == [1]
        rules.denied.clear()
        attic.publish(TELEMETRY, b"last")
        assert reader.messages_until(b"last") == []
        assert broker.counters["receive_denied"] == 2


def test_a_role_that_changes_takes_effect_with_the_next_message() -> None:
    directory = MemoryDirectory(SECRETS)
    request = topics.REQUEST.at(org="home", principal="ann")
    with (
        embedded_broker({}, directory=directory, refresh_seconds=60) as broker,
        joined(broker, INGESTOR, request) as ingestor,
        joined(broker, OPERATOR) as ann,
    ):
        ann.publish(request, b"first")
        directory.add(Principal(Role.READER, "home", "ann"), PASSWORD)
        ann.publish(request, b"second")
        directory.add(OPERATOR, PASSWORD)
        ann.publish(request, b"third")
        assert [message.payload for message in ingestor.messages_until(b"third")] == [b"first"]


@pytest.mark.parametrize("verb", Verb)
def test_a_check_that_fails_denies_and_everything_goes_on(verb: Verb) -> None:
    rules = Rules()
    with (
        embedded_broker(SECRETS, allowed=rules) as broker,
        joined(broker, READER, TELEMETRY) as reader,
        joined(broker, ATTIC) as attic,
    ):
        rules.broken.add(verb)
        attic.publish(TELEMETRY, b"during")
        during = reader.subscribe(STATUS)
        rules.broken.clear()
        attic.publish(TELEMETRY, b"after")
        expected = [b"during"] if verb is Verb.SUBSCRIBE else []
        assert [message.payload for message in reader.messages_until(b"after")] == expected
        assert during == ([0x80] if verb is Verb.SUBSCRIBE else [1])
        assert broker.counters["check_failed"] == 1


# Routing


@pytest.mark.parametrize(("published", "subscribed", "delivered"), [(0, 0, 0), (0, 1, 0), (1, 0, 0), (1, 1, 1)])
def test_a_message_is_delivered_with_the_lower_of_both_qos(
    broker: RunningBroker, published: int, subscribed: int, delivered: int
) -> None:
    with joined(broker, READER, STATUS, qos=subscribed) as reader, joined(broker, ATTIC) as attic:
        attic.publish(STATUS, b"online", qos=published, retain=True)
        routed = reader.message()
        assert reader.subscribe(STATUS, qos=subscribed) == [subscribed]
        kept = reader.message()
    assert (routed.qos, routed.retain) == (delivered, False)
    assert (kept.qos, kept.retain) == (delivered, True)


def test_qos_2_is_granted_as_1(broker: RunningBroker) -> None:
    with RawClient(broker.port) as reader:
        reader.connect("home._grafana")
        assert reader.subscribe(STATUS, qos=2) == [1]


def test_the_last_retained_message_is_kept_and_an_empty_one_clears_it(broker: RunningBroker) -> None:
    with joined(broker, ATTIC) as attic, joined(broker, READER) as reader:
        for payload in (b"one", b"two"):
            attic.publish(STATUS, payload, retain=True)
        attic.publish(STATUS, b"not kept")
        for filter_ in (STATUS, topics.STATUS.filter(org="home")):
            assert reader.subscribe(filter_) == [1]
            assert reader.message().payload == b"two"
        attic.publish(STATUS, b"", retain=True)
        assert (reader.message().payload, reader.subscribe(STATUS)) == (b"", [1])
        reader.ping()
        assert reader.nothing_waits()


def test_two_filters_that_match_the_same_message_deliver_it_once(broker: RunningBroker) -> None:
    with joined(broker, READER, topics.STATUS.filter(org="home"), qos=0) as reader, joined(broker, ATTIC) as attic:
        assert reader.subscribe(STATUS, qos=1) == [1]
        attic.publish(STATUS, b"online")
        attic.publish(STATUS, b"last")
        assert [(message.payload, message.qos) for message in reader.messages_until(b"last")] == [(b"online", 1)]


def test_who_unsubscribed_receives_nothing_more(broker: RunningBroker) -> None:
    with joined(broker, READER, STATUS, TELEMETRY) as reader, joined(broker, ATTIC) as attic:
        reader.unsubscribe(TELEMETRY, COMMAND)
        attic.publish(TELEMETRY, b"not subscribed any more")
        attic.publish(STATUS, b"last")
        assert reader.messages_until(b"last") == []


def test_messages_of_one_publisher_arrive_in_their_order(broker: RunningBroker) -> None:
    with joined(broker, READER, TELEMETRY) as reader, joined(broker, ATTIC) as attic:
        for number in range(200):
            attic.publish(TELEMETRY, str(number).encode())
        assert [message.payload for message in reader.messages_until(b"199")] == [b"%d" % n for n in range(199)]


def test_subscriptions_that_come_and_go_meanwhile_cost_nobody_a_message(broker: RunningBroker) -> None:
    filters = [topics.TELEMETRY.at(org="home", machine=f"m{number}") for number in range(50)]
    done = threading.Event()

    def come_and_go() -> None:
        with joined(broker, OPERATOR, TELEMETRY) as restless:
            while not done.is_set():
                restless.subscribe(*filters)
                restless.unsubscribe(*filters)

    restless = threading.Thread(target=come_and_go)
    with joined(broker, READER, TELEMETRY) as reader, joined(broker, ATTIC) as attic:
        restless.start()
        try:
            for number in range(500):
                attic.publish(TELEMETRY, str(number).encode())
            attic.publish(TELEMETRY, b"last")
            assert len(reader.messages_until(b"last")) == 500
        finally:
            done.set()
            restless.join()


# Taking over


def test_a_client_that_connects_again_takes_over_and_its_new_connection_fully_works(broker: RunningBroker) -> None:
    with (
        joined(broker, ATTIC, COMMAND) as old,
        joined(broker, INGESTOR, STATUS) as ingestor,
        joined(broker, ATTIC, COMMAND) as new,
    ):
        assert old.is_gone()
        ingestor.publish(COMMAND, b"do")
        assert new.message().payload == b"do"
        new.publish(STATUS, b"online")
        assert ingestor.message().payload == b"online"
        assert broker.clients == {"home.attic", "_ingestor"}
        assert broker.counters["taken_over"] == 1


@pytest.mark.parametrize("clean", [True, False])
def test_the_will_of_the_old_connection_is_out_with_its_own_words_before_the_new_one_is_let_in(
    broker: RunningBroker, clean: bool
) -> None:
    with joined(broker, INGESTOR, STATUS) as ingestor:
        old = joined(broker, ATTIC, will=(STATUS, b"lost 1", 1, True), clean=clean)
        with joined(broker, ATTIC, will=(STATUS, b"lost 2", 1, True), clean=clean) as new, old:
            new.publish(STATUS, b"online 2", retain=True)
            assert old.is_gone()
            new.publish(STATUS, b"last")
            assert [message.payload for message in ingestor.messages_until(b"last")] == [b"lost 1", b"online 2"]
            assert ingestor.subscribe(STATUS) == [1]
            assert ingestor.message().payload == b"online 2"


def test_the_end_of_the_old_connection_does_not_end_the_subscriptions_of_the_new_one(broker: RunningBroker) -> None:
    for _ in range(20):
        with joined(broker, ATTIC, COMMAND) as old, joined(broker, ATTIC, COMMAND) as new:
            old.reset()
            with joined(broker, INGESTOR) as ingestor:
                ingestor.publish(COMMAND, b"do")
            assert new.message().payload == b"do"
