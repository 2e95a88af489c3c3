"""Limits of the container in which the agent runs, from the root of its cgroup namespace (version 2, then 1).

Only the root is read: on a host it has no limit, and a limit further down is that of a service, such as the agent's.
"""

from pathlib import Path

from agent.host.small_files import read_number, read_table, read_text

ROOT = Path("/sys/fs/cgroup")
UNLIMITED = 1 << 60
"""Version 1 has the largest number of pages in place of no limit."""


def memory_limit() -> tuple[int, int] | None:
    """Return the limit in bytes, and the bytes in use without the page cache that can be evicted. None: unlimited."""
    v1 = ROOT / "memory"
    for limit_file, used_file, statistics, cache in (
        (ROOT / "memory.max", ROOT / "memory.current", ROOT / "memory.stat", "inactive_file"),
        (v1 / "memory.limit_in_bytes", v1 / "memory.usage_in_bytes", v1 / "memory.stat", "total_inactive_file"),
    ):
        limit, used = read_number(limit_file), read_number(used_file)
        if limit and limit < UNLIMITED and used is not None:
            return limit, min(limit, max(0, used - read_table(statistics).get(cache, 0)))
    return None


def cpu_quota() -> float | None:
    """Return the number of processors that may be used at once; None: unlimited."""
    words = read_text(ROOT / "cpu.max").split()
    if len(words) != 2:
        words = [read_text(ROOT / "cpu" / f"cpu.cfs_{name}_us") for name in ("quota", "period")]
    if not all(word.isdecimal() and int(word) > 0 for word in words):  # v2 says max, v1 -1
        return None
    return int(words[0]) / int(words[1])


def cpu_seconds() -> float | None:
    """Return the processor time that the container has used."""
    used = read_table(ROOT / "cpu.stat").get("usage_usec")
    if used is not None:
        return used / 1e6
    used = read_number(ROOT / "cpuacct" / "cpuacct.usage")
    return None if used is None else used / 1e9
