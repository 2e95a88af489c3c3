"""The recorder of all tests' traffic: it would find a message that is not as the contract says, in any process."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import traffic
from traffic_plugin import recording_environment

from broker.client.memory import MemoryBroker, MemoryTransport
from broker.client.transport import Message
from schemas.contract import topics
from schemas.contract.messages import Status

pytest.importorskip("jsonschema_rs")

STATUS = topics.STATUS.at(org="home", machine="attic")
ONLINE = Status(state="online", session=1, at=1)


@pytest.mark.parametrize(
    ("payload", "qos", "retain"),
    [
        (b'{"v": 1, "state": "gone", "session": 1, "at": 1}', 1, True),
        (b'{"v": 1, "state": "online", "session": 0, "at": 1}', 1, True),
        (b"online", 1, True),
        (ONLINE.encode(), 0, True),
        (ONLINE.encode(), 1, False),
    ],
)
def test_a_message_that_is_wrong_is_reported_and_counted(
    payload: bytes, qos: int, retain: bool, tmp_path: Path
) -> None:
    recorder = traffic.Recorder(tmp_path)
    recorder.record(Message(STATUS, payload, qos, retain))
    assert len(traffic.invalid(tmp_path)) == 1
    assert traffic.counts(tmp_path).total() == 1


def test_a_topic_outside_the_contract_is_reported(tmp_path: Path) -> None:
    traffic.Recorder(tmp_path).record(Message("dashfleet/v1/home/attic/up/mood", b"{}"))
    assert len(traffic.invalid(tmp_path)) == 1


def test_a_message_as_it_should_be_and_one_that_clears_a_topic_are_only_counted(tmp_path: Path) -> None:
    recorder = traffic.Recorder(tmp_path)
    recorder.record(Message(STATUS, ONLINE.encode(), 1, retain=True))
    recorder.record(Message(topics.TELEMETRY.at(org="home", machine="attic"), b"", 1, retain=True))
    assert traffic.invalid(tmp_path) == []
    assert traffic.counts(tmp_path).total() == 2


def test_what_a_test_publishes_itself_is_not_recorded_and_what_our_code_publishes_is(tmp_path: Path) -> None:
    class Recorded(MemoryTransport):
        pass

    recorder = traffic.Recorder(tmp_path)
    traffic.record(recorder, Recorded)
    transport = Recorded(MemoryBroker(), client_id="home.attic", pass_time=lambda _: None)
    transport.receive(1, 0)
    assert transport.publish(Message(STATUS, b"wrong on purpose", 1, retain=True))
    assert traffic.counts(tmp_path).total() == 0
    ours = {"__name__": "agent.agent", "transport": transport, "message": Message(STATUS, ONLINE.encode(), 1, True)}
    exec("transport.publish(message)", ours)  # noqa: S102 - as a module of the agent does
    assert traffic.counts(tmp_path).total() == 1


@pytest.mark.skipif(traffic.DIRECTORY not in os.environ, reason="nothing is recorded")
def test_a_child_process_is_recorded_too() -> None:
    code = "from broker.client.mqtt import Mqtt; print(Mqtt.publish.__module__)"
    environment = {**os.environ, **recording_environment()}
    found = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "traffic"
