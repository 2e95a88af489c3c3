"""A machine that went silent without a graceful stop, and has not come back."""

from ingestor.alerts.rule import Facts, rule
from ingestor.domain.presence import Presence

SENTENCES = {
    "lost": "the connection was lost",
    "silent": "no data received",
    "expired": "no data received for too long",
}


@rule(title="Machine offline", severity="critical", after_seconds=60, over_after_seconds=0)
def away(facts: Facts) -> str | None:
    """Hold for a lost or silent machine. Many that went silent together are one incident, not an alert each."""
    state = facts.machine.state
    if state.presence not in (Presence.OFFLINE, Presence.EXPIRED):
        return "" if state.verified else None
    sentence = SENTENCES.get(state.reason, "")
    return None if sentence and facts.mass_silence else sentence
