"""A machine that is about to run out of memory."""

from ingestor.alerts.rule import Facts, rule
from ingestor.alerts.rules.vitals import exhausted


@rule(title="Memory nearly full", severity="critical", after_seconds=300)
def memory(facts: Facts) -> str | None:
    """Hold when this component alone makes the machine's health critical, by the organisation's thresholds."""
    return exhausted(facts, facts.machine.latest.vitals.memory_percent, facts.config.thresholds.memory)
