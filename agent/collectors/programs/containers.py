"""Containers of Docker and Podman."""

import os
from pathlib import Path
from time import monotonic

from agent.collector import DetailCollector, Details, Item
from agent.host.calls.in_parallel import in_parallel
from agent.host.container_engine import Container, ContainerUse, container_use, containers, restart_count
from agent.host.selection import Selection
from runtime.settings.agent import AgentSettings
from schemas.contract.facts import FactValue, Judgement
from schemas.contract.messages import Metric

PARALLEL_CALLS = 8
USE_SECONDS = 15.0
"""Time for the statistics of all containers; those that are not there by then are null."""

INSPECT_SECONDS = 300.0
_JUDGEMENTS: dict[str, Judgement] = {"restarting": "critical", "dead": "critical", "paused": "fair", "running": "good"}
_OF_HEALTH: dict[str, Judgement] = {"unhealthy": "critical", "starting": "unknown", "healthy": "good"}
_ORDER = ("critical", "unknown", "fair", None, "good")


class _Engine:
    """The containers of one socket, and what was read of them before."""

    def __init__(self, socket: str) -> None:
        self.socket = socket
        self.use: dict[str, ContainerUse] = {}
        self.before: dict[str, ContainerUse] = {}
        self.restarts: dict[str, tuple[str, float, int]] = {}
        """Number of restarts by id, with the state in which and the time when it was read."""

    def read(self, found: list[Container]) -> None:
        """Read the statistics of these containers, and the restarts of those that changed."""
        running = [each.id for each in found if each.state == "running"]
        self.before = self.use
        self.use = in_parallel(
            lambda id_: container_use(self.socket, id_), running, workers=PARALLEL_CALLS, seconds=USE_SECONDS
        )
        states = {each.id: f"{each.state} {each.health}" for each in found}
        now = monotonic()
        young = {each.id for each in found if "second" in each.status or each.state == "restarting"}
        known = {id_: known for id_, known in self.restarts.items() if id_ in states}
        due = [id_ for id_, state in states.items() if id_ in young or _is_old(known.get(id_), state, now)]
        counts = in_parallel(
            lambda id_: restart_count(self.socket, id_), due, workers=PARALLEL_CALLS, seconds=USE_SECONDS / 3
        )
        self.restarts = known | {id_: (states[id_], now, count) for id_, count in counts.items()}


class Containers(DetailCollector):
    """State, health and restarts of all containers; processor, memory and network of those that run.

    `container_cpu_percent` is the share of all processors of the machine. The busiest come first in the series, the
    worst first in the facts. The setting `containers` leaves some out; `container_sockets` are the sockets, for which
    the agent needs the permission to write: that is root's, or a proxy's that only permits reading.
    """

    metrics = (
        Metric(name="container_cpu_percent", unit="percent", title="CPU", device="container"),
        Metric(name="container_memory_bytes", unit="bytes", title="Memory", device="container"),
        Metric(name="container_received_bytes", unit="bytes", title="Received", kind="counter", device="container"),
        Metric(name="container_sent_bytes", unit="bytes", title="Sent", kind="counter", device="container"),
    )
    facts = ("containers",)
    timeout_seconds = 30.0
    needs = "Docker or Podman, and the permission to write to its socket"
    cost = "1 ms for each container"

    def __init__(self, settings: AgentSettings) -> None:
        super().__init__(settings)
        self._selection = Selection(settings.containers)
        self._engines: dict[str, _Engine] = {}

    def present(self) -> bool:
        """Return True if there is a socket that the agent may use."""
        return bool(self._sockets())

    def collect(self) -> Details:
        """Return the containers of all engines. Raises OSError if none of them answers."""
        sockets = self._sockets()
        self._engines = {path: self._engines.get(path) or _Engine(path) for path in sockets}
        found: dict[str, tuple[_Engine, Container]] = {}
        errors = []
        for engine in self._engines.values():
            try:
                listed = containers(engine.socket)
            except OSError as error:
                errors.append(error)
                continue
            chosen = [each for each in listed if self._selection.includes(each.name, default=True)]
            engine.read(chosen)
            found |= {each.name: (engine, each) for each in chosen}
        if errors and not found:
            raise errors[0]
        return _details(found)

    def _sockets(self) -> list[str]:
        """Return the sockets, each once: that of Docker may be a link to Podman's."""
        real = (Path(path).resolve() for path in self.settings.container_sockets)
        return list(dict.fromkeys(str(path) for path in real if path.is_socket() and os.access(path, os.W_OK)))


def _details(found: dict[str, tuple[_Engine, Container]]) -> Details:
    details = Details(facts={"containers": {}})
    load = {name: _cpu_percent(engine, each.id) for name, (engine, each) in found.items() if each.state == "running"}
    for name in sorted(load, key=lambda name: (-(load[name] or 0), name)):
        engine, container = found[name]
        use = engine.use.get(container.id)
        if use is None or container.id in engine.before:
            details.add(name, container_cpu_percent=load[name])
        details.add(name, container_memory_bytes=use.memory_bytes if use else None)
        if use is not None and use.received_bytes is not None:  # not a container in the network of the host
            details.add(name, container_received_bytes=use.received_bytes, container_sent_bytes=use.sent_bytes)
    items = {name: _item(engine, each) for name, (engine, each) in found.items()}
    for name in sorted(items, key=lambda name: (_ORDER.index(items[name].health), name)):
        details.facts["containers"][name] = items[name]
    return details


def _cpu_percent(engine: _Engine, id_: str) -> float | None:
    use, then = engine.use.get(id_), engine.before.get(id_)
    if use is None or then is None or use.at <= then.at or use.cpu_seconds < then.cpu_seconds:
        return None  # not read, or started again
    return min(100.0, 100 * (use.cpu_seconds - then.cpu_seconds) / (use.at - then.at) / (os.cpu_count() or 1))


def _item(engine: _Engine, container: Container) -> Item:
    restarts = engine.restarts.get(container.id)
    fields: dict[str, FactValue] = {
        "state": container.state,
        "health": container.health or None,
        "image": container.image,
        "exit_code": container.exit_code,
        "restart_count": restarts[2] if restarts else None,
    }
    health = _OF_HEALTH.get(container.health) if container.state == "running" else None
    if container.exit_code:
        health = "fair"
    shown = {name: value for name, value in fields.items() if value is not None}
    return Item(shown, health or _JUDGEMENTS.get(container.state))


def _is_old(known: tuple[str, float, int] | None, state: str, now: float) -> bool:
    return known is None or known[0] != state or now - known[1] >= INSPECT_SECONDS
