"""A machine whose clock is wrong by more than TOLERANCE_SECONDS."""

from ingestor.alerts.rule import Facts, rule

TOLERANCE_SECONDS = 60


@rule(title="Clock off", severity="warning", after_seconds=300)
def clock(facts: Facts) -> str | None:
    """Hold for a wrong clock: the history is corrected for it; logs and certificates on the machine are not."""
    offset = facts.machine.clock.milliseconds
    if offset is None:
        return None
    seconds = round(abs(offset) / 1000)
    return "" if seconds < TOLERANCE_SECONDS else f"{'-' if offset > 0 else '+'}{seconds} s"
