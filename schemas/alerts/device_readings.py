"""The values of rules about devices: of the devices that match the pattern of a rule, the worst one decides.

Invariants:
- The worst is the highest where a condition is fulfilled at or above its threshold, and the lowest elsewhere; of equal
  ones the first by name.
- A reading that is null is left out, as it is in a backfill. Without any reading nothing can be told.
- The rate of a counter that went backwards, or of a device that was not there before, is not known.
"""

from collections.abc import Collection, Mapping
from fnmatch import fnmatchcase
from typing import NamedTuple

from schemas.contract.alert_rules import MEASURED, AlertRule
from schemas.contract.messages import VITALS
from schemas.series.sample_block import Readings

SERIES_HOLD = 600_000
"""Milliseconds for which readings of devices count without others: they come once a minute."""


class MeasuredValue(NamedTuple):
    """The value that a rule compares. `device`: the one that it is of; empty: the rule is not about devices."""

    value: float | None
    device: str = ""


def about_devices(rule: AlertRule, series: Collection[str]) -> AlertRule:
    """Return the rule; about any device, if it names none and its metric is only one of series. `series`: those."""
    plain = rule.device or rule.kind not in MEASURED or rule.metric in VITALS
    return rule if plain or rule.metric not in series else rule.model_copy(update={"device": "*"})


def worst_device(rule: AlertRule, readings: Readings) -> MeasuredValue:
    """Return the worst reading of the devices that match."""
    devices = readings.get(rule.metric, {})
    return _worst(rule, {name: value for name, value in devices.items() if value is not None and _is_meant(rule, name)})


def worst_rate(rule: AlertRule, readings: Readings, before: Readings, seconds: float) -> MeasuredValue:
    """Return the worst increase per second of the devices that match. `seconds`: time between the readings."""
    earlier, rates = before.get(rule.metric, {}), dict[str, float]()
    for name, value in readings.get(rule.metric, {}).items():
        past = earlier.get(name)
        if value is not None and past is not None and value >= past and _is_meant(rule, name):
            rates[name] = (value - past) / seconds
    return _worst(rule, rates)


def _is_meant(rule: AlertRule, name: str) -> bool:
    return fnmatchcase(name, rule.device)


def _worst(rule: AlertRule, found: Mapping[str, float]) -> MeasuredValue:
    if not found:
        return MeasuredValue(None)
    sign = 1 if rule.is_lower else -1
    device = min(found, key=lambda name: (sign * found[name], name))
    return MeasuredValue(found[device], device)
