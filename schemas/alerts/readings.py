"""The values that rules compare, from samples in order of time.

Invariants:
- A counter that went backwards was reset, so its rate is not known for this sample.
- A sample says nothing about the rate or the boot unless the one before it is near enough.
"""

from collections.abc import Mapping
from typing import Final, NamedTuple

from schemas.contract.alert_rules import HEALTH_METRICS, AlertRule
from schemas.contract.messages import VITALS, Vitals

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


def is_sampled(rule: AlertRule) -> bool:
    """Return whether the samples of a machine decide this rule."""
    return rule.kind in SAMPLED and (rule.kind != "changed" or rule.metric == "boot")


def has_memory(rule: AlertRule) -> bool:
    """Return whether the value depends on the sample before."""
    return rule.kind in ("rate-above", "rate-below", "changed")


def read_metric(point: SamplePoint, metric: str) -> float | None:
    """Return a vital or an extra metric."""
    value: float | None = getattr(point.vitals, metric) if metric in _VITALS else point.extra.get(metric)
    return value


def read_value(rule: AlertRule, point: SamplePoint, before: SamplePoint | None, hold: int) -> float | None:
    """Return the value of a rule that is decided by samples; of `no-data`, a bit mask of the missing metrics.

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
