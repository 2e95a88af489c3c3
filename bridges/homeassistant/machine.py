"""A machine as messages of the contract describe it, and its messages for Home Assistant.

Invariants:
- Bounded: SERIES_MAX readings of devices, RULES_MAX rules, GONE_MAX entities that were removed. Devices that the newest
  sample has come first.
- An entity that is removed stays in the discovery by its platform alone, as Home Assistant removes no other. It does so
  after a restart as well, because the discovery itself, which the broker retains, is the memory. Others may write
  there, so a component that this bridge could not have published is ignored.
- An alert that is silenced is no problem: the silence says that nobody is to be told.
"""

import json
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from bridges.homeassistant.entities import (
    ALERT,
    SERIES,
    Component,
    alert,
    button,
    location,
    needs_no_arguments,
    presence_entities,
    problem,
    readable,
    sensor,
    sensor_key,
)
from bridges.homeassistant.places import OrgPlaces
from bridges.homeassistant.units import quantity
from runtime.version import VERSION
from schemas.contract.alerts import AlertMessage
from schemas.contract.messages import Info, Metric, Telemetry
from schemas.contract.presence import PresenceMessage

SERIES_MAX: Final = 64
RULES_MAX: Final = 64
GONE_MAX: Final = 128
LISTED_ALERTS_MAX: Final = 20
COMPONENT_MAX_BYTES: Final = 8192
_OWN_KEY: Final = re.compile(r"[a-z0-9_-]{1,160}")
_PLATFORMS: Final = ("sensor", "binary_sensor", "button")


@dataclass(slots=True)
class BridgedMachine:
    """A machine. It is shown once its presence is known, which the ingestor publishes for each machine of the fleet."""

    name: str
    info: Info | None = None
    presence: PresenceMessage | None = None
    alerts: dict[str, AlertMessage] = field(default_factory=dict)
    rules: dict[str, str] = field(default_factory=dict)
    """Titles of the rules that have had an alert."""
    readings: dict[str, float | None] = field(default_factory=dict)
    """Newest readings by the key of their sensor, in Home Assistant's units."""
    devices: dict[str, tuple[Metric, str]] = field(default_factory=dict)
    """Metrics and devices of series, by the key of their sensor."""
    has_series: bool = False
    """Whether a sample with series has arrived, which names all devices."""
    earlier: dict[str, Component] = field(default_factory=dict)
    """Components of the discovery that the broker has retained from an earlier run, or that was published last."""

    def read_alert(self, rule: str, message: AlertMessage) -> None:
        """Record an active alert."""
        if rule in self.rules or len(self.rules) < RULES_MAX:
            self.alerts[rule] = message
            self.rules[rule] = message.title

    def read_sample(self, sample: Telemetry, kinds: Collection[str]) -> bool:
        """Record the newest readings; return whether there are sensors that were not there before.

        `kinds` are the kinds of devices of which series become sensors.
        """
        metrics = self.info.metrics if self.info is not None else ()
        vitals = sample.vitals.model_dump()
        for metric in metrics:
            where = location(metric)
            if where != "series":
                value = (vitals if where == "vitals" else sample.extra).get(metric.name)
                self.readings[sensor_key(metric)] = quantity(metric).convert(value)
        return bool(sample.series) and self._read_series(metrics, sample, kinds)

    def _read_series(self, metrics: Collection[Metric], sample: Telemetry, kinds: Collection[str]) -> bool:
        current: dict[str, tuple[Metric, str]] = {}
        values: dict[str, float | None] = {}
        for metric in metrics:
            if location(metric) == "series" and metric.device in kinds:
                for device, value in sample.series.get(metric.name, {}).items():
                    key = sensor_key(metric, device)
                    current[key], values[key] = (metric, device), quantity(metric).convert(value)
        kept = dict(list({**current, **self.devices, **current}.items())[:SERIES_MAX])
        changed = kept.keys() != self.devices.keys() or not self.has_series
        self.devices, self.has_series = kept, True
        self.readings = {key: value for key, value in self.readings.items() if not key.startswith(SERIES)}
        self.readings.update({key: values.get(key) for key in kept})
        return changed

    def state(self) -> bytes:
        """Return the readings of all sensors; null for one that could not be read."""
        keys = [sensor_key(metric) for metric in self._metrics()] + list(self.devices)
        keys += [key for key, earlier in self.earlier.items() if key.startswith(SERIES) and len(earlier) > 1]
        return _encoded({key: self.readings.get(key) for key in keys})

    def presence_state(self) -> bytes:
        """Return the presence, for the entities about it and for the availability of the others."""
        presence = self.presence
        if presence is None:
            return b""
        return _encoded(
            {"presence": presence.presence, "reason": presence.reason, "health": presence.health}
            | {"since": presence.since, "verified": presence.verified}
        )

    def alerts_state(self) -> bytes:
        """Return the active alerts that are not silenced."""
        active = {rule: each for rule, each in sorted(self.alerts.items()) if each.silenced_until is None}
        listed = [
            {"rule": rule, "title": each.title, "severity": each.severity, "detail": each.detail, "since": each.since}
            for rule, each in list(active.items())[:LISTED_ALERTS_MAX]
        ]
        return _encoded({"active": list(active), "alerts": listed})

    def discovery(self, places: OrgPlaces, actions: Collection[str]) -> bytes:
        """Return the device discovery with all entities, and remember its components.

        `actions` are those that become buttons.
        """
        mine = places.machine(self.name)
        components = self._components(places, actions)
        gone = {
            key: {"platform": earlier["platform"]}
            for key, earlier in list(self.earlier.items())[-GONE_MAX:]
            if key not in components
        }
        self.earlier = {**gone, **components}
        return _encoded(
            {
                "device": self._device(mine.id),
                "origin": {"name": "DashFleet", "sw_version": VERSION},
                "availability_mode": "all",
                "availability": [
                    {"topic": places.bridge},
                    {
                        "topic": mine.presence,
                        "value_template": "{{ 'online' if value_json['presence'] == 'online' else 'offline' }}",
                    },
                ],
                "qos": 1,
                "components": self.earlier,
            }
        )

    def _device(self, id_: str) -> dict[str, Any]:
        info, presence = self.info, self.presence
        name = presence.display_name if presence is not None else self.name
        described = {
            "model": info.os if info is not None else None,
            "sw_version": info.os_version if info is not None else None,
            "hw_version": info.architecture if info is not None else None,
        }
        texts = {field_: readable(text, "") for field_, text in described.items() if text}
        return {
            "identifiers": [id_],
            "name": readable(name, self.name),
            "manufacturer": "DashFleet",
            **{key: text for key, text in texts.items() if text},
        }

    def _metrics(self) -> list[Metric]:
        metrics = self.info.metrics if self.info is not None else ()
        return [metric for metric in metrics if location(metric) != "series"]

    def _components(self, places: OrgPlaces, actions: Collection[str]) -> dict[str, Component]:
        mine, bridge = places.machine(self.name), places.bridge
        found: dict[str, Component] = {**presence_entities(mine, bridge), "problem": problem(mine, bridge)}
        for metric in self._metrics():
            found[sensor_key(metric)] = sensor(metric, sensor_key(metric), mine)
        for key, (metric, device) in self.devices.items():
            found[key] = sensor(metric, key, mine, device)
        for rule, title in self.rules.items():
            found[f"{ALERT}{rule}"] = alert(rule, title, mine, bridge)
        for action in self.info.actions if self.info is not None else ():
            if action.name in actions and needs_no_arguments(action):
                found[f"button_{action.name}"] = button(action, places.press(self.name, action.name), mine)
        waits = not self.has_series and self.info is not None and self.info.detail_interval_seconds is not None
        kept = (ALERT, SERIES) if waits else (ALERT,)
        return found | {
            key: earlier
            for key, earlier in self.earlier.items()
            if key.startswith(kept) and key not in found and len(earlier) > 1
        }


def components_of(payload: bytes) -> dict[str, Component]:
    """Return the components of a device discovery that an earlier run has published; none of anything else."""
    try:
        found = json.loads(payload)["components"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return {}
    if not isinstance(found, Mapping):
        return {}
    valid = {key: each for key, each in found.items() if _OWN_KEY.fullmatch(key) and _may_be_own(each)}
    return dict(list(valid.items())[-(GONE_MAX + SERIES_MAX + RULES_MAX) :])


def _may_be_own(component: object) -> bool:
    """Return whether a component can be published again: it has a platform, no lone surrogate or NaN, and is small."""
    if not isinstance(component, dict) or component.get("platform") not in _PLATFORMS:
        return False
    try:
        return len(_encoded(component)) <= COMPONENT_MAX_BYTES
    except (ValueError, RecursionError):
        return False


def _encoded(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()
