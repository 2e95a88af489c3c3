"""Input and output of disks."""

import re
from collections.abc import Iterator
from pathlib import Path
from time import monotonic
from typing import NamedTuple

from agent.collector import DetailCollector, Details, Item
from agent.host.small_files import read_number, read_text
from runtime.settings.agent import AgentSettings
from schemas.contract.facts import FactValue
from schemas.contract.messages import Metric

STATISTICS_FILE = Path("/proc/diskstats")
BLOCKS = Path("/sys/block")
SECTOR_BYTES = 512
"""The kernel counts in sectors of this size, whatever the disk's."""

_HIDDEN = re.compile(r"(loop|ram|zram|sr|fd|dm-|nbd|mtdblock)\d|.*boot\d$|.*rpmb$")
SHORTEST_SECONDS = 1.0


class _Activity(NamedTuple):
    read: int
    written: int
    busy_milliseconds: int


class DiskActivity(DetailCollector):
    """Bytes read and written since boot by each disk, and the share of time in which it was busy.

    Partitions, loop devices and logical volumes are left out: their disks count the same bytes.
    """

    metrics = (
        Metric(name="disk_read_bytes", unit="bytes", title="Read", kind="counter", device="disk"),
        Metric(name="disk_written_bytes", unit="bytes", title="Written", kind="counter", device="disk"),
        Metric(name="disk_busy_percent", unit="percent", title="Busy", device="disk"),
    )
    facts = ("disks",)
    devices_max = 32

    def __init__(self, settings: AgentSettings) -> None:
        super().__init__(settings)
        self._before: dict[str, _Activity] = {}
        self._before_at = 0.0

    def present(self) -> bool:
        """Return True if the kernel counts, which some containers hide."""
        return STATISTICS_FILE.exists()

    def collect(self) -> Details:
        """Return the counters of the disks that were ever used, the busiest first."""
        details = Details(facts={"disks": {}})
        now, at = dict(_read()), monotonic()
        seconds = at - self._before_at
        for name in sorted(now, key=lambda name: (-now[name].busy_milliseconds, name)):
            found, then = now[name], self._before.get(name)
            details.add(name, disk_read_bytes=found.read, disk_written_bytes=found.written)
            if then is not None and seconds >= SHORTEST_SECONDS:
                busy = (found.busy_milliseconds - then.busy_milliseconds) / (10 * seconds)
                details.add(name, disk_busy_percent=min(100.0, max(0.0, busy)))
            details.facts["disks"][name] = Item(_described(name))
        self._before, self._before_at = now, at
        return details


def _read() -> Iterator[tuple[str, _Activity]]:
    for line in read_text(STATISTICS_FILE).splitlines():
        words = line.split()
        if len(words) < 13 or _HIDDEN.match(words[2]) or not (BLOCKS / words[2].replace("/", "!")).exists():
            continue
        found = _Activity(int(words[5]) * SECTOR_BYTES, int(words[9]) * SECTOR_BYTES, int(words[12]))
        if any(found):
            yield words[2], found


def _described(name: str) -> dict[str, FactValue]:
    block = BLOCKS / name.replace("/", "!")
    model, sectors = read_text(block / "device" / "model"), read_number(block / "size")
    rotational = read_number(block / "queue" / "rotational")
    fields: dict[str, FactValue] = {
        "model": " ".join(model.split()) or None,
        "size_bytes": sectors * SECTOR_BYTES if sectors else None,
        "rotational": None if rotational is None else bool(rotational),
    }
    return {field: value for field, value in fields.items() if value is not None}
