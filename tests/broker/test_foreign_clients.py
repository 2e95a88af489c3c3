"""Clients that are not DashFleet's connect to both brokers, or get an answer that they can parse.

The results are those in `docs/brokers.md`. Bridges have a test of their own, `tests/broker/test_bridge.py`.
"""

import json
import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
import pytest
from brokers import KINDS, PASSWORD, RunningBroker, RunningMosquitto, broker_of_kind
from paho.mqtt.enums import CallbackAPIVersion
from servers import require_module_of_node
from waiting import wait_until

from broker.access.policy import Principal, Role
from broker.access.principals import MemoryDirectory
from schemas.contract import topics

ATTIC = Principal(Role.MACHINE, "home", "attic")
STATUS = topics.STATUS.at(org="home", machine="attic")
SCRIPT = Path(__file__).parents[1] / "support" / "node" / "connect.js"
TABLE = (Path(__file__).parents[2] / "docs" / "brokers.md").read_text()
UNSUPPORTED_PROTOCOL = 132

HOME_ASSISTANT = {"topic": "homeassistant/status", "payload": "offline", "qos": 0, "retain": False}
"""The default will of Home Assistant's MQTT integration."""


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def broker(kind: str, tmp_path: Path) -> Iterator[RunningBroker | RunningMosquitto]:
    with broker_of_kind(kind, MemoryDirectory({ATTIC: PASSWORD}), tmp_path) as running:
        yield running  # type: ignore[misc]


@pytest.fixture
def mqtt_js(broker: RunningBroker | RunningMosquitto) -> Callable[..., dict[str, Any]]:
    """Connect with mqtt.js; return what it saw."""
    node = require_module_of_node("mqtt")

    def connect(**options: Any) -> dict[str, Any]:  # noqa: ANN401
        own = {"username": ATTIC.username, "password": PASSWORD, "clientId": ATTIC.username, "topic": STATUS}
        given = {"host": "127.0.0.1", "port": broker.port, **own, **options}
        done = subprocess.run(
            [node, str(SCRIPT), json.dumps(given)], capture_output=True, text=True, timeout=30, check=True
        )
        found: dict[str, Any] = json.loads(done.stdout)
        return found

    return connect


def expect_documented(line: str, kind: str, outcome: str) -> None:
    """Compare an outcome with the table of the brokers document."""
    cells = re.search(rf"^\| {re.escape(line)} \| (.+?) \| (.+?) \|$", TABLE, re.MULTILINE)
    assert cells is not None, f"docs/brokers.md has no line {line!r}"
    assert outcome == cells[1 + KINDS.index(kind)]


def outcome(seen: dict[str, Any]) -> str:
    """Return how a conversation ended, in the words of the document."""
    if seen["connected"]:
        return "works" if seen["received"] == "hello" else "connects"
    return f"is refused with {seen['code']:#04x}" if seen["code"] is not None else f"fails: {seen['error']}"


def test_mqtt_js_with_its_defaults(mqtt_js: Callable[..., dict[str, Any]], kind: str) -> None:
    expect_documented("mqtt.js 5.16 with its defaults (MQTT 3.1.1)", kind, outcome(mqtt_js()))


def test_mqtt_js_with_mqtt_5(mqtt_js: Callable[..., dict[str, Any]], kind: str) -> None:
    expect_documented("mqtt.js 5.16 with `protocolVersion: 5`", kind, outcome(mqtt_js(protocolVersion=5)))


def test_a_client_with_the_default_will_of_home_assistant(mqtt_js: Callable[..., dict[str, Any]], kind: str) -> None:
    line = "a client with Home Assistant's default will (`homeassistant/status`)"
    expect_documented(line, kind, outcome(mqtt_js(will=HOME_ASSISTANT)))


@pytest.mark.parametrize("client_id", ["mqttjs_1", ""])
def test_mqtt_js_with_a_client_id_of_its_own(mqtt_js: Callable[..., dict[str, Any]], kind: str, client_id: str) -> None:
    line = "mqtt.js 5.16 with a client id other than the user name"
    expect_documented(line, kind, outcome(mqtt_js(clientId=client_id)))


def test_paho_with_mqtt_5_which_reads_answers_strictly(broker: RunningBroker | RunningMosquitto, kind: str) -> None:
    seen: dict[str, Any] = {"connected": False, "received": "", "error": "", "code": None}
    client = paho.Client(CallbackAPIVersion.VERSION2, client_id=ATTIC.username, protocol=paho.MQTTv5)
    client.username_pw_set(ATTIC.username, PASSWORD)

    def on_connect(_client: object, _userdata: object, _flags: object, reason: Any, _properties: object) -> None:  # noqa: ANN401
        seen["connected"] = not reason.is_failure
        if reason.is_failure:
            seen["code"] = reason.value
        else:
            client.subscribe(STATUS, 1)
            client.publish(STATUS, b"hello", 1)

    def on_message(_client: object, _userdata: object, message: paho.MQTTMessage) -> None:
        seen["received"] = message.payload.decode()

    client.on_connect, client.on_message = on_connect, on_message
    client.connect("127.0.0.1", broker.port)
    client.loop_start()
    try:
        wait_until(lambda: seen["received"] or seen["code"] is not None, what="an answer that paho can parse")
    finally:
        client.disconnect()
        client.loop_stop()
    expect_documented("paho-mqtt 2.2 with MQTT 5", kind, outcome(seen))
