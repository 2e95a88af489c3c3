"""Network traffic."""

import re

import psutil

from agent.collector import Collector, Readings
from schemas.contract.messages import Metric

_LOOPBACK = re.compile(r"lo\d*$|Loopback")


class Network(Collector):
    """Counters since boot, over all interfaces except loopback; readers derive rates from them."""

    metrics = (
        Metric(name="network_received_bytes", unit="bytes", title="Network, received"),
        Metric(name="network_sent_bytes", unit="bytes", title="Network, sent"),
    )

    def collect(self) -> Readings:
        """Return raw counters, which decrease only at a boot or when an interface is removed."""
        counters = psutil.net_io_counters(pernic=True)
        real = [counter for name, counter in counters.items() if not _LOOPBACK.match(name)]
        return {
            "network_received_bytes": sum(counter.bytes_recv for counter in real),
            "network_sent_bytes": sum(counter.bytes_sent for counter in real),
        }
