"""Containers of Docker or Podman, through the API that both have on a Unix socket (Docker Engine API 1.24 and later).

Invariants:
- The answer of an engine is checked field by field: other types than expected are as if the field were missing.
- Counters are compared by the engine's own times, because `one-shot` statistics of Docker before 25 take a second each.
"""

import re
from datetime import datetime
from typing import Any, NamedTuple
from urllib.parse import quote

from agent.host.calls.unix_http import get_json

CALL_SECONDS = 5.0
_HEALTH = re.compile(r"\((?:health: )?(healthy|unhealthy|starting)\)")
_EXIT_CODE = re.compile(r"Exited \((\d+)\)")


class Container(NamedTuple):
    """A container in the list of its engine. `status` is its text for people, such as `Up 2 hours (healthy)`."""

    id: str
    name: str
    image: str
    state: str
    status: str

    @property
    def health(self) -> str:
        """Result of the health check, empty if the container has none."""
        found = _HEALTH.search(self.status)
        return found[1] if found else ""

    @property
    def exit_code(self) -> int | None:
        """Exit code of a container that has ended."""
        found = _EXIT_CODE.match(self.status)
        return int(found[1]) if found else None


class ContainerUse(NamedTuple):
    """Resources that a container has used at a time, in seconds of the engine's clock."""

    at: float
    cpu_seconds: float
    memory_bytes: int | None
    received_bytes: int | None
    sent_bytes: int | None


def containers(socket: str) -> list[Container]:
    """Return all containers of an engine, also those that do not run. Raises OSError."""
    answer = get_json(socket, "/containers/json?all=1", seconds=CALL_SECONDS)
    found = (_container(entry) for entry in answer if isinstance(entry, dict)) if isinstance(answer, list) else ()
    return [container for container in found if container is not None]


def restart_count(socket: str, container_id: str) -> int:
    """Return how often the engine has started a container again. Raises OSError."""
    answer = get_json(socket, f"/containers/{quote(container_id)}/json", seconds=CALL_SECONDS)
    return _integer(_part(answer, "RestartCount")) or 0


def container_use(socket: str, container_id: str) -> ContainerUse:
    """Return what a running container uses. Raises OSError, or ValueError for an answer without it."""
    target = f"/containers/{quote(container_id)}/stats?stream=false&one-shot=true"
    answer = get_json(socket, target, seconds=CALL_SECONDS)
    cpu, memory = _part(answer, "cpu_stats", "cpu_usage", "total_usage"), _part(answer, "memory_stats")
    nanoseconds, used = _integer(cpu), _integer(_part(memory, "usage"))
    if nanoseconds is None:
        raise ValueError("no processor time")
    cache = _integer(_part(memory, "stats", "inactive_file")) or _integer(_part(memory, "stats", "total_inactive_file"))
    networks = _part(answer, "networks")
    interfaces = list(networks.values()) if isinstance(networks, dict) else []
    return ContainerUse(
        _seconds(str(_part(answer, "read"))),
        nanoseconds / 1e9,
        None if used is None else max(0, used - (cache or 0)),
        sum(_integer(_part(each, "rx_bytes")) or 0 for each in interfaces) if interfaces else None,
        sum(_integer(_part(each, "tx_bytes")) or 0 for each in interfaces) if interfaces else None,
    )


def _container(entry: dict[str, Any]) -> Container | None:
    names = entry.get("Names")
    name = names[0] if isinstance(names, list) and names else entry.get("Id")
    id_, image, state, status = (entry.get(field) for field in ("Id", "Image", "State", "Status"))
    if not isinstance(name, str) or not isinstance(id_, str) or not isinstance(state, str):
        return None
    return Container(id_, name.lstrip("/"), str(image or ""), state.lower(), str(status or ""))


def _part(answer: object, *names: str) -> Any:  # noqa: ANN401 - JSON
    for name in names:
        answer = answer.get(name) if isinstance(answer, dict) else None
    return answer


def _integer(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def _seconds(timestamp: str) -> float:
    """Return the seconds of a time such as 2026-01-02T03:04:05.123456789Z. Raises ValueError."""
    return datetime.fromisoformat(re.sub(r"(\.\d{6})\d*", r"\1", timestamp)).timestamp()
