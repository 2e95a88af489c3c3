"""The inventory of a machine."""

import os
import platform
import socket
import string
from pathlib import Path

import psutil
import pytest

from agent import inventory as inventory_module
from agent.inventory import boot_id, hardware_id, inventory
from runtime.settings.agent import AgentSettings
from runtime.version import VERSION
from schemas.contract.messages import Info, Metric

HEX = set(string.hexdigits.lower())


def describe(**settings: object) -> Info:
    made = AgentSettings.model_validate({"data": Path("unused"), "machine": "attic", **settings})
    metrics = [Metric(name="a", unit="", title="")]
    return inventory(made, session=7, stream="0" * 16, at=1_700_000_000_000, metrics=metrics)


def test_the_inventory_is_a_valid_message() -> None:
    info = describe(labels={"rack": "b 3"}, interval_seconds=2.5)

    assert Info.decode(info.encode()) == info
    assert info.hostname == socket.gethostname()
    assert info.memory_total_bytes == psutil.virtual_memory().total
    assert (info.session, info.at, info.agent_version) == (7, 1_700_000_000_000, VERSION)
    assert (info.labels, info.interval_seconds) == ({"rack": "b 3"}, 2.5)
    assert [metric.name for metric in info.metrics] == ["a"]


def test_a_disk_that_is_not_there_has_no_size(tmp_path: Path) -> None:
    assert describe(disk_path=tmp_path / "missing").disk_total_bytes is None
    assert describe(disk_path=tmp_path).disk_total_bytes == psutil.disk_usage(str(tmp_path)).total


def test_a_hostname_of_any_bytes_can_be_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "gethostname", lambda: "attic-\udcff" + "x" * 300)

    info = describe()

    assert Info.decode(info.encode()).hostname == ("attic-?" + "x" * 300)[:256]


def test_the_hardware_id_is_stable_and_does_not_reveal_the_systems_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = "0123456789abcdef0123456789abcdef"
    (tmp_path / "machine-id").write_text(secret + "\n")
    monkeypatch.setattr(inventory_module, "_MACHINE_ID_FILES", (tmp_path / "missing", tmp_path / "machine-id"))

    found = hardware_id()

    assert found is not None
    assert found == hardware_id()
    assert len(found) == 32
    assert set(found) <= HEX
    assert found != secret
    (tmp_path / "machine-id").write_text("another")
    assert hardware_id() != found


@pytest.mark.parametrize("content", [b"", b"\n", b"\xff\xfe"])
def test_without_a_machine_id_there_is_no_hardware_id(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes
) -> None:
    (tmp_path / "machine-id").write_bytes(content)
    monkeypatch.setattr(inventory_module, "_MACHINE_ID_FILES", (tmp_path / "machine-id",))

    assert hardware_id() is None
    assert describe().hardware_id is None


@pytest.mark.parametrize("error", [KeyError("MemTotal:"), IndexError(), RuntimeError(), OSError(5)])
def test_whatever_the_system_raises_leaves_a_valid_message(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def fail(*_arguments: object, **_options: object) -> None:
        raise error

    for name in ("virtual_memory", "swap_memory", "disk_usage", "boot_time", "disk_partitions"):
        monkeypatch.setattr(psutil, name, fail)
    for name in ("machine", "processor", "freedesktop_os_release"):
        monkeypatch.setattr(platform, name, fail)
    monkeypatch.setattr(socket, "gethostname", fail)

    info = describe()

    assert Info.decode(info.encode()) == info
    assert (info.hostname, info.disk_total_bytes, info.architecture) == ("", None, None)


def test_what_the_contract_does_not_permit_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    release = {"NAME": "Odd\0\x1b[2J" + "x" * 300, "VERSION_ID": ""}
    monkeypatch.setattr(platform, "freedesktop_os_release", lambda: release)
    monkeypatch.setattr(platform, "system", lambda: "Linux")
    monkeypatch.setattr(os, "cpu_count", lambda: -3)

    info = describe()

    assert info.os == ("Odd??[2J" + "x" * 300)[:256]
    assert info.os_version is None
    assert info.cpu_count is None


def test_the_boot_id_is_32_hex_digits_and_stays_while_the_machine_runs() -> None:
    assert len(boot_id()) == 32
    assert set(boot_id()) <= HEX
    assert boot_id() == boot_id()


def test_another_boot_has_another_id(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inventory_module, "_BOOT_ID_FILE", tmp_path / "boot_id")
    monkeypatch.setattr(inventory_module, "_INIT_FILE", tmp_path / "stat")
    ids = set()
    for content in ("first", "second", ""):
        (tmp_path / "boot_id").write_text(content)
        ids.add(boot_id())

    assert len(ids) == 3


def test_another_start_of_pid_1_is_another_boot_of_a_container(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inventory_module, "_INIT_FILE", tmp_path / "stat")
    ids = []
    for name, started_at in (("init", 5), ("a (b) c", 5), ("init", 6)):
        (tmp_path / "stat").write_text(f"1 ({name}) S {'0 ' * 18}{started_at} 0 0\n")
        ids.append(boot_id())

    assert ids[0] == ids[1] != ids[2]


def test_a_system_that_names_no_boot_has_a_boot_id(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> float:
        raise FileNotFoundError(2, "no /proc/stat")

    monkeypatch.setattr(inventory_module, "_BOOT_ID_FILE", tmp_path / "missing")
    monkeypatch.setattr(inventory_module, "_INIT_FILE", tmp_path / "missing")
    monkeypatch.setattr(psutil, "boot_time", fail)

    assert set(boot_id()) <= HEX
