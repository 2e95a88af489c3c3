"""The disk vital is the fullest local file system, and the inventory names the same."""

import sys
from collections import namedtuple
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from agent_under_test import AgentUnderTest
from clocks import Clock

from agent.collectors.disk import Disk
from agent.host import file_system, mount_table
from agent.host.file_system import FullestFileSystem
from agent.inventory import inventory
from runtime.settings.agent import AgentSettings

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="sets the mount table of Linux")

Usage = namedtuple("Usage", "total used free percent")

TABLE = """\
22 1 253:0 / / rw,relatime shared:1 - ext4 /dev/mapper/vg-root rw
31 22 8:1 / /boot/efi rw,relatime shared:21 - vfat /dev/sda1 rw
40 22 8:17 / /data rw,relatime shared:22 - xfs /dev/sdb1 rw
41 22 8:33 / /backup rw,relatime shared:22 - xfs /dev/sdc1 rw
46 22 8:49 / /media/image ro,relatime - ext4 /dev/sdd1 ro
47 22 0:50 / /mnt/nas rw,relatime shared:31 - nfs4 nas:/export rw
"""

Fill = Callable[..., None]


@pytest.fixture
def fill(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Fill:
    """Sets the percentages of the file systems; the others are full at 99 %."""
    (tmp_path / "mountinfo").write_text(TABLE)
    percents: dict[str, float] = {}
    monkeypatch.setattr(mount_table, "MOUNTS_FILE", tmp_path / "mountinfo")
    monkeypatch.setattr(file_system, "FULLEST", FullestFileSystem())
    monkeypatch.setattr("agent.collection.announcement.FULLEST", file_system.FULLEST)
    monkeypatch.setattr(file_system, "_is_image", lambda path: str(path) == "/media/image")

    def usage(point: str) -> Usage:
        percent = percents.get(point, 99.0)
        if percent < 0:
            raise OSError(5, "Input/output error")
        return Usage(1000, round(10 * percent), 1000 - round(10 * percent), percent)

    monkeypatch.setattr(psutil, "disk_usage", usage)
    monkeypatch.setattr(file_system, "usage_of", usage)
    return lambda **named: percents.update({"/" if name == "root" else f"/{name}": x for name, x in named.items()})


def settings(**fields: object) -> AgentSettings:
    return AgentSettings.model_validate({"data": Path("unused"), "machine": "attic", **fields})


def test_the_fullest_local_file_system_is_the_disk(fill: Fill) -> None:
    fill(root=40.0, data=93.0, backup=50.0)

    assert Disk(settings()).collect() == {"disk_percent": 93.0, "disk_used_bytes": 930}
    info = inventory(settings(), session=1, at=1)
    assert (info.disk_path, info.disk_total_bytes) == ("/data", 1000)


def test_the_owner_can_name_the_disk_or_leave_some_out(fill: Fill) -> None:
    fill(root=40.0, data=93.0, backup=50.0)

    assert Disk(settings(disk_path="/")).collect()["disk_percent"] == 40.0
    assert inventory(settings(disk_path="/"), session=1, at=1).disk_path == "/"
    assert Disk(settings(mounts=["!/data"])).collect()["disk_percent"] == 50.0


def test_the_root_is_the_disk_among_equals(fill: Fill) -> None:
    fill(root=50.0, data=50.0, backup=50.0)

    assert inventory(settings(), session=1, at=1).disk_path == "/"


def test_in_a_service_for_which_all_mounts_are_read_only_the_fullest_is_still_found(fill: Fill) -> None:
    fill(root=40.0, data=93.0, backup=50.0)
    mount_table.MOUNTS_FILE.write_text(TABLE.replace(" rw,relatime", " ro,nosuid,relatime"))

    assert Disk(settings()).collect()["disk_percent"] == 93.0
    assert {each.point for each in mount_table.mounts() if each.read_only} == {"/media/image"}


def test_a_file_system_that_cannot_be_read_is_not_the_disk(fill: Fill) -> None:
    fill(root=40.0, data=-1.0, backup=50.0)

    assert Disk(settings()).collect()["disk_percent"] == 50.0


def test_the_inventory_is_published_again_when_another_one_is_the_fullest(
    fill: Fill, tmp_path: Path, clock: Clock
) -> None:
    fill(root=40.0, data=60.0, backup=50.0)
    machine = AgentUnderTest(tmp_path, clock)
    try:
        machine.runner.collectors.append(Disk(machine.settings))
        machine.run(30)
        assert (len(machine.infos), machine.infos[-1].disk_path) == (1, "/data")
        fill(backup=61.0)
        machine.run(30)
        assert [info.disk_path for info in machine.infos] == ["/data", "/backup"]
        assert machine.samples[-1].vitals.disk_percent == 61.0
    finally:
        machine.kill()
