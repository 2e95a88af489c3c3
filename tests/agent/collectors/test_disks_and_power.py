"""Arrays, the condition of disks, graphics processors and power supplies, from answers of real machines."""

import json
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from agent.collectors.hardware import graphics, power_supplies
from agent.collectors.hardware.graphics import Graphics
from agent.collectors.hardware.power_supplies import PowerSupplies
from agent.collectors.storage import arrays
from agent.collectors.storage.arrays import Arrays
from agent.collectors.storage.smart import Smart
from agent.host.calls import program
from agent.host.hardware_file import read_hardware, write_hardware
from runtime.settings.agent import AgentSettings


def settings(**fields: object) -> AgentSettings:
    return AgentSettings.model_validate({"data": Path("unused"), "machine": "attic", **fields})


# Arrays.

MDSTAT = """\
Personalities : [raid1] [raid6] [raid5] [raid4]
md2 : active raid5 sdd1[4] sdc1[1] sdb1[0](F)
      7813770240 blocks super 1.2 level 5, 512k chunk, algorithm 2 [3/2] [_UU]
      [====>................]  recovery = 21.3% (833271936/3906885120) finish=345.6min speed=148220K/sec

md0 : active raid1 sdb1[1] sda1[0]
      1953382464 blocks super 1.2 [2/2] [UU]
      [>....................]  check =  0.4% (8000000/1953382464) finish=3.1min speed=10000K/sec

md1 : inactive sde1[0](S)
      1048576 blocks super 1.2

unused devices: <none>
"""


def test_an_array_that_has_lost_a_disk_is_critical(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(arrays, "MDSTAT", tmp_path / "mdstat")
    monkeypatch.setattr(arrays, "POOLS", tmp_path / "zfs")
    assert not Arrays(settings()).present()
    (tmp_path / "mdstat").write_text("Personalities : \nunused devices: <none>\n")
    assert not Arrays(settings()).present()
    (tmp_path / "mdstat").write_text(MDSTAT)
    for pool, state in (("tank", "ONLINE"), ("backup", "DEGRADED")):
        (tmp_path / "zfs" / pool).mkdir(parents=True)
        (tmp_path / "zfs" / pool / "state").write_text(f"{state}\n")

    found = Arrays(settings()).collect().facts["arrays"]

    assert Arrays(settings()).present()
    assert {name: (item.health, item.fields["state"]) for name, item in found.items()} == {
        "backup": ("critical", "degraded"), "md1": ("critical", "inactive"), "md2": ("critical", "degraded"),
        "md0": ("good", "active"), "tank": ("good", "online"),
    }  # fmt: skip
    assert found["md2"].fields == {
        "state": "degraded", "level": "raid5", "disk_count": 3, "missing_count": 1, "action": "recovery",
        "failed_disks": "sdb1",
    }  # fmt: skip
    assert found["md0"].fields["action"] == "check"


# Disks.


def ata(**raw: int) -> dict[str, Any]:
    table = [{"id": int(number.removeprefix("a")), "raw": {"value": value}} for number, value in raw.items()]
    return {
        "model_name": "WDC WD40EFRX-68N32N0", "serial_number": "WD-1", "smart_status": {"passed": True},
        "temperature": {"current": 34}, "power_on_time": {"hours": 48_013}, "ata_smart_attributes": {"table": table},
    }  # fmt: skip


def nvme(**log: int) -> dict[str, Any]:
    health = {
        "critical_warning": 0,
        "available_spare": 100,
        "available_spare_threshold": 10,
        "percentage_used": 3,
        **log,
    }
    return {
        "model_name": "Samsung SSD 980",
        "smart_status": {"passed": True},
        "nvme_smart_health_information_log": health,
    }


def smart(tmp_path: Path, **disks: object) -> Smart:
    file = tmp_path / "hardware.json"
    file.write_text(json.dumps({"v": 1, "disks": disks}))
    return Smart(settings(hardware_file=file))


def test_disks_are_judged_by_their_attributes_because_passed_hides_bad_sectors(tmp_path: Path) -> None:
    collector = smart(
        tmp_path,
        sda=ata(a5=0, a187=0, a197=0, a198=0, a9=48013),
        sdb=ata(a5=0, a197=8),
        sdc={**ata(a5=0), "smart_status": {"passed": False}},
        sdd=ata(a188=0x0003_0000_0000),
        nvme0n1=nvme(),
        nvme1n1=nvme(percentage_used=104, media_errors=2),
        nvme2n1=nvme(available_spare=5),
        nvme3n1=nvme(critical_warning=4),
        odd={"temperature": "hot", "smart_status": 7, "ata_smart_attributes": {"table": [7, {"id": 5}]}},
        hostile=[7],
    )

    details = collector.collect()
    found = details.facts["smart"]

    assert {name: item.health for name, item in found.items()} == {
        "nvme2n1": "critical", "nvme3n1": "critical", "sdc": "critical", "nvme1n1": "fair", "sdb": "fair",
        "nvme0n1": "good", "odd": "good", "sda": "good", "sdd": "good",
    }  # fmt: skip
    assert next(iter(found)) == "nvme2n1"
    assert found["sdb"].fields == {
        "passed": True, "model": "WDC WD40EFRX-68N32N0", "serial_number": "WD-1", "power_on_days": 2000,
        "pending_count": 8,
    }  # fmt: skip
    assert details.series["disk_celsius"] == {"sda": 34, "sdb": 34, "sdc": 34, "sdd": 34}
    assert details.series["disk_wear_percent"]["nvme1n1"] == 100


def test_without_the_file_there_is_nothing_and_a_broken_one_is_an_error(tmp_path: Path) -> None:
    file = tmp_path / "hardware.json"
    collector = Smart(settings(hardware_file=file))
    assert not collector.present()
    file.write_text("{")
    assert collector.present()
    with pytest.raises(OSError, match="not JSON"):
        collector.collect()
    for content in ("7", "{}", '{"disks": 7}'):
        file.write_text(content)
        assert collector.collect().facts == {"smart": {}}


def test_the_writer_wakes_no_disk_and_keeps_the_last_values_of_one_that_sleeps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(program, "_DIRECTORIES", (str(tmp_path),))
    scan = {"devices": [{"name": "/dev/sda", "type": "sat"}, {"name": "/dev/sdb", "type": "sat"}]}
    (tmp_path / "scan").write_text(json.dumps(scan))
    (tmp_path / "awake").write_text(json.dumps(ata(a197=8)))
    (tmp_path / "asleep").write_text(json.dumps({"smartctl": {"exit_status": 2}}))
    program_file = tmp_path / "smartctl"
    program_file.write_text(
        f"#!{sys.executable}\nimport pathlib, sys\nhere = pathlib.Path({str(tmp_path)!r})\n"
        "if '--scan' in sys.argv:\n    print((here / 'scan').read_text())\n    sys.exit(0)\n"
        "assert sys.argv[sys.argv.index('--nocheck') + 1] == 'standby'\n"
        "asleep = sys.argv[-1] == '/dev/sdb' and (here / 'sleeps').exists()\n"
        "print((here / ('asleep' if asleep else 'awake')).read_text())\n"
        "sys.exit(4)\n"
    )
    program_file.chmod(0o755)
    file = tmp_path / "run" / "hardware.json"

    write_hardware(file)
    first = read_hardware(file)
    (tmp_path / "sleeps").touch()
    write_hardware(file)

    assert set(first) == {"sda", "sdb"}
    assert read_hardware(file)["sdb"] == first["sdb"]
    assert file.stat().st_mode & 0o777 == 0o644
    assert Smart(settings(hardware_file=file)).collect().facts["smart"]["sdb"].health == "fair"


# Graphics processors.


def test_nvidia_reports_what_the_card_has(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "version").touch()
    monkeypatch.setattr(graphics, "NVIDIA", tmp_path / "version")
    monkeypatch.setattr(graphics, "CARDS", tmp_path / "drm")
    monkeypatch.setattr(program, "_DIRECTORIES", (str(tmp_path),))
    assert not Graphics(settings()).present()
    (tmp_path / "nvidia-smi").write_text(
        "#!/bin/sh\necho '0, NVIDIA GeForce RTX 3090, 37, 10240, 61, 212.55'\n"
        "echo '1, Tesla T4, [N/A], 512, 44, [Not Supported]'\necho 'broken'\n"
    )
    (tmp_path / "nvidia-smi").chmod(0o755)

    assert Graphics(settings()).present()
    assert Graphics(settings()).collect().series == {
        "gpu_percent": {"0 NVIDIA GeForce RTX 3090": 37.0},
        "gpu_memory_bytes": {"0 NVIDIA GeForce RTX 3090": 10240 << 20, "1 Tesla T4": 512 << 20},
        "gpu_celsius": {"0 NVIDIA GeForce RTX 3090": 61.0, "1 Tesla T4": 44.0},
        "gpu_watts": {"0 NVIDIA GeForce RTX 3090": 212.55},
    }


def test_an_amd_card_is_read_in_sysfs_and_not_woken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(graphics, "NVIDIA", tmp_path / "missing")
    monkeypatch.setattr(graphics, "CARDS", tmp_path)
    for name, status in (("card0", "active"), ("card1", "suspended")):
        device = tmp_path / name / "device"
        (device / "hwmon" / "hwmon3").mkdir(parents=True)
        (device / "power").mkdir()
        (device / "power" / "runtime_status").write_text(f"{status}\n")
        (device / "gpu_busy_percent").write_text("12\n")
        (device / "mem_info_vram_used").write_text("1048576\n")
        (device / "hwmon" / "hwmon3" / "temp1_input").write_text("45500\n")
        (device / "hwmon" / "hwmon3" / "power1_average").write_text("21000000\n")
    (tmp_path / "card2").mkdir()

    assert Graphics(settings()).present()
    assert Graphics(settings()).collect().series == {
        "gpu_percent": {"card0": 12}, "gpu_memory_bytes": {"card0": 1048576}, "gpu_celsius": {"card0": 45.5},
        "gpu_watts": {"card0": 21.0},
    }  # fmt: skip


# Power supplies.

ANSWERS = {
    "LIST UPS": 'BEGIN LIST UPS\nUPS eaton "Server room"\nUPS apc "Desk"\nEND LIST UPS\n',
    "LIST VAR eaton": (
        'BEGIN LIST VAR eaton\nVAR eaton battery.charge "63"\nVAR eaton battery.runtime "1520"\n'
        'VAR eaton ups.load "27.5"\nVAR eaton ups.status "OB DISCHRG"\nVAR eaton device.model "Eaton 5P 1550"\n'
        "END LIST VAR eaton\n"
    ),
    "LIST VAR apc": 'BEGIN LIST VAR apc\nVAR apc ups.status "OL CHRG"\nVAR apc battery.charge "?"\nEND LIST VAR apc\n',
}


@pytest.fixture
def upsd() -> Iterator[Callable[[dict[str, str]], str]]:
    """Starts servers that answer questions of NUT's protocol; returns the address."""
    with closing(socket.socket()) as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        threads: list[threading.Thread] = []

        def serve(answers: dict[str, str]) -> None:
            connection, _ = listening.accept()
            with connection, connection.makefile("r") as questions:
                for question in questions:
                    if (answer := answers.get(question.strip())) is None:
                        return
                    connection.sendall(answer.encode())

        def start(answers: dict[str, str]) -> str:
            threads.append(threading.Thread(target=serve, args=(answers,), daemon=True))
            threads[-1].start()
            return f"127.0.0.1:{listening.getsockname()[1]}"

        yield start
        for thread in threads:
            thread.join(10)


def test_a_power_supply_on_battery_is_reported(upsd: Callable[[dict[str, str]], str]) -> None:
    collector = PowerSupplies(settings(nut_server=upsd(ANSWERS)))
    assert collector.present()

    details = collector.collect()

    assert details.series == {
        "ups_charge_percent": {"eaton": 63.0}, "ups_load_percent": {"eaton": 27.5},
        "ups_runtime_seconds": {"eaton": 1520.0},
    }  # fmt: skip
    assert details.facts["ups"]["eaton"].health == "fair"
    assert details.facts["ups"]["eaton"].fields == {"state": "on battery", "model": "Eaton 5P 1550"}
    assert details.facts["ups"]["apc"].health == "good"


@pytest.mark.parametrize("answers", [{}, {"LIST UPS": "BEGIN LIST UPS\n"}])
def test_an_upsd_that_goes_away_is_an_error(
    upsd: Callable[[dict[str, str]], str], answers: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(power_supplies, "ANSWER_SECONDS", 0.2)
    with pytest.raises(OSError, match=r"no end|timed out"):
        PowerSupplies(settings(nut_server=upsd(answers))).collect()


def test_a_power_supply_without_data_is_unknown(upsd: Callable[[dict[str, str]], str]) -> None:
    answers = {"LIST UPS": ANSWERS["LIST UPS"], **{f"LIST VAR {name}": "ERR DATA-STALE\n" for name in ("eaton", "apc")}}

    assert PowerSupplies(settings(nut_server=upsd(answers))).collect().facts["ups"]["apc"].health == "unknown"
