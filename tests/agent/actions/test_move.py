"""The action `move`, from the order to the start at the other server, with brokers in memory."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from agent_under_test import AgentUnderTest
from certificates import certificates
from clocks import Clock
from waiting import wait_until

from agent.actions import move as module
from agent.orders.journal import create_before_keys
from agent.orders.trusted_keys import KEYS_FILE, write_keys
from agent.relocation.move_record import followed, read_move, settle
from agent.relocation.trial import Trial, TrialResult
from schemas.contract import topics
from schemas.contract.ack import Ack, Range
from schemas.contract.messages import Signed
from schemas.contract.signing import new_key, public_key
from schemas.relocation.destination import MoveDestination

OLD, NEW = "mqtt://127.0.0.1:1883", "mqtts://new.example:8883"
KEY = public_key(new_key())


def destination(**fields: object) -> str:
    known = {"server": NEW, "org": "acme", "ca": None, "keys": [{"public_key": KEY}]}
    return json.dumps({**known, **fields})


@pytest.fixture
def result(monkeypatch: pytest.MonkeyPatch) -> list[TrialResult]:
    """The results of the next trials, none of which connects anywhere."""
    results: list[TrialResult] = []
    monkeypatch.setattr(Trial, "run", lambda _self: results.pop(0))
    return results


@pytest.fixture
def machine(tmp_path: Path, clock: Clock) -> Iterator[AgentUnderTest]:
    own = tmp_path / "agent"
    create_before_keys(own, clock)
    made = AgentUnderTest(tmp_path, clock, server=OLD, password="made-up")
    write_keys(own / KEYS_FILE, "home", [])
    yield made
    made.kill()


def ordered(machine: AgentUnderTest, text: str | None = None) -> Signed:
    return machine.operator.order("move", arguments={"destination": text or destination()})


def acknowledge_samples(machine: AgentUnderTest) -> None:
    last = machine.samples[-1]
    ack = Ack(stream=last.stream, ranges=(Range(first=1, last=last.seq),))
    machine.publish(topics.ACK, ack.encode())
    machine.step(2)


def test_a_machine_moves_when_the_new_server_has_acknowledged_a_sample(
    machine: AgentUnderTest, result: list[TrialResult]
) -> None:
    result.append(TrialResult(""))
    order = ordered(machine)

    outcome = machine.outcome(order)

    assert (outcome.state, outcome.reason) == ("succeeded", "")
    assert NEW in outcome.detail
    record = read_move(machine.directory)
    assert record is not None
    assert (record.configured, record.server, record.org, record.receiver) == (OLD, NEW, "acme", outcome.id)


def test_a_machine_leaves_when_its_old_server_has_the_outcome_and_all_samples(
    machine: AgentUnderTest, result: list[TrialResult]
) -> None:
    machine.run(20)
    result.append(TrialResult(""))
    outcome = machine.outcome(ordered(machine))
    samples = len(machine.samples)

    machine.step(2)
    assert not machine.agent.restarting
    machine.ack(outcome.id)
    assert not machine.agent.restarting
    acknowledge_samples(machine)

    assert machine.agent.restarting
    assert len(machine.samples) == samples
    machine.stop()
    assert machine.statuses[-1].reason == "stopped"


def test_a_machine_leaves_a_silent_server_after_a_while(machine: AgentUnderTest, result: list[TrialResult]) -> None:
    result.append(TrialResult(""))
    machine.outcome(ordered(machine))

    machine.run(11)

    assert machine.agent.restarting


def test_what_waits_goes_to_the_new_server_without_gaps(
    machine: AgentUnderTest, clock: Clock, result: list[TrialResult]
) -> None:
    machine.run(40)
    acknowledged = machine.samples[0].seq
    machine.publish(
        topics.ACK, Ack(stream=machine.outbox.stream, ranges=(Range(first=acknowledged, last=acknowledged),)).encode()
    )
    result.append(TrialResult(""))
    machine.outcome(ordered(machine))
    machine.run(11)
    machine.stop()
    waiting = machine.outbox.next_seq - 1 - acknowledged
    settle(machine.directory, "attic", clock)
    machine.start(server=followed(machine.settings).server)

    (earlier,) = machine.infos[-1].earlier_streams
    assert (earlier.highest_seq, earlier.oldest_seq) == (waiting, 1)


def test_a_machine_stays_when_the_new_server_does_not_acknowledge(
    machine: AgentUnderTest, tmp_path: Path, result: list[TrialResult]
) -> None:
    result.append(TrialResult("connection refused"))
    authority_text = certificates(tmp_path / "tls").authority.read_text()

    outcome = machine.outcome(ordered(machine, destination(ca=authority_text)))

    assert (outcome.state, outcome.reason) == ("failed", "not-acknowledged")
    assert outcome.detail == (
        f"{NEW} did not acknowledge a sample within 60 s (connection refused): the machine stays at {OLD}"
    )
    assert read_move(machine.directory) is None
    assert not list((machine.directory / "agent").glob("ca-*"))
    machine.run(30)
    assert not machine.agent.restarting


def test_the_same_server_under_another_address_keeps_the_numbers(
    machine: AgentUnderTest, result: list[TrialResult]
) -> None:
    result.append(TrialResult("", is_same_server=True))
    machine.outcome(ordered(machine))

    record = read_move(machine.directory)
    assert record is not None
    assert record.receiver == ""


def test_a_power_cut_before_the_record_leaves_the_machine_where_it_was(
    machine: AgentUnderTest, monkeypatch: pytest.MonkeyPatch, clock: Clock
) -> None:
    monkeypatch.setattr(Trial, "run", lambda _self: wait_until(lambda: machine.processes > 1) and TrialResult("x"))
    order = ordered(machine)
    machine.send(order)
    machine.kill()
    settle(machine.directory, "attic", clock)
    machine.start()
    machine.step(3)

    assert machine.results(order.statement.partition('"id":"')[2][:32])[-1].reason == "interrupted"
    assert followed(machine.settings).server == OLD


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("{", "Invalid JSON"),
        (destination(server="http://x"), "server: must look like mqtt://HOST:PORT or mqtts://HOST:PORT"),
        (destination(ca="no certificate"), "ca: it is no certificate in PEM format"),
        (destination(keys=[]), "keys must have 1 entry at least"),
        (destination(keys=[{"public_key": "x"}]), "keys.0.public_key"),
        (destination(org="A B"), "org must be lower-case letters, digits and inner hyphens"),
    ],
)
def test_a_destination_that_is_none_is_rejected_with_a_sentence(
    machine: AgentUnderTest, text: str, sentence: str
) -> None:
    outcome = machine.outcome(ordered(machine, text))

    assert (outcome.state, outcome.reason) == ("rejected", "arguments")
    assert outcome.detail.startswith("the destination must be the text that dashfleet move import writes")
    assert sentence in outcome.detail


def test_a_machine_that_is_there_already_stays(machine: AgentUnderTest) -> None:
    outcome = machine.outcome(ordered(machine, destination(server=OLD, org="home")))

    assert outcome.detail == f"this machine is at {OLD} already"


def test_an_encrypted_connection_is_not_given_up(tmp_path: Path, clock: Clock) -> None:
    machine = AgentUnderTest(tmp_path, clock, server="mqtts://old.example")
    outcome = machine.outcome(ordered(machine, destination(server="mqtt://new.example")))

    assert (outcome.state, "would not be encrypted" in outcome.detail) == ("rejected", True)
    machine.kill()


def test_no_machine_moves_unless_its_owner_allows_it() -> None:
    from runtime.settings.agent import ALLOWED_ACTIONS

    assert module.move.name == "move"
    assert "move" not in ALLOWED_ACTIONS


def test_a_destination_is_read_as_it_is_written() -> None:
    written = MoveDestination.read(destination())

    assert MoveDestination.read(written.model_dump_json()) == written
