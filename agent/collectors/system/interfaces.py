"""Network interfaces."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import psutil

from agent.collector import DetailCollector, Details, Item
from agent.host.selection import Selection
from agent.host.small_files import read_number, read_text
from runtime.settings.agent import AgentSettings
from schemas.contract.messages import Metric

COUNTERS_FILE = Path("/proc/net/dev")
INTERFACES = Path("/sys/class/net")
_HIDDEN = re.compile(
    r"(lo\d*$|Loopback|veth|vEthernet|docker|br-|virbr|vnet|tap|cni|cali|flannel|cilium|lxc|lxdbr|podman|nerdctl|ifb\d"
    r"|fw(br|ln|pr)|dummy\d|(sit|tunl|gre|gretap|erspan|ip6tnl|ip6gre|ip_vti|ip6_vti|teql)0$|awdl|llw|utun|gif|stf|anpi)"
)
"""Loopback, and what container managers, hypervisors and the kernel create; `interfaces` can name them."""


class _Counters(NamedTuple):
    received: int
    sent: int
    errors: int
    drops: int


class Interfaces(DetailCollector):
    """Counters of each interface since boot, in bytes and packets; the state of its link is in the facts.

    Interfaces of containers, bridges of container managers and loopback are reported if `interfaces` names them. A
    bridge, bond or VLAN counts the bytes of its members again, so a sum over interfaces is no total.
    """

    metrics = (
        Metric(name="network_received_bytes", unit="bytes", title="Received", kind="counter", device="interface"),
        Metric(name="network_sent_bytes", unit="bytes", title="Sent", kind="counter", device="interface"),
        Metric(name="network_error_count", unit="packets", title="Errors", kind="counter", device="interface"),
        Metric(name="network_drop_count", unit="packets", title="Dropped", kind="counter", device="interface"),
    )
    facts = ("interfaces",)
    devices_max = 32
    needs = "Linux, macOS or Windows"

    def __init__(self, settings: AgentSettings) -> None:
        super().__init__(settings)
        self._selection = Selection(settings.interfaces)

    def present(self) -> bool:
        """Return True everywhere: a machine that reports has an interface."""
        return True

    def collect(self) -> Details:
        """Return the counters of the chosen interfaces, those with traffic first."""
        details = Details(facts={"interfaces": {}})
        counters = dict(_of_linux() if COUNTERS_FILE.exists() else _elsewhere())
        chosen = [name for name in counters if self._selection.includes(name, default=not _HIDDEN.match(name))]
        for name in sorted(chosen, key=lambda name: (-sum(counters[name][:2]), name)):
            found = counters[name]
            state = read_text(INTERFACES / name / "operstate")
            details.add(
                name,
                network_received_bytes=found.received,
                network_sent_bytes=found.sent,
                network_error_count=found.errors,
                network_drop_count=found.drops,
            )
            details.facts["interfaces"][name] = Item(_fields(name, state))
        return details


def _fields(name: str, state: str) -> dict[str, str | float | bool | None]:
    megabits = read_number(INTERFACES / name / "speed") if state == "up" else None
    known = {"state": state or None, "speed_megabits": megabits if megabits and megabits > 0 else None}
    return {**{field: value for field, value in known.items() if value is not None}}


def _of_linux() -> Iterator[tuple[str, _Counters]]:
    for line in read_text(COUNTERS_FILE).splitlines()[2:]:
        name, _, numbers = line.rpartition(":")
        words = numbers.split()
        if name and len(words) >= 12 and all(word.isdecimal() for word in words[:12]):
            found = [int(word) for word in words]
            yield name.strip(), _Counters(found[0], found[8], found[2] + found[10], found[3] + found[11])


def _elsewhere() -> Iterator[tuple[str, _Counters]]:
    for name, found in psutil.net_io_counters(pernic=True).items():
        drops = found.dropin + found.dropout
        yield name, _Counters(found.bytes_recv, found.bytes_sent, found.errin + found.errout, drops)
