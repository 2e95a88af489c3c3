"""The values that rules compare, from samples in order of time.

Invariants:
- A counter that went backwards was reset, so its rate is not known for this sample.
- Few samples have series; the others say nothing about devices.
- A sample says nothing about the rate or the boot unless the one before it is near enough.
"""

from collections.abc import Mapping
from typing import Final, NamedTuple

from schemas.alerts.device_readings import SERIES_HOLD, MeasuredValue, worst_device, worst_rate
from schemas.contract.alert_rules import HEALTH_METRICS, AlertRule
from schemas.contract.messages import VITALS, Vitals
from schemas.series.sample_block import Readings

_BOOT_TOLERANCE = 30_000
"""Milliseconds by which the time of a boot may vary, since it is computed from a rounded uptime."""

_VITALS = frozenset(VITALS)
SAMPLED: Final = frozenset(("above", "below", "rate-above", "rate-below", "no-data", "clock", "changed"))
"""Kinds of rules that samples decide; `changed` only with the metric `boot`."""


class SamplePoint(NamedTuple):
    """A sample at the server's time `at`. `clock_offset`: correction of the machine's clock, in milliseconds."""

    at: int
    vitals: Vitals
    extra: Mapping[str, float | None]
    clock_offset: int
    series: Readings = {}  # noqa: RUF012 - read only


class EarlierSamples(NamedTuple):
    """The last sample, and the last one with series."""

    last: SamplePoint | None = None
    with_series: SamplePoint | None = None

    def then(self, point: SamplePoint) -> "EarlierSamples":
        """Return them after another sample."""
        return EarlierSamples(point, point if point.series else self.with_series)


def is_sampled(rule: AlertRule) -> bool:
    """Return whether the samples of a machine decide this rule."""
    return rule.kind in SAMPLED and (rule.kind != "changed" or rule.metric == "boot")


def has_memory(rule: AlertRule) -> bool:
    """Return whether the value depends on the sample before."""
    return rule.kind in ("rate-above", "rate-below", "changed")


def hold_of(rule: AlertRule, hold: int) -> int:
    """Return the milliseconds for which a value of the rule counts. `hold`: those of a sample."""
    return max(hold, SERIES_HOLD) if rule.device else hold


def measure(rule: AlertRule, point: SamplePoint, earlier: EarlierSamples, hold: int) -> MeasuredValue | None:
    """Return the value of a rule that samples decide; None if this one says nothing about it. `hold`: see `hold_of`."""
    if not rule.device:
        return MeasuredValue(read_value(rule, point, earlier.last, hold))
    if not point.series:
        return None
    if not rule.kind.startswith("rate-"):
        return worst_device(rule, point.series)
    before = earlier.with_series
    if before is None or not 0 < point.at - before.at <= hold_of(rule, hold):
        return MeasuredValue(None)
    return worst_rate(rule, point.series, before.series, (point.at - before.at) / 1000)


def read_metric(point: SamplePoint, metric: str) -> float | None:
    """Return a vital or an extra metric."""
    value: float | None = getattr(point.vitals, metric) if metric in _VITALS else point.extra.get(metric)
    return value


def read_value(rule: AlertRule, point: SamplePoint, before: SamplePoint | None, hold: int) -> float | None:
    """Return the value of a rule about no device that samples decide; of `no-data`, a bit mask of the missing metrics.

    `before`: the sample before. A rate is not computed over a longer time than `hold` milliseconds.
    """
    kind = rule.kind
    if kind in ("above", "below"):
        return read_metric(point, rule.metric)
    if kind == "no-data":
        names = (rule.metric,) if rule.metric else HEALTH_METRICS
        return float(sum((read_metric(point, name) is None) << bit for bit, name in enumerate(names)))
    if kind == "clock":
        return abs(point.clock_offset) / 1000
    if kind == "changed":
        return _boot_changed(point, before)
    return _rate(rule.metric, point, before, hold)


def _rate(metric: str, point: SamplePoint, before: SamplePoint | None, hold: int) -> float | None:
    if before is None or not 0 < point.at - before.at <= hold:
        return None
    now, earlier = read_metric(point, metric), read_metric(before, metric)
    if now is None or earlier is None or now < earlier:
        return None
    return (now - earlier) * 1000 / (point.at - before.at)


def _boot_changed(point: SamplePoint, before: SamplePoint | None) -> float | None:
    """Return 1 if the machine has booted since the sample before, 0 if not."""
    if point.vitals.uptime_seconds is None or before is None or before.vitals.uptime_seconds is None:
        return None
    booted, earlier = (each.at - (each.vitals.uptime_seconds or 0) * 1000 for each in (point, before))
    return float(booted - earlier > _BOOT_TOLERANCE)
