"""A Home Assistant for tests: it builds entities from device discovery, and shows what a person would see of them.

The schema is that of Home Assistant 2025.4.4 as far as the bridge uses it, and stricter: Home Assistant drops options
of a component that it does not know, here they are errors. Sources, in `homeassistant/components`:

- `mqtt/schemas.py`: DEVICE_DISCOVERY_SCHEMA, MQTT_ENTITY_COMMON_SCHEMA, SHARED_OPTIONS;
- `mqtt/discovery.py`: TOPIC_MATCHER, and components that have only a platform;
- `mqtt/sensor.py`: DISCOVERY_SCHEMA, validate_sensor_state_and_device_class_config;
- `mqtt/binary_sensor.py`, `mqtt/button.py`: DISCOVERY_SCHEMA;
- `sensor/const.py`: DEVICE_CLASS_UNITS, DEVICE_CLASS_STATE_CLASSES.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import jsonschema_rs
from jinja2 import StrictUndefined
from jinja2.sandbox import ImmutableSandboxedEnvironment

from broker.client.transport import Message, Transport

TOPIC_MATCHER: Final = re.compile(r"homeassistant/device/(?P<object_id>[a-zA-Z0-9_-]+)/config")
SHARED_OPTIONS: Final = ("availability", "availability_mode", "state_topic", "command_topic")
CLASS_UNITS: Final[Mapping[str, frozenset[str]]] = {
    "battery": frozenset("%"),
    "current": frozenset(("A", "mA")),
    "data_rate": frozenset(("bit/s", "kbit/s", "Mbit/s", "Gbit/s", "B/s", "kB/s", "MB/s", "GB/s")),
    "data_size": frozenset(("bit", "kbit", "Mbit", "Gbit", "B", "kB", "MB", "GB", "TB", "PB", "KiB", "MiB", "GiB")),
    "duration": frozenset(("d", "h", "min", "s", "ms", "µs")),
    "frequency": frozenset(("Hz", "kHz", "MHz", "GHz")),
    "power": frozenset(("mW", "W", "kW", "MW", "GW", "TW")),
    "temperature": frozenset(("°C", "°F", "K")),
    "voltage": frozenset(("V", "mV", "µV", "kV", "MV")),
}
ONLY_MEASUREMENT: Final = CLASS_UNITS.keys() - {"data_size", "duration"}
_TEXT = {"type": "string", "minLength": 1}
_TOPIC = {"type": "string", "pattern": "^[^+#]+$", "maxLength": 65535}
_TEMPLATE = {"type": "string", "minLength": 1}
_AVAILABILITY = {
    "availability_mode": {"enum": ["all", "any", "latest"]},
    "availability": {
        "type": "array",
        "minItems": 1,
        "items": {
            "type": "object",
            "required": ["topic"],
            "properties": {
                "topic": _TOPIC,
                "payload_available": _TEXT,
                "payload_not_available": _TEXT,
                "value_template": _TEMPLATE,
            },
            "additionalProperties": False,
        },
    },
}
_ENTITY = {
    **_AVAILABILITY,
    "name": {"type": ["string", "null"]},
    "unique_id": _TEXT,
    "enabled_by_default": {"type": "boolean"},
    "entity_category": {"enum": ["config", "diagnostic"]},
    "icon": {"type": "string", "pattern": "^[a-z]+:"},
    "json_attributes_topic": _TOPIC,
    "json_attributes_template": _TEMPLATE,
}


def _platform(name: str, required: tuple[str, ...], **options: Any) -> dict[str, Any]:  # noqa: ANN401 - a JSON Schema
    return {
        "type": "object",
        "required": ["unique_id", *required],
        "properties": {"platform": {"const": name}, **_ENTITY, **options},
        "additionalProperties": False,
    }


_COMPONENTS = {
    "sensor": _platform(
        "sensor",
        ("state_topic",),
        state_topic=_TOPIC,
        value_template=_TEMPLATE,
        device_class={"enum": [*CLASS_UNITS, "enum", None]},
        state_class={"enum": ["measurement", "total", "total_increasing", None]},
        unit_of_measurement={"type": ["string", "null"]},
        options={"type": "array", "items": _TEXT, "minItems": 1},
        suggested_display_precision={"type": "integer", "minimum": 0},
        expire_after={"type": "integer", "minimum": 0},
    ),
    "binary_sensor": _platform(
        "binary_sensor",
        ("state_topic",),
        state_topic=_TOPIC,
        value_template=_TEMPLATE,
        device_class={"enum": ["connectivity", "problem", "running", "update", None]},
        payload_on=_TEXT,
        payload_off=_TEXT,
    ),
    "button": _platform(
        "button",
        ("command_topic",),
        command_topic=_TOPIC,
        device_class={"enum": ["identify", "restart", "update", None]},
        payload_press=_TEXT,
        retain={"type": "boolean"},
    ),
}
_REMOVED = {
    "type": "object",
    "required": ["platform"],
    "properties": {"platform": {"enum": list(_COMPONENTS)}},
    "additionalProperties": False,
}
DISCOVERY: Final = jsonschema_rs.validator_for(
    {
        "type": "object",
        "required": ["device", "components", "origin"],
        "properties": {
            **_AVAILABILITY,
            "device": {
                "type": "object",
                "required": ["identifiers"],
                "properties": {
                    "identifiers": {"type": "array", "items": _TEXT, "minItems": 1},
                    **dict.fromkeys(("name", "manufacturer", "model", "sw_version", "hw_version"), _TEXT),
                    "configuration_url": {"type": "string", "pattern": "^(https?|homeassistant)://"},
                },
                "additionalProperties": False,
            },
            "origin": {
                "type": "object",
                "required": ["name"],
                "properties": {"name": _TEXT, "sw_version": _TEXT},
                "additionalProperties": False,
            },
            "components": {
                "type": "object",
                "additionalProperties": {"anyOf": [_REMOVED, *_COMPONENTS.values()]},
            },
            "state_topic": _TOPIC,
            "command_topic": _TOPIC,
            "qos": {"enum": [0, 1, 2]},
        },
        "additionalProperties": False,
    }
)
_TEMPLATES = ImmutableSandboxedEnvironment(undefined=StrictUndefined)


def check_discovery(topic: str, payload: bytes) -> dict[str, Any]:
    """Return a device discovery. Fails unless Home Assistant accepts every part of it without a warning."""
    assert TOPIC_MATCHER.fullmatch(topic), topic
    config: dict[str, Any] = json.loads(payload)
    DISCOVERY.validate(config)
    ids = [component["unique_id"] for component in config["components"].values() if len(component) > 1]
    assert len(ids) == len(set(ids))
    for component in config["components"].values():
        if component["platform"] == "sensor" and len(component) > 1:
            _check_sensor(component)
    return config


def _check_sensor(component: Mapping[str, Any]) -> None:
    kind = str(component.get("device_class", ""))
    unit, state = component.get("unit_of_measurement"), component.get("state_class")
    if (options := component.get("options")) is not None:
        assert options
        assert kind == "enum"
        assert unit is None
        assert state is None
    if kind in CLASS_UNITS:
        assert unit in CLASS_UNITS[kind]
    if kind in ONLY_MEASUREMENT:
        assert state == "measurement"


@dataclass
class FakeHomeAssistant:
    """Home Assistant on a broker. `transport` must have the subscriptions of `FOLLOWS`."""

    transport: Transport
    devices: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Device discovery by object id, without components that were removed."""
    payloads: dict[str, bytes] = field(default_factory=dict)
    """Newest content of each topic."""
    received: list[Message] = field(default_factory=list)

    FOLLOWS = (
        ("homeassistant/device/+/config", 1),
        ("dashfleet-homeassistant/+/bridge", 1),
        *((f"dashfleet-homeassistant/+/+/{leaf}", 1) for leaf in ("presence", "state", "alerts")),
    )

    def read(self, wait: float = 0.0) -> None:
        """Take what has arrived."""
        for event in self.transport.receive(10_000, wait):
            if isinstance(event, Message):
                self._read(event)

    def start(self) -> None:
        """Say, as Home Assistant does at its start, that it is there."""
        assert self.transport.publish(Message("homeassistant/status", b"online", 0))

    def names(self) -> set[str]:
        """The names of all devices."""
        return {device["device"]["name"] for device in self.devices.values()}

    def entities(self, object_id: str) -> dict[str, dict[str, Any]]:
        """The entities of a device, with the options that they inherit."""
        device = self.devices[object_id]
        shared: dict[str, Any] = {option: device[option] for option in SHARED_OPTIONS if option in device}
        return {key: {**shared, **component} for key, component in device["components"].items()}

    def state(self, object_id: str, key: str) -> str:
        """The state of an entity: `unavailable`, `unknown`, or what its template renders."""
        entity = self.entities(object_id)[key]
        if not self._available(entity):
            return "unavailable"
        if entity["platform"] == "button" or entity["state_topic"] not in self.payloads:
            return "unknown"
        text = self._render(entity["value_template"], self.payloads[entity["state_topic"]])
        if entity["platform"] == "binary_sensor":
            assert text in ("ON", "OFF")
        if "options" in entity:
            assert text in entity["options"]
        return "unknown" if text == "None" else text

    def attributes(self, object_id: str, key: str) -> dict[str, Any]:
        """The attributes of an entity."""
        found = json.loads(self.payloads[self.entities(object_id)[key]["json_attributes_topic"]])
        assert isinstance(found, dict)
        return found

    def press(self, object_id: str, key: str) -> None:
        """Press a button."""
        entity = self.entities(object_id)[key]
        assert self._available(entity)
        assert self.transport.publish(Message(entity["command_topic"], entity["payload_press"].encode(), 1))

    def _available(self, entity: Mapping[str, Any]) -> bool:
        mode, states = entity.get("availability_mode", "latest"), []
        for place in entity["availability"]:
            payload = self.payloads.get(place["topic"], b"")
            template = place.get("value_template")
            text = self._render(template, payload) if template and payload else payload.decode()
            assert text in ("online", "offline", "")
            states.append(text == "online")
        return any(states) if mode == "any" else all(states)

    def _render(self, template: str, payload: bytes) -> str:
        return _TEMPLATES.from_string(template).render(value=payload.decode(), value_json=json.loads(payload))

    def _read(self, message: Message) -> None:
        self.received.append(message)
        match = TOPIC_MATCHER.fullmatch(message.topic)
        if match is None:
            if message.payload:
                self.payloads[message.topic] = message.payload
            else:
                self.payloads.pop(message.topic, None)
            return
        known = self.devices.pop(match["object_id"], None)
        if not message.payload:
            return
        config = check_discovery(message.topic, message.payload)
        components = dict(known["components"]) if known else {}  # it keeps those that are not mentioned
        components.update(config["components"])
        config["components"] = {key: each for key, each in components.items() if len(each) > 1}
        self.devices[match["object_id"]] = config
