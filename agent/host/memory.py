"""Memory and swap space of this machine, or of the container that the agent runs in."""

import sys
from pathlib import Path
from typing import NamedTuple

import psutil

from agent.host import cgroup
from agent.host.small_files import read_table

_PROC = Path("/proc")
_ARC_STATISTICS = _PROC / "spl/kstat/zfs/arcstats"


class MemoryUse(NamedTuple):
    """Bytes in total and in use."""

    total: int
    used: int

    @property
    def percent(self) -> float:
        """Share in use, 0 to 100."""
        return round(min(100.0, 100 * self.used / self.total), 1)


def memory() -> MemoryUse | None:
    """Return the memory that is not available to programs, within the container's limit; None if it cannot be read.

    The ZFS cache counts as available as far as ZFS evicts it; where LXC mounts
    over /proc/meminfo, the cache is the host's and does not count.
    """
    host = _of_linux() if sys.platform == "linux" else _elsewhere()
    limit = cgroup.memory_limit() if sys.platform == "linux" else None
    if limit is not None and (host is None or limit[0] < host.total):
        return MemoryUse(*limit)
    return host


def swap() -> MemoryUse | None:
    """Return the swap space; None if there is none, or it cannot be read."""
    if sys.platform != "linux":
        found = psutil.swap_memory()
        return MemoryUse(found.total, found.used) if found.total else None
    table = read_table(_PROC / "meminfo")
    total, free = table.get("SwapTotal"), table.get("SwapFree")
    return MemoryUse(total << 10, max(0, total - free) << 10) if total and free is not None else None


def _of_linux() -> MemoryUse | None:
    table = read_table(_PROC / "meminfo")
    total = table.get("MemTotal", 0) << 10
    parts = ("MemAvailable",) if "MemAvailable" in table else ("MemFree", "Buffers", "Cached")
    if total <= 0 or parts[0] not in table:
        return None
    available = sum(table.get(part, 0) for part in parts) << 10
    if not _is_mounted_over(_PROC / "meminfo"):
        cache = read_table(_ARC_STATISTICS, column=2)
        available += max(0, cache.get("size", 0) - cache.get("c_min", 0))
    return MemoryUse(total, max(0, total - available))


def _elsewhere() -> MemoryUse:
    found = psutil.virtual_memory()
    return MemoryUse(found.total, found.total - found.available)


def _is_mounted_over(path: Path) -> bool:
    try:
        return path.stat().st_dev != path.parent.stat().st_dev
    except OSError:
        return False
