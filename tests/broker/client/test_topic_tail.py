"""What `dashfleet watch` prints of whatever somebody publishes."""

import json

import pytest

from broker.client.topic_tail import as_json_lines, as_text
from broker.client.transport import Connected, Disconnected, Message

TOPIC = "dashfleet/v1/home/attic/up/telemetry"
REPLACED = "\N{REPLACEMENT CHARACTER}"


def line(capsys: pytest.CaptureFixture[str], payload: bytes) -> dict[str, object]:
    as_json_lines(Message(TOPIC, payload, 1, retain=True))
    printed = capsys.readouterr().out
    assert printed.count("\n") == 1
    found = json.loads(printed, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    assert (found["topic"], found["retained"]) == (TOPIC, True)
    assert isinstance(found, dict)
    return found


def test_json_is_printed_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert line(capsys, b'{"v": 1, "cpu_percent": 3.5}')["payload"] == {"v": 1, "cpu_percent": 3.5}


@pytest.mark.parametrize(
    "payload",
    [b"", b"no JSON", b'{"a": NaN}', b"[1e999]", b"-Infinity", b"1" * 5000, b"[" * 100_000, b'{"a":' * 100_000],
    ids=["empty", "text", "NaN", "too large", "infinite", "digits", "lists", "objects"],
)
def test_what_is_no_json_or_none_that_others_can_read_is_printed_as_a_text(
    capsys: pytest.CaptureFixture[str], payload: bytes
) -> None:
    assert line(capsys, payload)["payload"] == payload.decode()
    as_text(Message(TOPIC, payload))
    assert capsys.readouterr().out.splitlines()[1].strip() == json.dumps(payload.decode())


@pytest.mark.parametrize("depth", range(900, 1100))
def test_no_depth_is_too_deep(capsys: pytest.CaptureFixture[str], depth: int) -> None:
    line(capsys, b"[" * depth + b"]" * depth)


def test_bytes_that_are_no_text_are_shown(capsys: pytest.CaptureFixture[str]) -> None:
    assert line(capsys, b"\xff")["payload"] == "\\xff"


def test_neither_topic_nor_payload_steers_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    as_text(Message("a/\x1b[2J/\u202e", b'"\\u001b[2J\\u202e\\ud800"', 1, retain=True))
    topic, payload = capsys.readouterr().out.splitlines()
    assert topic == f"a/{REPLACED}[2J/{REPLACED} (retained)"
    assert "\x1b" not in payload
    assert "\u202e" not in payload


def test_connections_are_told_on_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    as_text(Connected())
    as_text(Disconnected("it rained"))
    assert capsys.readouterr() == ("", "connected\nnot connected: it rained\n")
