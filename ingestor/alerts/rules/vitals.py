"""What the rules about vitals share."""

from ingestor.alerts.rule import Facts
from ingestor.domain.presence import Presence
from schemas.contract.messages import Component
from schemas.fleet.health import worth


def reports(facts: Facts) -> bool:
    """Whether the machine's last sample says how it is now."""
    return facts.machine.state.presence is Presence.ONLINE and facts.machine.state.verified


def exhausted(facts: Facts, percent: float | None, component: Component) -> str | None:
    """How much is used, when that alone makes the health critical (`schemas.fleet.health`)."""
    if percent is None or not reports(facts):
        return None
    return (
        f"{percent:.0f} %"
        if worth(percent, component.knee_percent) <= facts.config.thresholds.component_critical
        else ""
    )
