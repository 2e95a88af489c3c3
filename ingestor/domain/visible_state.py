"""The state of a machine as readers see it (`schemas.contract.presence`). Pure."""

from collections.abc import Collection
from typing import NamedTuple

from ingestor.domain.alert import Alert
from ingestor.domain.machine import Machine
from ingestor.domain.presence import Presence, is_online
from schemas.fleet.health import HealthStatus


class VisibleState(NamedTuple):
    """Content of a presence message, except the time at which the machine was last heard. `health` is the last field.

    `since`: milliseconds of the server's clock. `warnings`, `criticals`: numbers of open alerts.
    """

    presence: Presence
    reason: str
    since: int
    verified: bool
    warnings: int
    criticals: int
    hostname: str
    agent_version: str
    health: HealthStatus

    def differs_in_health_only(self, before: "VisibleState") -> bool:
        """Return whether everything but the health is as before."""
        return self[:-1] == before[:-1]

    def is_of(self, machine: Machine) -> bool:
        """Return whether `visible_state` returns this for a machine without open alerts; in half the time."""
        state, described = machine.state, machine.description
        return (
            self.presence is state.presence
            and self.since == state.since_at
            and self.health is (machine.latest.health.status if is_online(state) else HealthStatus.UNKNOWN)
            and self.verified == state.verified
            and not self.warnings
            and not self.criticals
            and self.reason == state.reason
            and self.hostname == described.hostname
            and self.agent_version == described.agent_version
        )


def visible_state(machine: Machine, open_alerts: Collection[Alert]) -> VisibleState:
    """Return what readers see of a machine with these open alerts. It has no health while it is not verified online."""
    state, described = machine.state, machine.description
    criticals = sum(alert.severity == "critical" for alert in open_alerts) if open_alerts else 0
    return VisibleState(
        state.presence,
        state.reason,
        state.since_at,
        state.verified,
        len(open_alerts) - criticals,
        criticals,
        described.hostname,
        described.agent_version,
        machine.latest.health.status if is_online(state) else HealthStatus.UNKNOWN,
    )
