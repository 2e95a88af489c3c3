"""The inventory of a machine."""

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
    return inventory(made, session=7, stream="0" * 16, now=1_700_000_000_000, metrics=metrics)


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


def test_the_boot_id_is_32_hex_digits_and_stays_while_the_machine_runs() -> None:
    assert len(boot_id()) == 32
    assert set(boot_id()) <= HEX
    assert boot_id() == boot_id()


def test_another_boot_has_another_id(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inventory_module, "_BOOT_ID_FILE", tmp_path / "boot_id")
    ids = set()
    for content in ("first", "second", ""):
        (tmp_path / "boot_id").write_text(content)
        ids.add(boot_id())

    assert len(ids) == 3
