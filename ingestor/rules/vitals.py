"""What the rules about vitals share."""

from ingestor.presence import Presence
from ingestor.rule import Facts
from schemas.health import worth
from schemas.messages import Component


def reports(facts: Facts) -> bool:
    """Whether the machine's last sample says how it is now."""
    return facts.machine.state.presence is Presence.ONLINE and facts.machine.state.verified


def exhausted(facts: Facts, percent: float | None, component: Component) -> str | None:
    """How much is used, when that alone makes the health critical (`schemas.health`)."""
    if percent is None or not reports(facts):
        return None
    return (
        f"{percent:.0f} %"
        if worth(percent, component.knee_percent) <= facts.config.thresholds.component_critical
        else ""
    )
