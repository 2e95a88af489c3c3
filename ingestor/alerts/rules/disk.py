"""A machine that is about to run out of disk space."""

from ingestor.alerts.rule import Facts, rule
from ingestor.alerts.rules.vitals import exhausted


@rule(title="Disk nearly full", severity="critical", after_seconds=60)
def disk(facts: Facts) -> str | None:
    """Hold when this component alone makes the machine's health critical, by the organisation's thresholds."""
    return exhausted(facts, facts.machine.latest.vitals.disk_percent, facts.config.thresholds.disk)
