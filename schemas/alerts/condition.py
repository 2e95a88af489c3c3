"""Conditions of alert rules: the number that a rule compares, and its verdict on it.

Invariants:
- Three verdicts: true, false, and None for "cannot tell". A missing reading is never false.
- While an alert is active the clear threshold counts, so that a reading between the two changes nothing.
"""

from dataclasses import dataclass

from schemas.alerts.item_health import UNHEALTHY_DEFAULT
from schemas.contract.alert_rules import AlertRule, health_threshold
from schemas.contract.org_config import Thresholds

DETAIL_MAX = 256
HEALTH_WORDS = ("CPU", "Memory", "Disk")
"""The metrics of HEALTH_METRICS in words."""

_DEFAULT_THRESHOLDS = Thresholds()


@dataclass(frozen=True, slots=True)
class Condition:
    """A rule with its thresholds resolved. Durations in milliseconds. `since`: the rule does not look further back."""

    rule: AlertRule
    on: float
    """Value from which, or up to which, the condition is fulfilled."""
    off: float
    """The same while an alert is active."""
    for_: int
    clear: int
    since: int = 0
    is_lower: bool = False

    def is_same_rule(self, other: "Condition") -> bool:
        """Return whether this is the same rule, unchanged, perhaps with another threshold of the health parameters."""
        return (self.rule, self.since) == (other.rule, other.since)

    def verdict(self, value: float | None, *, active: bool) -> bool | None:
        """Return whether the value fulfils the condition; None if it is missing."""
        if value is None:
            return None
        bound = self.off if active else self.on
        return value <= bound if self.is_lower else value >= bound


def resolve(rule: AlertRule, thresholds: Thresholds = _DEFAULT_THRESHOLDS, since: int = 0) -> Condition:
    """Return the condition of a rule. `thresholds`: the health parameters of its organisation."""
    on = rule.threshold
    if on is None:
        usual = UNHEALTHY_DEFAULT if rule.kind == "unhealthy" else 1.0
        on = health_threshold(rule.metric, thresholds) if rule.kind == "above" else usual
    off = on if rule.clear_threshold is None else rule.clear_threshold
    for_, clear = (round(seconds * 1000) for seconds in (rule.for_seconds, rule.clear_seconds))
    return Condition(rule, on, off, for_, clear, since, rule.is_lower)


def describe_value(rule: AlertRule, value: float | None, device: str = "") -> str:
    """Return the value that began an alert, as text for people; the metric is in the title of the rule."""
    if value is None or rule.kind == "away":
        return ""
    if device:
        return f"{device}: {describe_value(rule, value)}"
    if rule.kind == "changed":
        return "changed"
    if rule.kind == "unhealthy":
        return "critical" if value >= UNHEALTHY_DEFAULT else "warning"
    if rule.kind == "disk-full":
        return f"full in {value:.1f} d"
    if rule.kind == "no-data":
        return rule.metric or missing_words(value)
    if rule.kind == "clock":
        return f"{value:.0f} s"
    if rule.kind == "rejected":
        return f"{value:.0f} messages"
    suffix = "/s" if rule.kind.startswith("rate-") else ""
    unit = " %" if rule.metric.endswith("_percent") else " °C" if rule.metric.endswith("_celsius") else ""
    return f"{_plain(value) if not unit else f'{value:.0f}'}{unit}{suffix}"


_UNITS = ("percent", "bytes", "celsius", "seconds")


def unit_of(rule: AlertRule) -> str | None:
    """Return the unit of the value that a rule compares, named as in `Info`; None if it has none."""
    kinds = {"clock": "seconds", "disk-full": "days"}
    if rule.kind in kinds:
        return kinds[rule.kind]
    unit = rule.metric.rpartition("_")[2]
    if unit not in _UNITS:
        return None
    return f"{unit}/s" if rule.kind.startswith("rate-") else unit


def missing_words(mask: float) -> str:
    """Return the vitals of the health score that a bit mask names, `Memory, Disk`."""
    return ", ".join(word for bit, word in enumerate(HEALTH_WORDS) if int(mask) >> bit & 1)


def _plain(value: float) -> str:
    return f"{value:,.0f}".replace(",", "\N{THIN SPACE}") if abs(value) >= 1000 else f"{value:.4g}"
