"""A machine that went without a goodbye, and has stayed away."""

from ingestor.presence import Presence
from ingestor.rule import Facts, rule

_SENTENCES = {
    "lost": "the connection was lost",
    "silent": "it fell silent",
    "expired": "it was not heard for longer than the organisation's time to live",
}


@rule(title="Away", severity="critical", after_seconds=60, over_after_seconds=0)
def away(facts: Facts) -> str | None:
    """Who said goodbye is not missed. Many that went together are one incident, not an alert each."""
    state = facts.machine.state
    if state.presence not in (Presence.OFFLINE, Presence.EXPIRED):
        return "" if state.verified else None
    sentence = _SENTENCES.get(state.reason, "")
    return None if sentence and facts.together else sentence
