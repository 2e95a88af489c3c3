"""What one credential, or one address without any, can make others pay for: bounded, visible, and never their time."""

import asyncio
import resource
import sqlite3
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from brokers import PASSWORD, Gone, RawClient, RunningBroker, embedded_broker, packed, publish_packet, text
from waiting import wait_until

from broker.access.policy import Principal, Role, Verb
from broker.access.principals import MemoryDirectory
from broker.client.transport import Message
from broker.embedded import listener
from broker.embedded.broker import GrantCache
from broker.embedded.rate_budget import ClientRate, RateBudget
from broker.embedded.retained import RetainedFile, RetainedMessages
from broker.embedded.server import _write
from schemas.contract import topics
from schemas.contract.facts import FACT_KINDS_MAX

ATTIC = Principal(Role.MACHINE, "home", "attic")
CELLAR = Principal(Role.MACHINE, "home", "cellar")
READER = Principal(Role.READER, "home", "grafana")
TOKEN = Principal(Role.ENROL, "home", "token-1")
INGESTOR = Principal(Role.INGESTOR, "", "ingestor")
OTHER = Principal(Role.INGESTOR, "", "other")
MACHINES = [Principal(Role.MACHINE, "home", f"m{number}") for number in range(300)]
SECRETS = dict.fromkeys((ATTIC, CELLAR, READER, TOKEN, INGESTOR, OTHER, *MACHINES), PASSWORD)
STATUS = topics.STATUS.at(org="home", machine="attic")
TELEMETRY = topics.TELEMETRY.at(org="home", machine="attic")
RESULT = topics.RESULT.at(org="home", machine="attic")
ALL_STATUS = topics.STATUS.filter(org="home")


@pytest.fixture
def broker() -> Iterator[RunningBroker]:
    with embedded_broker(SECRETS) as running:
        yield running


@contextmanager
def joined(broker: RunningBroker, principal: Principal, *filters: str) -> Iterator[RawClient]:
    with RawClient(broker.port) as client:
        assert client.connect(principal.username) == 0
        if filters:
            assert client.subscribe(*filters) == [1] * len(filters)
        yield client


@contextmanager
def longest_wait(broker: RunningBroker) -> Iterator[list[float]]:
    """The longest time that another client waited for the answer to a ping, in seconds."""
    longest, stop = [0.0], threading.Event()
    with joined(broker, OTHER) as other:  # which has no rate limit

        def ping() -> None:
            while not stop.is_set():
                started = time.monotonic()
                other.ping()
                longest[0] = max(longest[0], time.monotonic() - started)

        thread = threading.Thread(target=ping)
        thread.start()
        try:
            yield longest
        finally:
            stop.set()
            thread.join(20)


def least_wait(broker: RunningBroker, misuse: Callable[[], None]) -> float:
    """The longest wait of another client during a misuse, in the best of three turns: a busy machine delays some turns,
    a broker that blocks delays all."""
    waits: list[float] = []
    while not waits or (min(waits) >= 0.2 and len(waits) < 3):
        with longest_wait(broker) as longest:
            misuse()
        waits.append(longest[0])
    return min(waits)


def subscribe_packet(*filters: str) -> bytes:
    return packed(0x82, b"\x00\x07" + b"".join(text(filter_) + b"\x01" for filter_ in filters))


def unsubscribe_packet(*filters: str) -> bytes:
    return packed(0xA2, b"\x00\x08" + b"".join(map(text, filters)))


# Filters and retained messages


def test_more_filters_in_one_packet_than_the_limit_end_the_connection_and_are_logged(
    broker: RunningBroker, caplog: pytest.LogCaptureFixture
) -> None:
    for packet in (subscribe_packet, unsubscribe_packet):
        with joined(broker, READER) as reader:
            reader.send(packet(*[ALL_STATUS] * 101))
            assert reader.is_gone()
    assert "home._grafana violated the protocol and is disconnected: more than 100 topic filters" in caplog.text


def test_as_many_filters_in_one_packet_as_the_limit_are_answered(broker: RunningBroker) -> None:
    with joined(broker, READER) as reader:
        assert reader.subscribe(*[ALL_STATUS] * 100) == [1] * 100


@pytest.mark.parametrize("packet", [subscribe_packet, unsubscribe_packet])
@pytest.mark.parametrize("principal", [READER, TOKEN], ids=str)
def test_sixty_thousand_filters_make_no_other_client_wait(
    broker: RunningBroker, packet: object, principal: Principal
) -> None:
    assert callable(packet)
    nonce = {"client_id": f"{principal.username}.{'0' * 32}"} if principal is TOKEN else {}
    flood = packet(*["a"] * 50_000)

    def misuse() -> None:
        for _ in range(5):
            with RawClient(broker.port) as client:
                assert client.connect(principal.username, **nonce) == 0
                client.send(flood)
                assert client.is_gone()

    assert least_wait(broker, misuse) < 0.2


def test_a_fleet_of_retained_messages_asked_for_many_times_makes_no_other_client_wait(broker: RunningBroker) -> None:
    for machine in MACHINES:
        with joined(broker, machine) as client:
            client.publish(topics.STATUS.at(org="home", machine=machine.name), b"{}", retain=True)

    def misuse() -> None:
        with joined(broker, READER) as reader:
            for _ in range(20):
                reader.send(subscribe_packet(*[ALL_STATUS] * 100))
            for _ in range(20):
                reader.reply(0x90)

    assert least_wait(broker, misuse) < 0.2


def test_a_retained_message_comes_once_for_all_filters_of_a_packet(broker: RunningBroker) -> None:
    with joined(broker, ATTIC) as attic, joined(broker, READER) as reader:
        attic.publish(STATUS, b"kept", retain=True)
        reader.subscribe(STATUS, ALL_STATUS, ALL_STATUS)
        attic.publish(STATUS, b"last")
        assert [message.payload for message in reader.messages_until(b"last")] == [b"kept"]


# Topics


def test_topics_that_are_denied_leave_nothing_in_memory() -> None:
    cache = GrantCache()
    topic_max = "x" * 65_000
    assert cache(ATTIC, Verb.PUBLISH, TELEMETRY)
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    for number in range(3000):
        assert not cache(ATTIC, Verb.PUBLISH, f"{number}{topic_max}")
        assert not cache(ATTIC, Verb.PUBLISH, f"dashfleet/v1/home/m{number}/up/status")
    grown = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    assert grown < 1 << 20


@pytest.mark.parametrize("topic", ["$SYS/broker/uptime", "$anything"])
@pytest.mark.parametrize("qos", [0, 1])
def test_a_publish_below_a_dollar_is_acknowledged_and_dropped_and_logged(
    broker: RunningBroker, topic: str, qos: int, caplog: pytest.LogCaptureFixture
) -> None:
    with joined(broker, ATTIC) as attic:
        attic.publish(topic, qos=qos)
        attic.ping()
    assert broker.counters["publish_denied"] == 1
    assert f"home.attic may not publish to {topic!r}" in caplog.text


def test_what_is_logged_of_one_client_is_limited(broker: RunningBroker, caplog: pytest.LogCaptureFixture) -> None:
    with joined(broker, ATTIC) as attic:
        for _ in range(200):
            attic.publish("$SYS/x")
    assert caplog.text.count("may not publish") == 1


# Rates


def test_a_client_that_floods_is_read_from_more_slowly_and_nobody_is_disconnected() -> None:
    with (
        embedded_broker(SECRETS, client_messages_per_second=50, client_bytes_per_second=1 << 20) as broker,
        joined(broker, INGESTOR, topics.TELEMETRY.filter()) as ingestor,
        joined(broker, ATTIC) as attic,
    ):
        took: list[float] = []

        def misuse() -> None:
            started = time.monotonic()
            for _ in range(200):
                attic.publish(TELEMETRY, bytes(100))
            took.append(time.monotonic() - started)
            assert len([ingestor.message() for _ in range(200)]) == 200

        assert least_wait(broker, misuse) < 0.2
        assert broker.counters["throttled"] > 0
        assert "slow" not in broker.counters
    assert took[0] > 1.5  # 200 messages at 50 a second, of which the first 100 are a burst


def test_a_reader_that_acknowledges_what_it_is_sent_is_not_slowed_down(caplog: pytest.LogCaptureFixture) -> None:
    alerts = [topics.ALERT.at(org="home", machine=f"m{number}", rule="disk") for number in range(300)]
    with (
        embedded_broker(SECRETS, client_messages_per_second=20) as broker,
        joined(broker, INGESTOR) as ingestor,
        joined(broker, READER) as reader,
    ):
        for alert in alerts:
            ingestor.publish(alert, b"{}", retain=True)
        ingestor.ping()
        reader.subscribe(topics.ALERT.filter(org="home"))
        heard = set[str]()
        while len(heard) < len(alerts):
            message = reader.message()
            heard.add(message.topic)
        reader.ping()
        assert "throttled" not in broker.counters
        assert "exceeds its rate limit" not in caplog.text


def test_acknowledgements_of_nothing_are_charged_like_any_packet() -> None:
    with (
        embedded_broker(SECRETS, client_messages_per_second=1000) as broker,
        joined(broker, READER) as reader,
    ):
        reader.send(b"".join(b"\x40\x02" + number.to_bytes(2) for number in range(1, 3001)))
        wait_until(lambda: broker.counters.get("throttled", 0) > 0, what="the reader is slowed down")


def test_a_budget_refills_up_to_a_burst() -> None:
    budget = RateBudget(ClientRate(messages=10, bytes=1000), now=0.0)
    assert [budget.spend(10, now=0.0) for _ in range(20)] == [0.0] * 20
    assert budget.spend(10, now=0.0) == pytest.approx(0.1)
    assert budget.spend(5000, now=1000.0) == pytest.approx(3.0)


# Connections


def test_sockets_without_a_credential_give_up_their_places_to_a_client_with_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(listener, "PENDING_SECONDS", 0.1)
    with embedded_broker(SECRETS, max_connections=20, connect_seconds=60) as broker, ExitStack() as idle:
        for _ in range(20):
            idle.enter_context(RawClient(broker.port))
        wait_until(lambda: broker.sockets >= 10, what="the idle sockets are accepted")

        def gets_in() -> bool:
            with RawClient(broker.port) as client:
                try:
                    return client.connect("home.attic") == 0
                except Gone:
                    return False

        wait_until(gets_in, seconds=30, what="a client with a credential gets in")


def test_an_enrolment_token_has_a_bounded_number_of_sessions_which_end_by_themselves() -> None:
    with embedded_broker(SECRETS, sessions_per_token=3) as broker, ExitStack() as stack:
        codes = []
        for number in range(5):
            client = stack.enter_context(RawClient(broker.port))
            codes.append(client.connect(TOKEN.username, client_id=f"{TOKEN.username}.{number:032x}"))
        assert codes == [0, 0, 0, 3, 3]


def test_no_more_connections_are_accepted_than_the_process_may_open_files(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (100, 100))
    monkeypatch.setattr(resource, "setrlimit", lambda *_: None)
    with embedded_broker(SECRETS, max_connections=1000):
        assert "only 36 connections at once: the process may open 100 files" in caplog.text


# Retained messages


def test_only_what_the_contract_retains_is_retained_wills_too(broker: RunningBroker) -> None:
    with joined(broker, ATTIC) as attic:
        attic.publish(TELEMETRY, b"{}", retain=True)
        attic.publish(RESULT, b"{}", retain=True)
    with RawClient(broker.port) as attic:
        assert attic.connect("home.attic", will=(TELEMETRY, b"lost", 1, True)) == 0
        attic.reset()
    wait_until(lambda: not broker.clients, what="it is gone")
    with joined(broker, READER, topics.TELEMETRY.filter(org="home"), topics.RESULT.filter(org="home")) as reader:
        reader.ping()
        assert reader.nothing_waits()


def test_of_the_facts_of_a_machine_a_bounded_number_of_kinds_is_retained(broker: RunningBroker) -> None:
    kinds = [topics.FACTS.at(org="home", machine="attic", kind=f"kind-{number}") for number in range(60)]
    with joined(broker, ATTIC) as attic:
        attic.publish(STATUS, b"here", retain=True)
        for topic in kinds:
            attic.publish(topic, b"first", retain=True)
        attic.publish(kinds[0], b"second", retain=True)
        attic.publish(STATUS, b"still here", retain=True)
        attic.ping()
    with joined(broker, READER, topics.FACTS.filter(org="home"), ALL_STATUS) as reader:
        reader.ping()
        found = {message.topic: message.payload for message in reader._waiting}
    assert (found[STATUS], found[kinds[0]]) == (b"still here", b"second")
    assert FACT_KINDS_MAX <= len(found) - 1 <= FACT_KINDS_MAX + 1


def test_revoking_removes_what_a_principal_retained() -> None:
    directory = MemoryDirectory(SECRETS)
    with embedded_broker({}, directory=directory) as broker:
        with joined(broker, ATTIC) as attic, joined(broker, CELLAR) as cellar:
            attic.publish(STATUS, b"mine", retain=True)
            cellar.publish(topics.STATUS.at(org="home", machine="cellar"), b"other", retain=True)
            directory.revoke("home.attic")
            assert attic.is_gone()
        with joined(broker, READER, ALL_STATUS) as reader:
            reader.ping()
            assert [message.payload for message in reader._waiting] == [b"other"]


def test_retained_messages_survive_a_restart_and_a_kill(tmp_path: Path) -> None:
    path = tmp_path / "broker" / "retained.db"
    with embedded_broker(SECRETS, retained=RetainedFile(path)) as broker:
        with joined(broker, ATTIC) as attic:
            attic.publish(STATUS, b"kept", retain=True)
            attic.publish(topics.INFO.at(org="home", machine="attic"), b"gone", retain=True)
            attic.publish(topics.INFO.at(org="home", machine="attic"), b"", retain=True)
        wait_until(lambda: RetainedFile(path).read() != [], what="they are written while it runs, as before a kill")
        assert [row[:2] for row in RetainedFile(path).read()] == [(STATUS, b"kept")]
        broker.stop()
        broker.start()
        with joined(broker, READER, ALL_STATUS) as reader:
            kept = reader.message()
    assert (kept.payload, kept.retain) == (b"kept", True)


def test_what_a_principal_retained_is_removed_when_it_is_revoked_while_no_broker_runs(tmp_path: Path) -> None:
    directory, file = MemoryDirectory(SECRETS), RetainedFile(tmp_path / "retained.db")
    with embedded_broker({}, directory=directory, retained=file) as broker:
        with joined(broker, ATTIC) as attic, joined(broker, CELLAR) as cellar:
            attic.publish(STATUS, b"mine", retain=True)
            cellar.publish(topics.STATUS.at(org="home", machine="cellar"), b"other", retain=True)
        broker.stop()
        directory.revoke("home.attic")
        broker.start()
        with joined(broker, READER, ALL_STATUS) as reader:
            reader.ping()
            assert [message.payload for message in reader._waiting] == [b"other"]


def test_a_damaged_file_of_retained_messages_is_moved_aside(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "retained.db"
    path.write_bytes(b"no database" * 1000)
    assert RetainedFile(path).read() == []
    assert path.with_suffix(".damaged").exists()
    assert "moved to retained.damaged" in caplog.text


def test_changes_that_cannot_be_written_are_written_later(tmp_path: Path) -> None:
    class Full(RetainedFile):
        fails = True

        def write(self, changes: list[tuple[str, bytes, int, str]]) -> None:
            if self.fails:
                raise sqlite3.OperationalError("disk is full")
            super().write(changes)

    async def scenario() -> list[bytes]:
        retained, file = RetainedMessages(), Full(tmp_path / "retained.db")
        retained.put(Message(STATUS, b"one"), "home.attic")
        await _write(file, retained)
        retained.put(Message(STATUS, b"two"), "home.attic")
        file.fails = False
        await _write(file, retained)
        return [row[1] for row in file.read()]

    assert asyncio.run(scenario()) == [b"two"]


def test_a_change_of_what_is_retained_writes_only_the_pages_that_it_changes(tmp_path: Path) -> None:
    file = RetainedFile(tmp_path / "retained.db")
    wal = tmp_path / "retained.db-wal"
    file.write([(f"t/{number}", b"x" * 500, 1, "home.attic") for number in range(100)])
    before = wal.stat().st_size
    file.write([("t/7", b"y" * 500, 1, "home.attic")])
    assert wal.stat().st_size - before <= 5 * 2096
    file.close()
    assert not wal.exists()


def test_topics_are_found_by_filter_without_looking_at_all() -> None:
    retained = RetainedMessages()
    for org in ("home", "work"):
        for machine in ("a", "b"):
            retained.put(Message(f"dashfleet/v1/{org}/{machine}/up/status", b"x"), machine)
    assert retained.topics("dashfleet/v1/home/+/up/status") == [
        "dashfleet/v1/home/a/up/status",
        "dashfleet/v1/home/b/up/status",
    ]
    assert len(retained.topics("dashfleet/v1/#")) == 4
    assert retained.topics("dashfleet/v1/home/a/up/status/#") == ["dashfleet/v1/home/a/up/status"]
    assert retained.topics("dashfleet/v1/none/+/up/status") == []
    assert (retained.forget("a"), len(retained)) == (2, 2)


def test_a_publish_that_is_denied_costs_no_memory_at_the_broker(broker: RunningBroker) -> None:
    with joined(broker, ATTIC) as attic:
        for number in range(100):
            attic.send(publish_packet(f"{number}{'x' * 60_000}", qos=0))
        attic.ping()
    assert broker.counters["publish_denied"] == 100
