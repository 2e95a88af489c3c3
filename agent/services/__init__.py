"""Service managers, in the order in which they are tried."""

from agent.service import Service
from agent.services import launchd, openrc, systemd, windows_task

SERVICES: tuple[Service, ...] = (systemd.SERVICE, openrc.SERVICE, launchd.SERVICE, windows_task.SERVICE)


def find_service() -> Service | None:
    """Return the service manager of this machine; None if there is none, as in a container."""
    return next((service for service in SERVICES if service.is_here()), None)
