"""Mosquitto in step with the principals: what it is told, and how soon that holds."""

import logging
import os
import signal
import socket
import stat
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from brokers import PASSWORD, Gone, RawClient, RunningMosquitto, mosquitto_broker
from certificates import certificates
from faults.scale import IS_WHOLE
from servers import free_port, require_program
from waiting import wait_until

from broker.access.credentials import hash_secret
from broker.access.policy import NOTIFIER, Principal, Role, grants
from broker.access.principals import CredentialEntry, MemoryDirectory
from broker.client.mqtt import Mqtt
from broker.client.transport import Connected
from broker.external import mosquitto
from broker.external.mosquitto_process import Mosquitto
from broker.tls.listening import BrokerError
from runtime.settings.address import ServerAddress
from runtime.settings.broker import MosquittoSettings
from schemas.contract import topics

ATTIC = Principal(Role.MACHINE, "home", "attic")
CELLAR = Principal(Role.MACHINE, "home", "cellar")
INGESTOR = Principal(Role.INGESTOR, "", "ingestor")
TOKEN = Principal(Role.ENROL, "home", "spring")
EVERYBODY = (
    ATTIC,
    INGESTOR,
    TOKEN,
    Principal(Role.READER, "home", "grafana"),
    Principal(Role.OPERATOR, "home", "ann"),
    Principal(Role.DASHBOARD, "", "dashboard"),
    NOTIFIER,
)
STATUS = topics.STATUS.at(org="home", machine="attic")
NOT_AUTHORIZED = 5


@pytest.fixture
def directory() -> MemoryDirectory:
    return MemoryDirectory(dict.fromkeys((ATTIC, CELLAR, INGESTOR, TOKEN), PASSWORD))


@pytest.fixture
def broker(directory: MemoryDirectory, tmp_path: Path) -> Iterator[RunningMosquitto]:
    with mosquitto_broker(directory, tmp_path) as running:
        yield running


def settings(place: Path, **fields: object) -> MosquittoSettings:
    program = require_program("mosquitto", "mosquitto")
    given = {"data": place, "database": "sqlite://", "port": free_port(), "directory": place / "mosquitto"}
    return MosquittoSettings.model_validate({**given, "program": program, **fields})


def start_error(wrong: MosquittoSettings) -> str:
    broker = Mosquitto(wrong, MemoryDirectory())
    with pytest.raises(BrokerError) as caught:
        broker.start()
    broker.stop()
    return str(caught.value)


# What it is told


@pytest.mark.parametrize("principal", EVERYBODY, ids=lambda principal: principal.role)
def test_the_rules_say_what_the_grants_say(principal: Principal) -> None:
    first, user, *lines = mosquitto.rules([CredentialEntry(principal, hash_secret("x"))]).splitlines()
    assert (first, user) == ("topic deny #", f"user {principal.username}")
    said: dict[str, set[str]] = {"write": set(), "read": set()}
    for line in lines:
        word, verb, topic = line.split(" ")
        assert word == "topic"
        for meant in {"readwrite": ("read", "write")}.get(verb, (verb,)):
            said[meant].add(topic)
    granted = grants(principal)
    assert said == {"write": set(granted.publish), "read": set(granted.read)}


@pytest.mark.parametrize("name", ["a\ntopic #", "a:b", "a b", "ä", "", "#", "+"])
def test_a_name_that_would_not_be_one_word_of_a_line_is_left_out(name: str) -> None:
    entries = [
        CredentialEntry(Principal(Role.READER, "home", name), hash_secret("x")),
        CredentialEntry(ATTIC, hash_secret("y")),
    ]
    if name:
        assert mosquitto.rules(entries) == mosquitto.rules(entries[1:])
        assert mosquitto.passwords(entries) == mosquitto.passwords(entries[1:])
    else:
        assert "user home._\n" in mosquitto.rules(entries)


@pytest.mark.parametrize("record", ["", "plain", "$6$abc$def", "$7$101$a$b\nroot:x", "$7$$$"])
def test_a_record_that_mosquitto_would_stumble_over_is_left_out(record: str) -> None:
    assert mosquitto.passwords([CredentialEntry(ATTIC, record)]) == ""


def test_the_files_are_this_accounts_alone(broker: RunningMosquitto) -> None:
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in broker.settings.directory.iterdir()}
    assert modes == {"mosquitto.conf": 0o600, "passwords": 0o600, "rules": 0o600, "conf.d": 0o700}
    assert PASSWORD not in (broker.settings.directory / "passwords").read_text()


# How soon that holds


def test_who_is_revoked_is_gone_within_5_seconds_again_and_again(tmp_path: Path) -> None:
    machines = [Principal(Role.MACHINE, "home", f"m{number}") for number in range(20 if IS_WHOLE else 6)]
    directory = MemoryDirectory(dict.fromkeys((INGESTOR, *machines), PASSWORD))
    slowest = 0.0
    with mosquitto_broker(directory, tmp_path, follow_seconds=1.0) as broker, RawClient(broker.port) as ingestor:
        ingestor.connect("_ingestor")
        for machine in machines:
            with RawClient(broker.port) as client:
                assert client.connect(machine.username) == 0
                started = time.monotonic()
                directory.revoke(machine.username)
                assert client.is_gone()
                slowest = max(slowest, time.monotonic() - started)
            assert not lets_in(broker, machine)
            ingestor.ping()
    print(f"the slowest of {len(machines)} revocations took {slowest:.2f} s")
    assert slowest < 5


def lets_in(broker: RunningMosquitto, principal: Principal, secret: str = PASSWORD) -> bool:
    with RawClient(broker.port) as client:
        return client.connect(principal.username, secret) == 0


def test_who_is_new_is_let_in_without_a_restart(broker: RunningMosquitto, directory: MemoryDirectory) -> None:
    new = Principal(Role.MACHINE, "home", "new")
    with RawClient(broker.port) as attic:
        attic.connect("home.attic")
        assert not lets_in(broker, new)
        directory.add(new, PASSWORD)
        wait_until(lambda: lets_in(broker, new), what="the new machine is let in")
        attic.ping()


def test_who_gets_another_secret_leaves_and_comes_back_with_it(
    broker: RunningMosquitto, directory: MemoryDirectory
) -> None:
    with RawClient(broker.port) as attic, RawClient(broker.port) as cellar:
        attic.connect("home.attic")
        cellar.connect("home.cellar")
        directory.add(ATTIC, "another")
        assert attic.is_gone()
        assert not lets_in(broker, ATTIC)
        assert lets_in(broker, ATTIC, "another")
        cellar.ping()


def test_a_role_that_changes_takes_effect_for_a_live_session(
    broker: RunningMosquitto, directory: MemoryDirectory
) -> None:
    request = topics.REQUEST.at(org="home", principal="ann")
    ann = Principal(Role.OPERATOR, "home", "ann")
    directory.add(ann, PASSWORD)
    wait_until(lambda: lets_in(broker, ann), what="ann is let in")
    with RawClient(broker.port) as operator, RawClient(broker.port) as ingestor:
        operator.connect("home._ann")
        ingestor.connect("_ingestor")
        ingestor.subscribe(request)
        operator.publish(request, b"first")
        assert ingestor.message().payload == b"first"
        record = directory.entries()["home._ann"].secret_hash
        directory._entries = {
            **directory.entries(),
            "home._ann": CredentialEntry(Principal(Role.READER, "home", "ann"), record),
        }

        def is_silenced() -> bool:
            operator.publish(request, b"more")
            ingestor.ping()
            silent = ingestor.nothing_waits()
            ingestor._waiting.clear()
            return silent

        wait_until(is_silenced, what="the reader's requests go nowhere")


def test_changes_that_come_thick_and_fast_are_all_in_force_in_the_end(
    broker: RunningMosquitto, directory: MemoryDirectory
) -> None:
    machines = [Principal(Role.MACHINE, "home", f"m{number}") for number in range(60)]
    for machine in machines:
        directory.add(machine, PASSWORD)
        time.sleep(0.01)  # faster than it reads, which is what loses signals
    wait_until(lambda: lets_in(broker, machines[-1]), what="the last machine is let in")
    assert all(lets_in(broker, machine) for machine in machines)


def test_a_broker_that_stood_still_when_it_was_asked_is_asked_until_it_answers(
    broker: RunningMosquitto, directory: MemoryDirectory
) -> None:
    process = broker._broker._process
    assert process is not None
    with RawClient(broker.port) as attic:
        attic.connect("home.attic")
        process.send_signal(signal.SIGSTOP)
        directory.revoke("home.attic")
        wait_until(lambda: broker._broker._asked > 1, what="it was asked again")
        process.send_signal(signal.SIGCONT)
        assert attic.is_gone()


@pytest.mark.parametrize("name", ["passwords", "rules"])
def test_a_file_that_somebody_changed_is_written_again(broker: RunningMosquitto, name: str) -> None:
    path = broker.settings.directory / name
    right = path.read_text()
    path.write_text("user stranger\ntopic readwrite #\n" if name == "rules" else "")
    wait_until(lambda: path.read_text() == right, what="it is right again")
    wait_until(lambda: lets_in(broker, ATTIC), what="attic is let in")


def test_machines_that_enrol_with_one_token_at_the_same_moment_all_get_their_turn(broker: RunningMosquitto) -> None:
    request = topics.ENROL_REQUEST.at(org="home", principal="spring")
    with RawClient(broker.port) as ingestor:
        ingestor.connect("_ingestor")
        ingestor.subscribe(topics.ENROL_REQUEST.filter())
        clients = [RawClient(broker.port) for _ in range(5)]
        for number, client in enumerate(clients):
            assert client.connect(TOKEN.username, client_id=f"{TOKEN.username}.{number:032x}") == 0
            client.publish(request, b"%d" % number)
        assert [ingestor.message().payload for _ in clients] == [b"0", b"1", b"2", b"3", b"4"]
        assert all(client.is_gone() for client in clients[:-1])
        for client in clients:
            client.socket.close()


# Starting and ending


def test_a_client_that_trusts_the_authority_connects_with_tls_and_nobody_without(
    directory: MemoryDirectory, tmp_path: Path
) -> None:
    files = certificates(tmp_path / "tls")
    with mosquitto_broker(directory, tmp_path, certificate=files.certificate, private_key=files.key) as broker:
        client = Mqtt(
            ServerAddress(host="127.0.0.1", port=broker.port, tls=True),
            username="home.attic",
            password=PASSWORD,
            ca_file=files.authority,
        )
        assert wait_until(lambda: client.receive(1, 0.05), what="an event") == [Connected()]
        client.close()
        with RawClient(broker.port) as plain, pytest.raises(Gone):
            plain.connect("home.attic")


def test_it_does_not_listen_beyond_loopback_without_tls(tmp_path: Path) -> None:
    wrong = settings(tmp_path, bind="0.0.0.0")  # noqa: S104 - refused
    assert "does not listen on 0.0.0.0 without TLS" in start_error(wrong)
    assert not wrong.directory.exists()


def test_a_program_that_is_missing_is_a_sentence(tmp_path: Path) -> None:
    assert start_error(settings(tmp_path, program="/nowhere/mosquitto")) == (
        "/nowhere/mosquitto not found: install Mosquitto, or set program to its path"
    )


def test_what_mosquitto_says_is_the_reason_why_it_cannot_start(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        wrong = settings(tmp_path, port=other.getsockname()[1])
        assert start_error(wrong) == "Mosquitto cannot start: Error: Address already in use"


def test_a_line_of_ones_own_in_conf_d_is_read(tmp_path: Path) -> None:
    wrong = settings(tmp_path)
    (wrong.directory / "conf.d").mkdir(parents=True)
    (wrong.directory / "conf.d" / "mine.conf").write_text("nonsense true\n")
    assert "Mosquitto cannot start: Error" in start_error(wrong)


def test_it_says_so_when_mosquitto_has_ended(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    broker = Mosquitto(settings(tmp_path), MemoryDirectory())
    broker.start()
    try:
        process = broker._process
        assert process is not None
        os.kill(process.pid, signal.SIGKILL)
        wait_until(lambda: process.exit_code is not None, what="the end of Mosquitto")
        with pytest.raises(BrokerError, match="Mosquitto has exited"):
            broker.step()
    finally:
        broker.stop()
    assert any("running" in line for line in caplog.messages)
