"""Readings of the shipped collectors on this machine, compared with the kernel and common tools."""

import math
import os
import sys
import threading
import time
from collections import namedtuple
from pathlib import Path
from typing import Any

import psutil
import pytest

import agent.collectors
from agent.collection.sample_runner import CollectorRunner
from agent.collector import discover
from agent.collectors import uptime as uptime_module
from agent.collectors.cpu import Cpu
from agent.collectors.disk import Disk
from agent.collectors.load import Load
from agent.collectors.memory import Memory
from agent.collectors.network import Network
from agent.collectors.processes import Processes
from agent.collectors.swap import Swap
from agent.collectors.temperature import Temperature
from agent.collectors.uptime import Uptime
from agent.host import interfaces, memory
from runtime.settings.agent import AgentSettings
from schemas.contract.messages import Vitals

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
    monkeypatch.setattr(uptime_module, "_UPTIME_FILE", Path("/missing"))
    monkeypatch.delattr(time, "CLOCK_BOOTTIME", raising=False)

    assert Uptime(SETTINGS).collect()["uptime_seconds"] == pytest.approx(time.time() - psutil.boot_time(), abs=2)


def cpu_after(monkeypatch: pytest.MonkeyPatch, **spent: float) -> float | int | None:
    """Return the reading for these seconds on two processors."""
    zero = Times(*[100.0] * 7)
    now = Times(*(100.0 + spent.get(name, 0.0) for name in Times._fields))
    times = iter([zero, now])
    monkeypatch.setattr(psutil, "cpu_times", lambda: next(times))
    monkeypatch.setattr(psutil, "cpu_count", lambda: 2)
    collector = Cpu(SETTINGS)
    assert collector.collect() == {"cpu_percent": None}
    return collector.collect()["cpu_percent"]


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
    monkeypatch.setattr(interfaces, "_NETWORK", Path("/missing"))

    assert Network(SETTINGS).collect() == {"network_received_bytes": 653, "network_sent_bytes": 764}


Counters = dict[str, tuple[int, int]]


def network_after(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, *samples: Counters) -> list[float | int | None]:
    """Return the received bytes of each sample, on a system that describes no interface."""
    Counter = namedtuple("Counter", "bytes_recv bytes_sent")
    monkeypatch.setattr(interfaces, "_NETWORK", tmp_path / "missing")
    collector, found = Network(SETTINGS), []
    for sample in samples:
        counters = {name: Counter(*values) for name, values in sample.items()}
        monkeypatch.setattr(psutil, "net_io_counters", lambda *, pernic, found=counters: found if pernic else None)
        found.append(collector.collect()["network_received_bytes"])
    return found


def test_an_interface_that_arrives_or_leaves_or_is_reset_is_no_jump(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    samples: list[Counters] = [
        {"eth0": (1000, 0)},
        {"eth0": (1100, 0), "eth1": (10**12, 0)},
        {"eth0": (1100, 0), "eth1": (10**12 + 50, 0)},
        {"eth1": (10**12 + 60, 0)},
        {"eth0": (7, 0), "eth1": (10**12 + 60, 0)},
        {"eth0": (9, 0), "eth1": (10**12 + 60, 0)},
    ]

    assert network_after(monkeypatch, tmp_path, *samples) == [1000, 1100, 1150, 1160, 1160, 1162]


@pytest.mark.parametrize(
    ("described", "real"),
    [
        ({"eth0": ["device"], "br0": ["bridge"], "eth0.5": ["uevent"], "veth1": [], "wg0": ["tunnel"]}, {"eth0"}),
        ({"eth0": []}, {"eth0"}),  # a container
        ({"eth0": [], "br0": ["bridge"], "bond0": ["bonding"], "tun0": ["tun_flags"], "wg0": ["tunnel"]}, {"eth0"}),
        ({"eth0": [], "macvlan0": ["lower_eth0"], "eth0.5": ["uevent"]}, {"eth0"}),
        ({"eth0": ["device"], "enP1s1": ["device", "master"]}, {"eth0"}),  # Azure: a virtual function below eth0
        ({"eth0": ["device"], "eth1": ["device"], "bond0": ["bonding"]}, {"eth0", "eth1"}),
    ],
)
def test_each_byte_is_counted_on_one_interface(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, described: dict[str, list[str]], real: set[str]
) -> None:
    monkeypatch.setattr(interfaces, "_NETWORK", tmp_path)
    for name, marks in described.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "type").write_text("65534\n" if "tunnel" in marks else "1\n")
        for mark in {*marks} - {"tunnel"}:
            if mark == "master":
                (tmp_path / name / mark).symlink_to(tmp_path / "eth0")
            else:
                (tmp_path / name / mark).write_text("DEVTYPE=vlan\n")

    assert interfaces.real_interfaces([*described, "lo"]) == real


@linux
def test_network_agrees_with_the_kernel() -> None:
    received = sum(
        int(line.split(":")[1].split()[0])
        for line in Path("/proc/net/dev").read_text().splitlines()[2:]
        if line.split(":")[0].strip() in interfaces.real_interfaces(psutil.net_io_counters(pernic=True))
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


@pytest.mark.parametrize(("total", "percent", "expected"), [(0, 0.0, None), (1024, 0.0, 0.0), (10240, 37.46, 37.5)])
def test_swap_is_null_on_a_machine_without_any(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, total: int, percent: float, expected: float | None
) -> None:
    free = round(total * (1 - percent / 100))
    (tmp_path / "meminfo").write_text(f"MemTotal: 9 kB\nSwapTotal:  {total} kB\nSwapFree: {free} kB\n")
    monkeypatch.setattr(memory, "_PROC", tmp_path)
    monkeypatch.setattr(sys, "platform", "linux")

    assert Swap(SETTINGS).collect() == {"swap_percent": expected}


@pytest.mark.parametrize(
    ("groups", "expected"),
    [
        ({}, None),
        ({"core": [40.0, 61.26], "disk": [35.0]}, 61.3),
        ({"x": []}, None),
        ({"acpitz": [127.0, -128.0, 65261.0, math.nan, math.inf, None, "hot", 42.0]}, 42.0),
        ({"acpitz": [127.0, None]}, None),
        ({"coretemp": [48.5, 127.0], "nvme": [71.0]}, 48.5),
        ({"coretemp": [math.nan], "nvme": [71.0]}, 71.0),
        ({"left_out": [90.0], "nvme": [71.0]}, 71.0),
    ],
)
def test_temperature_is_that_of_the_hottest_plausible_sensor(
    monkeypatch: pytest.MonkeyPatch, groups: dict[str, list[Any]], expected: float | None
) -> None:
    Sensor = namedtuple("Sensor", "current")
    sensors = {name: [Sensor(value) for value in values] for name, values in groups.items()}
    monkeypatch.setattr(psutil, "sensors_temperatures", lambda: sensors, raising=False)

    settings = SETTINGS.model_copy(update={"ignored_sensors": ["left_*"]})

    assert Temperature(settings).collect() == {"temperature_celsius": expected}


def test_temperature_is_null_where_the_system_has_no_sensors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(psutil, "sensors_temperatures", raising=False)

    assert Temperature(SETTINGS).collect() == {"temperature_celsius": None}


PSUTIL = ("cpu_times", "disk_usage", "getloadavg", "net_io_counters", "pids", "sensors_temperatures", "boot_time")


@pytest.mark.parametrize("error", [KeyError("MemTotal:"), IndexError(), TypeError(), ZeroDivisionError(), OSError(5)])
def test_whatever_psutil_raises_costs_readings_only(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def fail(*_arguments: object, **_options: object) -> None:
        raise error

    for name in (*PSUTIL, "virtual_memory", "swap_memory", "disk_partitions", "cpu_count"):
        monkeypatch.setattr(psutil, name, fail, raising=False)
    runner = CollectorRunner(discover(agent.collectors, SETTINGS), timeout_seconds=20)

    vitals, _ = runner.collect()

    assert len(runner.collectors) == 9
    assert (vitals.disk_percent, vitals.network_sent_bytes, vitals.process_count) == (None, None, None)


def test_without_a_further_thread_all_readings_are_null(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    runner = CollectorRunner(discover(agent.collectors, SETTINGS), timeout_seconds=20)
    monkeypatch.setattr(threading.Thread, "start", fail)

    assert runner.collect() == (Vitals(), {})
    assert runner.failures.total() == 9
