"""Series and top processes of this machine, equal to what `df`, `ip -s link`, /proc/stat and `ps` say."""

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from waiting import wait_until

import agent.collectors
from agent.collector import DetailCollector, Details, discover_details, name_of
from runtime.settings.agent import AgentSettings

SETTINGS = AgentSettings(data=Path("unused"), machine="attic")
TOOLS = ("df", "ip", "ps")
ATTEMPTS = 5
"""How often readings are compared before they count as different: other programs change the system in between."""

pytestmark = pytest.mark.skipif(
    not sys.platform.startswith("linux") or not all(map(shutil.which, TOOLS)), reason=f"needs Linux with {TOOLS}"
)


def output(*argv: str) -> str:
    return subprocess.run(argv, capture_output=True, text=True, check=True).stdout


def df() -> dict[str, tuple[int, int, int]]:
    """Return used bytes, percent and free inodes by mount point."""
    lines = output("df", "--block-size=1", "--output=target,used,pcent,iavail").splitlines()[1:]
    rows = [line.rsplit(maxsplit=3) for line in lines]
    return {row[0]: (int(row[1]), int(row[2].rstrip("%")), int(row[3])) for row in rows if row[2] != "-"}


def ip_links() -> dict[str, tuple[int, int, int, int]]:
    """Return received and sent bytes, errors and drops by interface."""
    found = {}
    for link in json.loads(output("ip", "-s", "-j", "link")):
        received, sent = link["stats64"]["rx"], link["stats64"]["tx"]
        errors, drops = received["errors"] + sent["errors"], received["dropped"] + sent["dropped"]
        found[link["ifname"]] = (received["bytes"], sent["bytes"], errors, drops)
    return found


def core_ticks() -> dict[str, tuple[int, int]]:
    """Return all ticks and idle ticks by core."""
    lines = [line.split() for line in Path("/proc/stat").read_text().splitlines() if line.startswith("cpu")]
    ticks = {words[0][3:]: [int(word) for word in words[1:9]] for words in lines[1:]}
    return {core: (sum(each), each[3] + each[4]) for core, each in ticks.items()}


@contextmanager
def busy_process() -> Iterator[subprocess.Popen[bytes]]:
    """A process that uses a whole core."""
    process = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def between(low: float, value: float | None, high: float, slack: float) -> bool:
    return value is not None and min(low, high) - slack <= value <= max(low, high) + slack


def test_mounts_interfaces_cores_and_the_top_process_are_what_the_system_says() -> None:
    collectors = {name_of(each): each for each in discover_details(agent.collectors, SETTINGS)}
    read: Callable[[str], Details] = lambda name: collectors[name].collect()  # noqa: E731
    with busy_process() as busy:
        read("topprocesses")
        for _ in range(ATTEMPTS):
            if not (differences := [*cores(read), *disks(read), *interfaces(read), *top_process(read, busy.pid)]):
                break
    assert differences == []


def disks(read: Callable[[str], Details]) -> Iterator[str]:
    before, found, after = df(), read("mounts").series, df()
    usage = found["disk_used_percent"]
    if "/" not in usage and Path("/proc/self/mountinfo").read_text().count(" / / "):
        yield "/ is missing"
    for point, percent in usage.items():
        if point not in before or point not in after:
            yield f"{point} came or went"
            continue
        (used, low, inodes), (used_after, high, inodes_after) = before[point], after[point]
        if not between(low - 1, percent, high, 0.1):  # df rounds up
            yield f"{point}: {percent} %, not {low} to {high} %"
        if not between(used, found["disk_used_bytes"][point], used_after, 1 << 26):
            yield f"{point}: {found['disk_used_bytes'][point]} bytes, not {used} to {used_after}"
        free = found.get("disk_free_inodes", {}).get(point, inodes)
        if not between(inodes, free, inodes_after, 1000):
            yield f"{point}: {free} free inodes, not {inodes} to {inodes_after}"


def interfaces(read: Callable[[str], Details]) -> Iterator[str]:
    before, found, after = ip_links(), read("interfaces").series, ip_links()
    if not found.keys() >= {"network_received_bytes", "network_sent_bytes"}:
        yield "no bytes"
    for number, metric in enumerate(("received_bytes", "sent_bytes", "error_count", "drop_count")):
        for name, reading in found.get(f"network_{metric}", {}).items():
            if name not in before or name not in after:
                yield f"{name} came or went"
            elif not between(before[name][number], reading, after[name][number], 0):
                yield f"{name}: {metric} {reading}, not {before[name][number]} to {after[name][number]}"


def cores(read: Callable[[str], Details]) -> Iterator[str]:
    read("cores")
    before, started = core_ticks(), time.monotonic()
    wait_until(lambda: time.monotonic() - started > 1.0, what="a second of work")
    found, after = read("cores").series["cpu_core_percent"], core_ticks()
    if set(found) != set(after):
        yield f"cores {sorted(found)}, not {sorted(after)}"
    for core, percent in found.items():
        total, idle = (after - before for before, after in zip(before[core], after[core], strict=True))
        if percent != pytest.approx(100 * (1 - idle / total), abs=10):
            yield f"core {core}: {percent} %, not {100 * (1 - idle / total)} %"


def top_process(read: Callable[[str], Details], pid: int) -> Iterator[str]:
    processes = read("topprocesses").facts["processes"]
    resident = int(output("ps", "-o", "rss=", "-p", str(pid))) * 1024
    found = [item.fields for item in processes.values() if item.fields["pid"] == pid]
    if not found:
        yield f"the busy process is not among {list(processes)}"
    elif found[0]["memory_bytes"] != pytest.approx(resident, rel=0.3):
        yield f"the busy process: {found[0]['memory_bytes']} bytes, not {resident}"


def test_what_is_active_here_reads_without_a_failure() -> None:
    every_minute = [each for each in discover_details(agent.collectors, SETTINGS) if each.interval_seconds <= 60]
    active = [each for each in every_minute if each.present()]

    found = {name_of(each): each.collect() for each in active}

    assert {"mounts", "interfaces", "cores", "topprocesses"} <= set(found)
    for collector in active:
        check(collector, found[name_of(collector)])


def check(collector: DetailCollector, details: Details) -> None:
    assert set(details.series) <= {metric.name for metric in collector.metrics}
    assert set(details.facts) <= set(collector.facts)
