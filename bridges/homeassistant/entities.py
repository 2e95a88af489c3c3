"""Entities of a machine in Home Assistant: the components of its device discovery.

Invariants:
- Templates contain constants, names of metrics and ids of the contract, which are letters, digits, `_` and `-`; no text
  of a machine. A device of a series is known by a hash of its name.
- Names shown to people contain no character that controls a terminal or the direction of writing.
- Readings are available while the machine is online; presence and alerts while the bridge follows the fleet.
"""

from collections.abc import Mapping
from hashlib import blake2s
from typing import Any, Final, get_args

from bridges.homeassistant.places import MachinePlaces
from bridges.homeassistant.units import quantity
from runtime.terminal import printable
from schemas.contract.messages import VITALS, ActionDescription, Metric
from schemas.contract.presence import PresenceName

ALERT: Final = "alert_"
SERIES: Final = "series_"
PRESS: Final = "PRESS"
NAME_MAX: Final = 128

Component = Mapping[str, Any]
"""A component of the device discovery."""

_BUTTON_CLASSES = {"reboot": "restart", "restart": "restart"}
_DIAGNOSTIC = frozenset(("uptime_seconds", "process_count", "swap_percent"))


def sensor_key(metric: Metric, device: str | None = None) -> str:
    """Return the key of a metric's sensor, in the discovery and in the state; of a series with its device."""
    if device is not None:
        return f"{SERIES}{metric.name}_{blake2s(device.encode(), digest_size=5).hexdigest()}"
    return f"{location(metric)}_{metric.name}"


def location(metric: Metric) -> str:
    """Return the field of a sample that holds a metric."""
    return metric.location or ("vitals" if metric.name in VITALS else "extra")


def sensor(metric: Metric, key: str, places: MachinePlaces, device: str | None = None) -> Component:
    """Return the sensor of a metric."""
    found, counter = quantity(metric), metric.kind == "counter"
    title = metric.title if device is None else f"{metric.title} {device}"
    config = {
        **_entity("sensor", key, title, places),
        "state_topic": places.state,
        "value_template": f"{{{{ value_json['{key}'] }}}}",
        "state_class": "total_increasing" if counter else "measurement",
        "suggested_display_precision": found.digits,
    }
    if found.unit is not None:
        config["unit_of_measurement"] = found.unit
    if found.device_class is not None and (found.may_count or not counter):
        config["device_class"] = found.device_class
    if metric.name in _DIAGNOSTIC:
        config["entity_category"] = "diagnostic"
    return config


def presence_entities(places: MachinePlaces, bridge: str) -> dict[str, Component]:
    """Return the entities about the presence and the health of a machine."""
    about = {"availability": [{"topic": bridge}], "state_topic": places.presence}
    return {
        "connectivity": {
            **_entity("binary_sensor", "connectivity", "Connection", places),
            **about,
            "device_class": "connectivity",
            "value_template": "{{ 'ON' if value_json['presence'] == 'online' else 'OFF' }}",
        },
        "presence": {
            **_entity("sensor", "presence", "Presence", places),
            **about,
            "device_class": "enum",
            "options": list(get_args(PresenceName)),
            "entity_category": "diagnostic",
            "value_template": "{{ value_json['presence'] }}",
            "json_attributes_topic": places.presence,
        },
        "health": {
            **_entity("sensor", "health", "Health", places),
            **about,
            "device_class": "enum",
            "options": ["ok", "warn", "critical", "unknown"],
            "value_template": "{{ value_json['health'] }}",
        },
    }


def problem(places: MachinePlaces, bridge: str) -> Component:
    """Return the sensor that is on while a machine has an alert; its attributes are the alerts."""
    return {
        **_entity("binary_sensor", "problem", "Problem", places),
        "availability": [{"topic": bridge}],
        "state_topic": places.alerts,
        "device_class": "problem",
        "value_template": "{{ 'ON' if value_json['active'] else 'OFF' }}",
        "json_attributes_topic": places.alerts,
    }


def alert(rule: str, title: str, places: MachinePlaces, bridge: str) -> Component:
    """Return the sensor that is on while an alert of one rule is active."""
    return {
        **_entity("binary_sensor", f"{ALERT}{rule}", title, places),
        "availability": [{"topic": bridge}],
        "state_topic": places.alerts,
        "device_class": "problem",
        "value_template": f"{{{{ 'ON' if '{rule}' in value_json['active'] else 'OFF' }}}}",
    }


def button(action: ActionDescription, command_topic: str, places: MachinePlaces) -> Component:
    """Return the button that runs an action."""
    config = {
        **_entity("button", f"button_{action.name}", action.title, places),
        "command_topic": command_topic,
        "payload_press": PRESS,
        "entity_category": "config",
    }
    if action.name in _BUTTON_CLASSES:
        config["device_class"] = _BUTTON_CLASSES[action.name]
    return config


def needs_no_arguments(action: ActionDescription) -> bool:
    """Return whether an action can be run by a button."""
    return not action.arguments_schema.get("required")


def readable(text: str, fallback: str) -> str:
    """Return a text of a machine as a name."""
    return printable(text).strip()[:NAME_MAX] or fallback


def _entity(platform: str, key: str, name: str, places: MachinePlaces) -> dict[str, Any]:
    return {"platform": platform, "unique_id": f"{places.id}_{key}", "name": readable(name, key)}
