"""A machine whose CPU is fully used."""

from ingestor.alerts.rule import Facts, rule
from ingestor.alerts.rules.vitals import exhausted


@rule(title="High CPU usage", severity="warning", after_seconds=300)
def cpu(facts: Facts) -> str | None:
    """Hold when this component alone makes the machine's health critical, by the organisation's thresholds."""
    return exhausted(facts, facts.machine.latest.vitals.cpu_percent, facts.config.thresholds.cpu)
