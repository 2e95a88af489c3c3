"""A machine that is about to run out of memory."""

from ingestor.alerts.rule import Facts, rule
from ingestor.alerts.rules.vitals import exhausted


@rule(title="Memory nearly full", severity="critical", after_seconds=300)
def memory(facts: Facts) -> str | None:
    """As the organisation's thresholds say: when it alone makes a machine's health critical."""
    return exhausted(facts, facts.machine.latest.vitals.memory_percent, facts.config.thresholds.memory)
