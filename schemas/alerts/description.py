"""Alert rules in words, for records of changes and the command line."""

from runtime.durations import duration
from schemas.contract.alert_rules import AlertRule

_CONDITIONS = {
    "above": "{metric} at least {threshold}",
    "below": "{metric} at most {threshold}",
    "rate-above": "{metric} increases by at least {threshold} per second",
    "rate-below": "{metric} increases by at most {threshold} per second",
    "no-data": "no {metric}",
    "changed": "{metric} changed",
    "disk-full": "disk full within {threshold} days",
    "away": "offline without a graceful stop",
    "clock": "clock wrong by at least {threshold} s",
    "rejected": "at least {threshold} messages rejected within an hour",
}


def describe_condition(rule: AlertRule) -> str:
    """Return the condition, `cpu_percent at least 90`."""
    metric = rule.metric or "CPU, memory or disk"
    metric += f" of {rule.device}" if rule.device else ""
    if rule.kind == "unhealthy":
        return f"{metric} critical{' or in warning' if rule.threshold == 1 else ''}"
    if rule.kind == "disk-full" and rule.device:
        return f"file system {rule.device} full within {rule.threshold:g} days"
    threshold = "the critical value of the health parameters" if rule.threshold is None else f"{rule.threshold:g}"
    return _CONDITIONS[rule.kind].format(metric=metric, threshold=threshold)


def describe_rule(rule: AlertRule) -> str:
    """Return the rule in one line: condition, durations, severity, machines, and whether it is disabled."""
    parts = [describe_condition(rule)]
    if rule.for_seconds:
        parts.append(f"for {duration(rule.for_seconds)}")
    if rule.clear_threshold is not None:
        parts.append(f"clear at {rule.clear_threshold:g}")
    parts.append(f"clear after {duration(rule.clear_seconds)}" if rule.clear_seconds else "clear at once")
    parts += [rule.severity, rule.selector.described() or "all machines"]
    return ", ".join([*parts, *([] if rule.enabled else ["disabled"])])
