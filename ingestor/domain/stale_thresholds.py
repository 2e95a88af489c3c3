"""Silence after which a machine is stale, and after which it is offline.

The numbers are settings of the organisation (`schemas.contract.org_config.OrgConfig`, changed with
`dashfleet org configure` or on the settings page). `ingestor.domain.presence` applies them.
"""

from schemas.contract.org_config import OrgConfig


def stale_after_seconds(config: OrgConfig, interval_seconds: float) -> float:
    """Return the silence after which a machine with this sampling interval is stale."""
    return max(config.stale_intervals * interval_seconds, config.stale_seconds)


def offline_after_seconds(config: OrgConfig, interval_seconds: float) -> float:
    """Return the silence after which a machine with this sampling interval is offline."""
    return max(config.offline_intervals * interval_seconds, config.offline_seconds)
