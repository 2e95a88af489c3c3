"""The configurations in `docs/integrations.md` are valid, and their scripts do what the page says."""

import json
import re
import subprocess
import tomllib
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]
from servers import require_program

from broker.access.policy import Principal, Role, Verb, allowed
from schemas.contract.backfill import Backfill
from schemas.contract.messages import Telemetry

DOCS = Path(__file__).parents[2] / "docs"
TEXT = (DOCS / "integrations.md").read_text()
CONTRACT = (DOCS / "contract.md").read_text()


def block(language: str) -> str:
    """Return the only code block of a language."""
    (found,) = re.findall(rf"^```{language}\n(.*?)^```$", TEXT, flags=re.DOTALL | re.MULTILINE)
    return str(found)


def example(heading: str) -> dict[str, Any]:
    """Return the first JSON example below a heading of the contract."""
    section = CONTRACT.partition(f"\n### {heading}\n")[2]
    (found, *_) = re.findall(r"```json\n(.*?)```", section, flags=re.DOTALL)
    message = json.loads(found)
    assert isinstance(message, dict)
    return message


class Metric:
    """A metric as a script of Telegraf's Starlark processor sees it."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.time = 0
        self.tags: dict[str, str] = {}
        self.fields: dict[str, Any] = {}


def processed(message: dict[str, Any]) -> list[tuple[str, int, dict[str, str], dict[str, float]]]:
    """Return what the script of the page makes of a message."""
    (processor,) = tomllib.loads(block("toml"))["processors"]["starlark"]
    load, source = re.subn(r'^load\("json.star", "json"\)$', "", processor["source"], flags=re.MULTILINE)[::-1]
    assert load == 1
    # Starlark has a type's name where Python has the type
    space: dict[str, Any] = {"json": SimpleNamespace(decode=json.loads), "Metric": Metric}
    space["type"] = lambda value: type(value).__name__
    exec(source, space)  # noqa: S102 - of this repository
    arrived = Metric("dashfleet")
    arrived.tags = {"org": "home", "machine": "attic"}
    arrived.fields = {"value": json.dumps(message)}
    return [(each.name, each.time, each.tags, each.fields) for each in space["apply"](arrived)]


def test_telegraf_divides_samples_into_fields_and_devices() -> None:
    message = example("Telemetry")
    Telemetry.model_validate(message)
    at, tags = message["sampled_at"] * 1_000_000, {"org": "home", "machine": "attic"}
    found = processed(message)
    assert found[0] == ("dashfleet", at, tags, {**message["vitals"], **message["extra"]})
    assert ("dashfleet_device", at, {**tags, "device": "/data"}, {"disk_used_percent": 93.5}) in found
    assert len(found) == 1 + sum(len(devices) for devices in message["series"].values())


def test_telegraf_divides_a_batch_into_its_samples_and_leaves_out_what_could_not_be_read() -> None:
    message = example("Backfill")
    Backfill.model_validate(message)
    found = [each for each in processed(message) if each[0] == "dashfleet"]
    assert [at for _, at, _, _ in found] == [each * 1_000_000 for each in message["sampled_at"]]
    assert [fields for _, _, _, fields in found] == [
        {"cpu_percent": 10.5, "fan_rpm": 1100.0},
        {"fan_rpm": 1150.0},
        {"cpu_percent": 99.9},
    ]
    devices = [each for each in processed(message) if each[0] == "dashfleet_device"]
    assert {(at, tags["device"]) for _, at, tags, _ in devices} == {
        (message["sampled_at"][0] * 1_000_000, device) for device in ("/", "/data")
    }


def test_telegraf_subscribes_to_what_a_reader_may_read_as_itself() -> None:
    (consumer,) = tomllib.loads(block("toml"))["inputs"]["mqtt_consumer"]
    reader = Principal(Role.READER, "home", "telegraf")
    assert consumer["client_id"] == consumer["username"] == reader.username
    assert all(allowed(reader, Verb.SUBSCRIBE, topic) for topic in consumer["topics"])
    (parsing,) = consumer["topic_parsing"]
    levels = {len(text.split("/")) for text in (*consumer["topics"], parsing["topic"], parsing["tags"])}
    assert levels == {6}


def test_the_flow_of_node_red_is_wired_and_reads_what_a_reader_may() -> None:
    nodes = {node["id"]: node for node in json.loads(block("json"))}
    for node in nodes.values():
        assert {target for wires in node.get("wires", []) for target in wires} <= nodes.keys()
        assert node.get("broker", "dashfleet-broker") in nodes or node["type"] == "mqtt-broker"
    reader = Principal(Role.READER, "home", "nodered")
    assert nodes["dashfleet-broker"]["clientid"] == reader.username
    assert allowed(reader, Verb.SUBSCRIBE, nodes["dashfleet-presence"]["topic"])


@pytest.mark.parametrize(
    ("presences", "told"),
    [
        (["online"], []),
        (["online", "online", "offline"], [{"before": "online", "presence": "offline"}]),
        (["offline", None, "online"], []),
    ],
)
def test_the_function_of_the_flow_tells_changes_only(presences: list[str | None], told: list[dict[str, str]]) -> None:
    nodes = {node["id"]: node for node in json.loads(block("json"))}
    script = f"""
        const kept = {{}}, context = {{get: (key) => kept[key], set: (key, value) => {{ kept[key] = value; }}}};
        const change = new Function('msg', 'context', {json.dumps(nodes["dashfleet-change"]["func"])});
        for (const presence of {json.dumps(presences)}) {{
            const payload = presence && {{presence, display_name: 'Attic', reason: ''}};
            const out = change({{topic: 'dashfleet/v1/home/_presence/attic', payload}}, context);
            if (out) console.log(JSON.stringify(out.payload));
        }}
    """
    ran = subprocess.run([require_program("node", "nodejs"), "-e", script], capture_output=True, text=True, check=True)
    found = [json.loads(line) for line in ran.stdout.splitlines()]
    assert found == [{"machine": "Attic", "reason": "", **each} for each in told]


def test_the_data_source_of_grafana_connects_as_itself() -> None:
    (source,) = yaml.safe_load(block("yaml"))["datasources"]
    assert source["jsonData"]["username"] == source["jsonData"]["clientID"] == "home._grafana"
    assert set(source["secureJsonData"]) == {"password"}
