"""Texts that describe alert rules. Pure."""

from collections.abc import Mapping
from typing import Final

from dashboard.facts import texts as fact_texts
from dashboard.i18n import text
from dashboard.i18n.language import Marked, _, marked
from dashboard.i18n.text import Word
from schemas.alerts.condition import Condition
from schemas.contract.alert_rules import AlertRule

KINDS: Final[Mapping[str, Marked]] = {
    "above": marked("Metric is at or above a value"),
    "below": marked("Metric is at or below a value"),
    "rate-above": marked("Counter grows at least this fast"),
    "rate-below": marked("Counter grows at most this fast"),
    "no-data": marked("Metric cannot be read"),
    "unhealthy": marked("Container, service or check is unhealthy"),
    "changed": marked("Machine booted, or a version, service or device changed"),
    "disk-full": marked("Disk will be full soon"),
    "away": marked("Machine is offline"),
    "clock": marked("Clock is wrong"),
    "rejected": marked("Messages are rejected"),
}
METRICS: Final[Mapping[str, Marked]] = {
    "cpu_percent": marked("CPU usage (%)"),
    "memory_percent": marked("Memory usage (%)"),
    "memory_used_bytes": marked("Memory used (bytes)"),
    "disk_percent": marked("Disk usage (%)"),
    "disk_used_bytes": marked("Disk used (bytes)"),
    "swap_percent": marked("Swap usage (%)"),
    "uptime_seconds": marked("Uptime (s)"),
    "load_1m": marked("Load average (1 min)"),
    "network_received_bytes": marked("Network received (bytes)"),
    "network_sent_bytes": marked("Network sent (bytes)"),
    "process_count": marked("Processes"),
    "temperature_celsius": marked("Temperature (°C)"),
}
CHANGES: Final[Mapping[str, Marked]] = {
    "boot": marked("Boot"),
    "agent_version": marked("Version of the agent"),
    "os_version": marked("Version of the operating system"),
}
ABOUT_FACTS: Final = ("unhealthy", "changed")
"""Kinds of rules whose metric may be a kind of facts."""

SEVERITIES: Final[Mapping[str, Marked]] = {"warning": marked("Warning"), "critical": marked("Critical")}


def metric(name: str) -> str:
    """Return the title of a metric; an extra metric is named as it is sent."""
    if not name:
        return _("CPU, memory or disk")
    if name in fact_texts.KINDS:
        return fact_texts.title(name)
    known = METRICS.get(name) or CHANGES.get(name)
    return name if known is None else _(known)


def condition(rule: AlertRule, threshold: float | None = None) -> str:
    """Return the condition. `threshold`: the value that counts if the rule takes it from the health parameters."""
    value = rule.threshold if rule.threshold is not None else threshold
    shown = _("critical for the health") if value is None else text.number(value)
    if rule.threshold is None and value is not None:
        shown = _("{value} (health settings)", value=shown)
    named = metric(rule.metric)
    if rule.kind in ABOUT_FACTS:
        named = f"{named} ({rule.device})" if rule.device not in ("", "*") else named
    elif rule.device:
        named = _("{metric} of any device", metric=named) if rule.device == "*" else f"{named} ({rule.device})"
    return {
        "above": f"{named} ≥ {shown}",
        "below": f"{named} ≤ {shown}",
        "rate-above": f"{named} ≥ {shown}/s",
        "rate-below": f"{named} ≤ {shown}/s",
        "no-data": _("Cannot be read: {metric}", metric=named),
        "changed": _("Changed: {what}", what=named),
        "unhealthy": _("Warning or critical: {what}", what=named)
        if rule.threshold == 1
        else _("Critical: {what}", what=named),
        "disk-full": _("File system {mount} full within {days} d", mount=rule.device, days=shown)
        if rule.device
        else _("Disk full within {days} d", days=shown),
        "away": _("Offline without a graceful stop"),
        "clock": _("Clock wrong by {seconds} s or more", seconds=shown),
        "rejected": _("{count} or more rejected messages within 1 h", count=shown),
    }[rule.kind]


def applied(found: Condition) -> str:
    """Return the condition of a rule with the thresholds that count, and its duration."""
    shown = condition(found.rule, found.on)
    return shown if not found.for_ else _("{condition} for {duration}", condition=shown, duration=duration(found.rule))


def duration(rule: AlertRule) -> str:
    """Return the duration before an alert begins."""
    return text.duration(rule.for_seconds) if rule.for_seconds else _("at once")


def severity(rule: AlertRule) -> Word:
    """Return the severity of a rule, or that it is disabled."""
    if not rule.enabled:
        return Word(_("Disabled"), "muted")
    return Word(_(SEVERITIES[rule.severity]), "bad" if rule.severity == "critical" else "fair")


def machines(rule: AlertRule) -> str:
    """Return the machines that a rule selects."""
    return rule.selector.described() or _("All machines")
