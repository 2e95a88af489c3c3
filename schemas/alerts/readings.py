"""The values that rules compare, from samples in order of time.

Invariants:
- A counter that went backwards was reset, so its rate is not known for this sample.
- Few samples have series; the others say nothing about devices.
- A sample says nothing about the rate or the boot unless the one before it is near enough.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
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


@dataclass(slots=True)
class EarlierSamples:
    """Readings with which rates and changes compare a sample. Times in milliseconds; 0: there was none.

    Holds readings rather than samples: a fleet has one per machine, which is replaced with every sample. To keep the
    vitals until the next sample was tried: what is freed that late is not used again while the processor has it in its
    cache, and a report cost the ingestor a twelfth more.
    """

    readings: dict[str, float | None] = field(default_factory=dict)
    """Readings of the last sample, by the metrics on whose change a rule depends."""
    at: int = 0
    series: Readings = field(default_factory=dict)
    """Series of the last sample that had any."""
    series_at: int = 0

    @classmethod
    def of(cls, rules: Iterable[AlertRule]) -> "EarlierSamples":
        """Return them before the first sample, for these rules."""
        return cls({metric: None for rule in rules if (metric := compared_metric(rule))})

    def add(self, point: SamplePoint) -> None:
        """Replace them by the next sample."""
        self.at = point.at
        for metric in self.readings:
            self.readings[metric] = read_metric(point, metric)
        if point.series:
            self.series, self.series_at = point.series, point.at


def is_sampled(rule: AlertRule) -> bool:
    """Return whether the samples of a machine decide this rule."""
    return rule.kind in SAMPLED and (rule.kind != "changed" or rule.metric == "boot")


def has_memory(rule: AlertRule) -> bool:
    """Return whether the value depends on the sample before."""
    return rule.kind in ("rate-above", "rate-below", "changed")


def compared_metric(rule: AlertRule) -> str:
    """Return the metric of which a rule compares two readings; empty: none, or one of devices."""
    if rule.device or not has_memory(rule):
        return ""
    return rule.metric if rule.kind != "changed" else "uptime_seconds" if rule.metric == "boot" else ""


def hold_of(rule: AlertRule, hold: int) -> int:
    """Return the milliseconds for which a value of the rule counts. `hold`: those of a sample."""
    return max(hold, SERIES_HOLD) if rule.device else hold


def measure(rule: AlertRule, point: SamplePoint, earlier: EarlierSamples, hold: int) -> MeasuredValue | None:
    """Return the value of a rule that samples decide; None if this one says nothing about it. `hold`: see `hold_of`."""
    if not rule.device:
        return MeasuredValue(read_value(rule, point, earlier, hold))
    if not point.series:
        return None
    if not rule.kind.startswith("rate-"):
        return worst_device(rule, point.series)
    passed = point.at - earlier.series_at
    if not 0 < passed <= hold_of(rule, hold):
        return MeasuredValue(None)
    return worst_rate(rule, point.series, earlier.series, passed / 1000)


def read_metric(point: SamplePoint, metric: str) -> float | None:
    """Return a vital or an extra metric."""
    value: float | None = getattr(point.vitals, metric) if metric in _VITALS else point.extra.get(metric)
    return value


def read_value(rule: AlertRule, point: SamplePoint, earlier: EarlierSamples, hold: int) -> float | None:
    """Return the value of a rule about no device that samples decide; of `no-data`, a bit mask of the missing metrics.

    A rate is not computed over a longer time than `hold` milliseconds.
    """
    kind = rule.kind
    if kind in ("above", "below"):
        return read_metric(point, rule.metric)
    if kind == "no-data":
        names = (rule.metric,) if rule.metric else HEALTH_METRICS
        return float(sum((read_metric(point, name) is None) << bit for bit, name in enumerate(names)))
    if kind == "clock":
        return abs(point.clock_offset) / 1000
    metric, passed = compared_metric(rule), point.at - earlier.at
    now, before = read_metric(point, metric), earlier.readings.get(metric)
    if kind == "changed":
        return has_booted(now, before, passed)
    return increase_per_second(now, before, passed) if 0 < passed <= hold else None


def increase_per_second(now: float | None, before: float | None, milliseconds: int) -> float | None:
    """Return the rate of a counter over a time that is not 0; None if it is not known."""
    if now is None or before is None or now < before:
        return None
    return (now - before) * 1000 / milliseconds


def has_booted(uptime: float | None, before: float | None, milliseconds: int) -> float | None:
    """Return 1 if a machine booted between two readings of its uptime in seconds, 0 if not; None: cannot tell."""
    if uptime is None or before is None:
        return None
    return float(milliseconds - (uptime - before) * 1000 > _BOOT_TOLERANCE)
