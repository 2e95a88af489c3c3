"""Functions shared by the rules about vitals."""

from ingestor.alerts.rule import Facts
from ingestor.domain.presence import Presence
from schemas.contract.org_config import Component
from schemas.fleet.health import worth


def reports(facts: Facts) -> bool:
    """Return whether the machine's last sample is current."""
    return facts.machine.state.presence is Presence.ONLINE and facts.machine.state.verified


def exhausted(facts: Facts, percent: float | None, component: Component) -> str | None:
    """Return the share in use if it alone makes the health critical (`schemas.fleet.health`)."""
    if percent is None or not reports(facts):
        return None
    return (
        f"{percent:.0f} %"
        if worth(percent, component.knee_percent) <= facts.config.thresholds.component_critical
        else ""
    )
