"""Disks, sensors, fans, batteries and pressure, from files of real machines."""

import shutil
from collections import namedtuple
from pathlib import Path
from typing import Any

import psutil
import pytest

from agent.collectors.hardware import batteries, sensors
from agent.collectors.hardware.batteries import Batteries
from agent.collectors.hardware.sensors import Fans, Sensors
from agent.collectors.storage import disk_activity
from agent.collectors.storage.disk_activity import DiskActivity
from agent.collectors.system import pressure
from agent.collectors.system.pressure import Pressure
from runtime.settings.agent import AgentSettings

SETTINGS = AgentSettings(data=Path("unused"), machine="attic", ignored_sensors=["nct6775/AUX*"])

DISKSTATS = """\
   7       0 loop0 1266 20 26664 59 9135 7406 169254 4017 0 4100 7139 0 0 0 0 5309 3062
 259 0 nvme0n1 702548 35301 19391682 525498 15034240 2760659 309276984 2063910 0 {busy} 3009338 2203018 588 0 0 0 0
 259       1 nvme0n1p1 5 0 99 1 0 0 0 0 0 4 1 0 0 0 0 0 0
   8       0 sda 100 0 800 10 200 0 1600 20 0 30 60
   8      16 sdb 0 0 0 0 0 0 0 0 0 0 0
 254       0 dm-0 100 0 800 10 200 0 1600 20 0 30 60
   8      32 short
"""


@pytest.fixture
def disks(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    (tmp_path / "diskstats").write_text(DISKSTATS.format(busy=1000))
    for name in ("loop0", "nvme0n1", "sda", "sdb", "dm-0"):
        (tmp_path / "block" / name / "device").mkdir(parents=True)
    (tmp_path / "block/sda/device/model").write_text("WDC WD40EFRX-68N \n")
    (tmp_path / "block/sda/size").write_text("7814037168\n")
    (tmp_path / "block/sda/queue").mkdir()
    (tmp_path / "block/sda/queue/rotational").write_text("1\n")
    monkeypatch.setattr(disk_activity, "STATISTICS_FILE", tmp_path / "diskstats")
    monkeypatch.setattr(disk_activity, "BLOCKS", tmp_path / "block")
    return tmp_path


def test_each_used_disk_counts_its_bytes_and_partitions_and_volumes_do_not(
    disks: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    times = iter([100.0, 110.0])
    monkeypatch.setattr(disk_activity, "monotonic", lambda: next(times))
    collector = DiskActivity(SETTINGS)

    first = collector.collect()
    (disks / "diskstats").write_text(DISKSTATS.format(busy=3500))
    second = collector.collect()

    assert first.series == {
        "disk_read_bytes": {"nvme0n1": 19391682 * 512, "sda": 800 * 512},
        "disk_written_bytes": {"nvme0n1": 309276984 * 512, "sda": 1600 * 512},
    }
    assert second.series["disk_busy_percent"] == {"nvme0n1": 25.0, "sda": 0.0}
    assert first.facts["disks"]["sda"].fields == {
        "model": "WDC WD40EFRX-68N",
        "size_bytes": 7814037168 * 512,
        "rotational": True,
    }
    assert first.facts["disks"] == second.facts["disks"]


def test_a_disk_that_is_pulled_out_costs_its_own_values(disks: Path) -> None:
    collector = DiskActivity(SETTINGS)
    collector.collect()
    shutil.rmtree(disks / "block" / "nvme0n1")

    assert set(collector.collect().series["disk_read_bytes"]) == {"sda"}


Temperature = namedtuple("Temperature", "label current high critical")
Fan = namedtuple("Fan", "label current")


def test_sensors_have_names_that_differ_and_readings_that_can_be_true(monkeypatch: pytest.MonkeyPatch) -> None:
    found: dict[str, list[Any]] = {
        "coretemp": [Temperature("Package id 0", 61.04, 80, 100), Temperature("Core 0", 58.0, 80, 100)],
        "nvme": [Temperature("Composite", 40.0, 80, 90), Temperature("Composite", 44.0, 80, 90)],
        "nct6775": [Temperature("AUXTIN0", 90.0, None, None), Temperature("SYSTIN", 127.5, None, None)],
        "acpitz": [Temperature("", 27.8, None, None)],
    }
    monkeypatch.setattr(psutil, "sensors_temperatures", lambda: found)

    assert Sensors(SETTINGS).collect().series == {
        "sensor_celsius": {
            "coretemp/Package id 0": 61.0,
            "coretemp/Core 0": 58.0,
            "nvme/Composite": 44.0,
            "nvme/Composite 2": 40.0,
            "acpitz": 27.8,
        }
    }


def test_a_fan_that_stands_still_has_zero(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(psutil, "sensors_fans", lambda: {"nct6775": [Fan("CPU", 912), Fan("", 0), Fan("", 5)]})

    assert Fans(SETTINGS).collect().series == {"fan_rpm": {"nct6775/CPU": 912, "nct6775": 0, "nct6775 2": 5}}


def test_sensors_are_read_while_the_kernel_has_a_driver_for_one(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(sensors, "_DIRECTORIES", (tmp_path / "hwmon", tmp_path / "thermal"))
    assert not Sensors(SETTINGS).present()
    (tmp_path / "hwmon" / "hwmon0").mkdir(parents=True)
    assert Sensors(SETTINGS).present()
    assert Fans(SETTINGS).present()
    shutil.rmtree(tmp_path / "hwmon")
    assert not Sensors(SETTINGS).present()
    assert not Fans(SETTINGS).present()


def supply(directory: Path, name: str, **files: str) -> None:
    (directory / name).mkdir(parents=True)
    for file, content in files.items():
        (directory / name / file).write_text(f"{content}\n")


def test_the_battery_of_the_machine_counts_and_that_of_its_mouse_does_not(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(batteries, "SUPPLIES", tmp_path)
    assert not Batteries(SETTINGS).present()
    supply(tmp_path, "AC", type="Mains", online="1")
    supply(tmp_path, "hidpp_battery_0", type="Battery", scope="Device", capacity="50")
    assert not Batteries(SETTINGS).present()
    supply(
        tmp_path, "BAT0", type="Battery", capacity="81", status="Discharging", cycle_count="312",
        energy_full="38000000", energy_full_design="50000000", model_name="DELL 7VTMN",
    )  # fmt: skip

    details = Batteries(SETTINGS).collect()

    assert Batteries(SETTINGS).present()
    assert details.series == {"battery_percent": {"BAT0": 81}}
    assert details.facts["batteries"]["BAT0"].fields == {
        "state": "discharging", "condition_percent": 76, "cycle_count": 312, "model": "DELL 7VTMN",
    }  # fmt: skip


def test_a_battery_that_says_nothing_has_a_null_reading(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(batteries, "SUPPLIES", tmp_path)
    supply(tmp_path, "BAT1", type="Battery", capacity="")

    assert Batteries(SETTINGS).collect().series == {"battery_percent": {"BAT1": None}}


def test_pressure_is_that_of_the_last_minute(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(pressure, "PRESSURE", tmp_path)
    assert not Pressure(SETTINGS).present()
    for name, some, full in (("cpu", "12.30", "0.00"), ("io", "5.00", "4.50")):
        (tmp_path / name).write_text(
            f"some avg10=97.84 avg60={some} avg300=1.38 total=15694898799\n"
            f"full avg10=0.00 avg60={full} avg300=0.00 total=0\n"
        )
    (tmp_path / "memory").write_text("")

    assert Pressure(SETTINGS).present()
    assert Pressure(SETTINGS).collect().series == {
        "pressure_some_percent": {"cpu": 12.3, "io": 5.0},
        "pressure_full_percent": {"io": 4.5},
    }
