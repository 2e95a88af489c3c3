"""A machine whose CPU has had no rest for long."""

from ingestor.alerts.rule import Facts, rule
from ingestor.alerts.rules.vitals import exhausted


@rule(title="CPU at its limit", severity="warning", after_seconds=300)
def cpu(facts: Facts) -> str | None:
    """As the organisation's thresholds say: when it alone makes a machine's health critical."""
    return exhausted(facts, facts.machine.latest.vitals.cpu_percent, facts.config.thresholds.cpu)
