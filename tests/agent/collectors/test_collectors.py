"""Readings of the shipped collectors on this machine, compared with the kernel and common tools."""

import os
import time
from collections import namedtuple
from pathlib import Path

import psutil
import pytest

import agent.collectors
from agent.collector import CollectorRunner, discover
from agent.collectors.cpu import Cpu
from agent.collectors.disk import Disk
from agent.collectors.load import Load
from agent.collectors.memory import Memory
from agent.collectors.network import Network
from agent.collectors.processes import Processes
from agent.collectors.swap import Swap
from agent.collectors.temperature import Temperature
from agent.collectors.uptime import Uptime
from runtime.settings.agent import AgentSettings

SETTINGS = AgentSettings(data=Path("unused"), machine="attic")
linux = pytest.mark.skipif(not Path("/proc/meminfo").exists(), reason="reads /proc")

Times = namedtuple("Times", "user nice system idle iowait guest guest_nice")


def test_all_of_them_together_give_valid_vitals_without_a_failure() -> None:
    runner = CollectorRunner(discover(agent.collectors, SETTINGS), timeout_seconds=20)

    vitals, extra = runner.collect()

    assert runner.failures == {}
    assert extra == {}
    for name in ("memory_percent", "disk_percent", "uptime_seconds", "process_count", "network_received_bytes"):
        assert getattr(vitals, name) is not None


@linux
def test_memory_is_the_total_less_what_is_available() -> None:
    lines = dict(line.split(":") for line in Path("/proc/meminfo").read_text().splitlines())
    total, available = (int(lines[name].split()[0]) * 1024 for name in ("MemTotal", "MemAvailable"))

    readings = Memory(SETTINGS).collect()

    assert readings["memory_used_bytes"] == pytest.approx(total - available, abs=total * 0.05)
    assert readings["memory_percent"] == pytest.approx(100 * (total - available) / total, abs=5)


def test_disk_is_counted_as_df_counts_it(tmp_path: Path) -> None:
    collector = Disk(SETTINGS.model_copy(update={"disk_path": tmp_path}))
    found = os.statvfs(tmp_path)
    used = (found.f_blocks - found.f_bfree) * found.f_frsize
    usable = used + found.f_bavail * found.f_frsize

    readings = collector.collect()

    assert readings["disk_used_bytes"] == pytest.approx(used, abs=1 << 26)
    assert readings["disk_percent"] == pytest.approx(100 * used / usable, abs=0.6)


def test_a_disk_that_is_not_there_is_an_error_and_not_a_number(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="missing"):
        Disk(SETTINGS.model_copy(update={"disk_path": tmp_path / "missing"})).collect()


@linux
def test_uptime_is_the_kernels() -> None:
    kernel = float(Path("/proc/uptime").read_text().split()[0])

    assert Uptime(SETTINGS).collect()["uptime_seconds"] == pytest.approx(kernel, abs=2)


def test_uptime_comes_from_the_boot_time_where_no_clock_counts_from_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(time, "CLOCK_BOOTTIME", raising=False)

    assert Uptime(SETTINGS).collect()["uptime_seconds"] == pytest.approx(time.time() - psutil.boot_time(), abs=2)


def cpu_after(monkeypatch: pytest.MonkeyPatch, **spent: float) -> float | int | None:
    """Return the reading for these seconds on two processors."""
    zero = Times(*[100.0] * 7)
    now = Times(*(100.0 + spent.get(name, 0.0) for name in Times._fields))
    times = iter([zero, now])
    monkeypatch.setattr(psutil, "cpu_times", lambda: next(times))
    monkeypatch.setattr(psutil, "cpu_count", lambda: 2)
    return Cpu(SETTINGS).collect()["cpu_percent"]


@pytest.mark.parametrize(
    ("spent", "percent"),
    [
        ({"user": 5.0, "idle": 15.0}, 25.0),
        ({"user": 5.0, "system": 5.0, "idle": 5.0, "iowait": 5.0}, 50.0),
        ({"idle": 20.0}, 0.0),
        ({"user": 20.0}, 100.0),
        ({"user": 10.0, "guest": 10.0, "idle": 10.0}, 50.0),
        ({"user": 10.0, "idle": -0.5}, 100.0),
        ({"user": 0.1}, None),
        ({}, None),
    ],
)
def test_cpu_is_the_share_of_the_time_that_was_not_idle(
    monkeypatch: pytest.MonkeyPatch, spent: dict[str, float], percent: float | None
) -> None:
    assert cpu_after(monkeypatch, **spent) == percent


def test_network_counts_everything_but_loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    Counter = namedtuple("Counter", "bytes_recv bytes_sent")
    counters = {"lo": Counter(1000, 2000), "lo0": Counter(1000, 2000), "Loopback Pseudo-Interface 1": Counter(7, 7)}
    counters |= {"eth0": Counter(3, 4), "wlan0": Counter(50, 60), "lowpan0": Counter(600, 700)}
    monkeypatch.setattr(psutil, "net_io_counters", lambda *, pernic: counters if pernic else None)

    assert Network(SETTINGS).collect() == {"network_received_bytes": 653, "network_sent_bytes": 764}


@linux
def test_network_agrees_with_the_kernel() -> None:
    received = sum(
        int(line.split(":")[1].split()[0])
        for line in Path("/proc/net/dev").read_text().splitlines()[2:]
        if line.split(":")[0].strip() != "lo"
    )

    assert Network(SETTINGS).collect()["network_received_bytes"] == pytest.approx(received, abs=1 << 24)


@linux
def test_processes_and_load_agree_with_the_kernel() -> None:
    running = len([entry for entry in Path("/proc").iterdir() if entry.name.isdigit()])

    assert Processes(SETTINGS).collect()["process_count"] == pytest.approx(running, abs=30)
    assert Load(SETTINGS).collect()["load_1m"] == pytest.approx(os.getloadavg()[0], abs=1)


def test_load_is_null_where_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(psutil, "getloadavg")

    assert Load(SETTINGS).collect() == {"load_1m": None}


@pytest.mark.parametrize(("total", "percent", "expected"), [(0, 0.0, None), (1024, 0.0, 0.0), (1024, 37.46, 37.5)])
def test_swap_is_null_on_a_machine_without_any(
    monkeypatch: pytest.MonkeyPatch, total: int, percent: float, expected: float | None
) -> None:
    Memory_ = namedtuple("Memory_", "total percent")
    monkeypatch.setattr(psutil, "swap_memory", lambda: Memory_(total, percent))

    assert Swap(SETTINGS).collect() == {"swap_percent": expected}


@pytest.mark.parametrize(
    ("groups", "expected"), [({}, None), ({"core": [40.0, 61.26], "disk": [35.0]}, 61.3), ({"x": []}, None)]
)
def test_temperature_is_that_of_the_hottest_sensor(
    monkeypatch: pytest.MonkeyPatch, groups: dict[str, list[float]], expected: float | None
) -> None:
    Sensor = namedtuple("Sensor", "current")
    sensors = {name: [Sensor(value) for value in values] for name, values in groups.items()}
    monkeypatch.setattr(psutil, "sensors_temperatures", lambda: sensors, raising=False)

    assert Temperature(SETTINGS).collect() == {"temperature_celsius": expected}


def test_temperature_is_null_where_the_system_has_no_sensors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(psutil, "sensors_temperatures", raising=False)

    assert Temperature(SETTINGS).collect() == {"temperature_celsius": None}
