"""How much went over the network."""

import re

import psutil

from agent.collector import Collector, Readings
from schemas.contract.messages import Metric

_LOOPBACK = re.compile(r"lo\d*$|Loopback")


class Network(Collector):
    """Counters over all interfaces but loopback since the boot; readers make rates of them."""

    metrics = (
        Metric(name="network_received_bytes", unit="bytes", title="Network, received"),
        Metric(name="network_sent_bytes", unit="bytes", title="Network, sent"),
    )

    def collect(self) -> Readings:
        """Raw counters: they never go down but at a boot or when an interface leaves."""
        counters = psutil.net_io_counters(pernic=True)
        real = [counter for name, counter in counters.items() if not _LOOPBACK.match(name)]
        return {
            "network_received_bytes": sum(counter.bytes_recv for counter in real),
            "network_sent_bytes": sum(counter.bytes_sent for counter in real),
        }
