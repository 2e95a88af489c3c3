"""A machine that reports, but cannot read one of the vitals of its health score."""

from ingestor.alerts.rule import Facts, rule
from ingestor.alerts.rules.vitals import reports

VITALS = {"cpu_percent": "CPU", "memory_percent": "Memory", "disk_percent": "Disk"}


@rule(title="Metrics unavailable", severity="warning", after_seconds=600)
def unmeasured(facts: Facts) -> str | None:
    """Hold while a vital is missing: an unknown health is not a good one."""
    latest = facts.machine.latest
    if not reports(facts) or latest.sampled_at is None:
        return None
    return ", ".join(word for name, word in VITALS.items() if getattr(latest.vitals, name) is None)
