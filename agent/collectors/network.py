"""Network traffic."""

from collections.abc import Iterator
from typing import Any

import psutil

from agent.collector import Collector, Readings
from agent.host.interfaces import real_interfaces
from runtime.settings.agent import AgentSettings
from schemas.contract.messages import Metric


class Network(Collector):
    """Bytes since boot over the interfaces of real devices; readers derive rates from them.

    After the first sample each interface adds what it has counted since the sample before: one that arrives adds
    nothing of its past, and one that leaves takes nothing away.
    """

    metrics = (
        Metric(name="network_received_bytes", unit="bytes", title="Network, received", kind="counter"),
        Metric(name="network_sent_bytes", unit="bytes", title="Network, sent", kind="counter"),
    )

    def __init__(self, settings: AgentSettings) -> None:
        super().__init__(settings)
        self._before: dict[str, tuple[int, int]] = {}
        self._totals: tuple[int, int] | None = None

    def collect(self) -> Readings:
        """Return the counters, which decrease only when the machine or the agent starts again."""
        counters: dict[str, Any] = psutil.net_io_counters(pernic=True)
        now = {name: (counters[name].bytes_recv, counters[name].bytes_sent) for name in real_interfaces(counters)}
        if self._totals is None:
            self._totals = _sums(iter(now.values()))
        else:
            received, sent = _sums(_growth(*self._before[name], *now[name]) for name in now.keys() & self._before)
            self._totals = self._totals[0] + received, self._totals[1] + sent
        self._before.update(now)
        return {"network_received_bytes": self._totals[0], "network_sent_bytes": self._totals[1]}


def _growth(received: int, sent: int, received_now: int, sent_now: int) -> tuple[int, int]:
    return max(0, received_now - received), max(0, sent_now - sent)


def _sums(pairs: Iterator[tuple[int, int]]) -> tuple[int, int]:
    received = sent = 0
    for more_received, more_sent in pairs:
        received, sent = received + more_received, sent + more_sent
    return received, sent
