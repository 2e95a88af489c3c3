"""The plan of a machine: the rules that apply to it, sorted by the signal that decides them.

Invariant: a quick test of all metrics at once finds the samples that can change nothing. Only the others are evaluated
rule by rule, so thousands of machines that are well cost nearly nothing.
"""

import math
from collections.abc import Callable, Sequence
from operator import attrgetter
from typing import Any

from ingestor.domain.presence import Presence, PresenceState
from schemas.alerts.condition import Condition
from schemas.alerts.device_readings import worst_device
from schemas.alerts.readings import has_memory, is_sampled
from schemas.contract.alert_rules import HEALTH_METRICS
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
        self.others = tuple(condition for condition in conditions if not is_sampled(condition.rule))
        self.lead = max((max(condition.for_, condition.clear) for condition in sampled), default=0)
        """Longest duration of a rule that samples decide, in milliseconds."""
        bands = _bands(self.banded)
        vitals = [name for name in bands if name in VITALS]
        names = (vitals * 2)[: max(2, len(vitals))] or ["cpu_percent", "cpu_percent"]
        self._read: Callable[[Any], tuple[float | None, ...]] = attrgetter(*names)
        self._lows, self._highs, missing = zip(*(bands.get(name, _ANYTHING) for name in names), strict=True)
        self._missed = tuple(index for index, matters in enumerate(missing) if matters)
        self._extra = tuple((name, *band) for name, band in bands.items() if name not in VITALS and name != _CLOCK)
        self._clock = bands.get(_CLOCK, _ANYTHING)[1] * 1000

    def of_kind(self, kind: str, metric: str = "") -> list[Condition]:
        """Return the conditions of a kind that no sample decides."""
        return [each for each in self.others if each.rule.kind == kind and each.rule.metric == metric]

    def is_quiet(self, vitals: Vitals, extra: dict[str, float | None], clock_offset: int) -> bool:
        """Return whether a sample fulfils no condition that is not fulfilled yet."""
        values = self._read(vitals)
        for value, low, high in zip(values, self._lows, self._highs):  # noqa: B905 - of one length, and read often
            if value is not None and not low < value < high:
                return False
        for index in self._missed:
            if values[index] is None:
                return False
        for name, low, high, missing in self._extra:
            reading = extra.get(name)
            if missing if reading is None else not low < reading < high:
                return False
        return -self._clock < clock_offset < self._clock

    def has_quiet_devices(self, series: Readings) -> bool:
        """Return whether the series of a sample fulfil no condition that is not fulfilled yet."""
        if not series:
            return True
        return not any(each.verdict(worst_device(each.rule, series).value, active=False) for each in self.devices)


_CLOCK = ""  # no metric of the contract has this name
_ANYTHING: _Band = (-math.inf, math.inf, False)


def _bands(conditions: Sequence[Condition]) -> dict[str, _Band]:
    bands: dict[str, _Band] = {}
    for condition in conditions:
        rule = condition.rule
        if rule.kind == "no-data":
            names, change = [rule.metric] if rule.metric else list(HEALTH_METRICS), (-math.inf, math.inf, True)
        elif rule.kind == "clock":
            names, change = [_CLOCK], (-math.inf, condition.on, False)
        elif rule.is_lower:
            names, change = [rule.metric], (condition.on, math.inf, False)
        else:
            names, change = [rule.metric], (-math.inf, condition.on, False)
        for name in names:
            low, high, missing = bands.get(name, _ANYTHING)
            bands[name] = max(low, change[0]), min(high, change[1]), missing or change[2]
    return bands


def away_value(state: PresenceState, *, mass_silence: bool) -> float | None:
    """Return 1 for a machine that went silent without a graceful stop, 0 for another one; None: cannot tell.

    Machines that went silent together with many others are one incident, not an alert each.
    """
    if state.presence not in (Presence.OFFLINE, Presence.EXPIRED):
        return 0.0 if state.verified else None
    if state.reason not in AWAY_REASONS:
        return 0.0
    return None if mass_silence else 1.0
