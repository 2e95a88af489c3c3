"""The plan of a machine: the rules that apply to it, sorted by the signal that decides them.

Invariant: a quick test of all metrics at once finds the samples that can change nothing. Only the others are evaluated
rule by rule, so thousands of machines that are well cost nearly nothing.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from operator import attrgetter
from typing import Any

from ingestor.domain.presence import Presence, PresenceState
from schemas.alerts.condition import Condition
from schemas.alerts.device_readings import worst_device
from schemas.alerts.readings import SamplePoint, compared_metric, has_memory, is_sampled, read_metric
from schemas.contract.alert_rules import CHANGES, HEALTH_METRICS, AlertRule
from schemas.contract.messages import VITALS, Vitals
from schemas.series.sample_block import Readings

AWAY_REASONS = {
    "lost": "the connection was lost",
    "silent": "no data received",
    "expired": "no data received for too long",
}
_Band = tuple[float, float, bool]
"""Bounds between which a metric changes nothing, and whether a missing reading may."""


class Plan:
    """The conditions that apply to a machine, most of which share a plan."""

    def __init__(self, conditions: Sequence[Condition]) -> None:
        self.conditions = {condition.rule.name: condition for condition in conditions}
        sampled = [condition for condition in conditions if is_sampled(condition.rule)]
        self.sampled = tuple(sampled)
        plain = [condition for condition in sampled if not has_memory(condition.rule)]
        self.banded = tuple(condition for condition in plain if not condition.rule.device)
        self.devices = tuple(condition for condition in plain if condition.rule.device)
        self.remembering = tuple(condition for condition in sampled if has_memory(condition.rule))
        comparing = [condition for condition in self.remembering if compared_metric(condition.rule)]
        self.compared = tuple(dict.fromkeys(compared_metric(condition.rule) for condition in comparing))
        """Metrics of which a reading is compared with the one before."""
        self.rates = tuple((each.rule.metric, *_bounds(each)) for each in comparing if _is_rate_of_vital(each))
        """Vitals, with the bounds between which their rates change nothing."""
        self.rarer = tuple(each for each in comparing if not _is_rate_of_vital(each))
        """The conditions that compare other readings."""
        self.others = tuple(condition for condition in conditions if not is_sampled(condition.rule))
        self.about_facts = tuple(condition for condition in self.others if _is_about_facts(condition))
        """The conditions on the items of lists of facts."""
        self.watches_changes = any(condition.rule.kind == "changed" for condition in self.about_facts)
        self.lead = max((max(condition.for_, condition.clear) for condition in sampled), default=0)
        """Longest duration of a rule that samples decide, in milliseconds."""
        self._sampled = {condition.rule.name for condition in sampled}
        self._compared_names = tuple(condition.rule.name for condition in self.remembering)
        self._device_names = tuple(condition.rule.name for condition in self.devices)
        bands = _bands(self.banded)
        vitals = {name: band for name, band in bands.items() if name in VITALS}
        self._bands, self._by_metric = bands, _by_metric(self.banded)
        self._highs = tuple(high for _, high, _ in vitals.values())
        self._read = _reader(list(vitals))
        self._lows = tuple((name, low) for name, (low, _, _) in vitals.items() if low > -math.inf)
        self._missed = tuple(index for index, (_, _, missing) in enumerate(vitals.values()) if missing)
        self._extra = tuple((name, *band) for name, band in bands.items() if name not in VITALS and name != _CLOCK)
        self._clock = bands.get(_CLOCK, _ANYTHING)[1] * 1000

    def of_kind(self, kind: str, metric: str = "") -> list[Condition]:
        """Return the conditions of a kind that no sample decides."""
        return [each for each in self.others if each.rule.kind == kind and each.rule.metric == metric]

    def is_quiet(self, vitals: Vitals, extra: dict[str, float | None], clock_offset: int) -> bool:
        """Return whether a sample fulfils no condition that is not fulfilled yet."""
        values = self._read(vitals)
        for value, high in zip(values, self._highs):  # noqa: B905 - it may read more, and is called often
            if value is not None and value >= high:
                return False
        for name, low in self._lows:
            value = getattr(vitals, name)
            if value is not None and value <= low:
                return False
        for index in self._missed:
            if values[index] is None:
                return False
        for name, low, high, missing in self._extra:
            reading = extra.get(name)
            if missing if reading is None else not low < reading < high:
                return False
        return -self._clock < clock_offset < self._clock

    def candidates(self, point: SamplePoint, active: Iterable[str]) -> list[Condition]:
        """Return the conditions that a sample may begin or end; of the others nothing is active, nor fulfilled by it.

        `active`: names of the rules whose timelines are not at rest.
        """
        names = {*active, *self._compared_names, *(self._device_names if point.series else ())}
        for metric, (low, high, missing) in self._bands.items():
            value = abs(point.clock_offset) / 1000 if metric == _CLOCK else read_metric(point, metric)
            if missing if value is None else not low < value < high:
                names.update(self._by_metric[metric])
        return [condition for name, condition in self.conditions.items() if name in names and name in self._sampled]

    def has_quiet_devices(self, series: Readings) -> bool:
        """Return whether the series of a sample fulfil no condition that is not fulfilled yet."""
        if not series:
            return True
        return not any(each.verdict(worst_device(each.rule, series).value, active=False) for each in self.devices)


def _reader(names: Sequence[str]) -> Callable[[Any], tuple[float | None, ...]]:
    """Return a function that reads these vitals; with fewer than two names, which give no tuple, others after them."""
    return attrgetter(*names, *VITALS[len(names) : 2])


_CLOCK = ""  # no metric of the contract has this name
_ANYTHING: _Band = (-math.inf, math.inf, False)


def _is_about_facts(condition: Condition) -> bool:
    rule = condition.rule
    return rule.kind == "unhealthy" or (rule.kind == "changed" and rule.metric not in CHANGES)


def _is_rate_of_vital(condition: Condition) -> bool:
    return condition.rule.kind.startswith("rate-") and condition.rule.metric in VITALS


def _bounds(condition: Condition) -> tuple[float, float]:
    return (condition.on, math.inf) if condition.is_lower else (-math.inf, condition.on)


def _bands(conditions: Sequence[Condition]) -> dict[str, _Band]:
    bands: dict[str, _Band] = {}
    for condition in conditions:
        rule = condition.rule
        change = (-math.inf, math.inf, True) if rule.kind == "no-data" else (*_bounds(condition), False)
        for name in _metrics(rule):
            low, high, missing = bands.get(name, _ANYTHING)
            bands[name] = max(low, change[0]), min(high, change[1]), missing or change[2]
    return bands


def _metrics(rule: AlertRule) -> Sequence[str]:
    """Return the metrics that decide a rule about no device."""
    if rule.kind == "clock":
        return (_CLOCK,)
    return (rule.metric,) if rule.metric or rule.kind != "no-data" else tuple(HEALTH_METRICS)


def _by_metric(conditions: Sequence[Condition]) -> dict[str, list[str]]:
    """Return the names of the rules that each metric decides."""
    found: dict[str, list[str]] = {}
    for condition in conditions:
        for metric in _metrics(condition.rule):
            found.setdefault(metric, []).append(condition.rule.name)
    return found


def away_value(state: PresenceState, *, mass_silence: bool) -> float | None:
    """Return 1 for a machine that went silent without a graceful stop, 0 for another one; None: cannot tell.

    Machines that went silent together with many others are one incident, not an alert each.
    """
    if state.presence not in (Presence.OFFLINE, Presence.EXPIRED):
        return 0.0 if state.verified else None
    if state.reason not in AWAY_REASONS:
        return 0.0
    return None if mass_silence else 1.0
