"""Starting, stopping and restarting a container of Docker or Podman."""

from collections.abc import Iterable
from typing import Final
from urllib.parse import quote

from agent.host.calls.unix_http import post
from agent.host.container_engine import Container, containers

STOP_SECONDS: Final = 10
"""Time that a container has to end by itself before it is killed."""

CALL_SECONDS: Final = 60.0


def find_container(sockets: Iterable[str], name: str) -> tuple[str, Container] | None:
    """Return a container by its name, with the socket of its engine. Raises OSError if no engine answers."""
    problem: OSError | None = None
    for socket in sockets:
        try:
            listed = containers(socket)
        except OSError as error:
            problem = error
            continue
        for container in listed:
            if container.name == name:
                return socket, container
    if problem is not None:
        raise problem
    return None


def control(socket: str, container: Container, operation: str) -> bool:
    """Start, stop or restart a container; return False if it was in that state before. Raises OSError."""
    wait = "" if operation == "start" else f"?t={STOP_SECONDS}"
    status = post(socket, f"/containers/{quote(container.id, safe='')}/{operation}{wait}", seconds=CALL_SECONDS)
    return status != 304
