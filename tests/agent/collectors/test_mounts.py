"""The mount table of real machines, and file systems that do not answer."""

import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from agent.collector import Details
from agent.collectors.storage.mounts import Mounts
from agent.host import mount_table
from agent.host.calls import each_in_time
from agent.host.mount_table import MountUsage
from runtime.settings.agent import AgentSettings

SERVER = """\
22 1 253:0 / / rw,relatime shared:1 - ext4 /dev/mapper/vg-root rw,errors=remount-ro
23 22 0:21 / /proc rw,nosuid shared:12 - proc proc rw
24 22 0:5 / /dev rw,nosuid shared:8 - devtmpfs udev rw,size=4G
25 22 0:23 / /run rw,nosuid shared:9 - tmpfs tmpfs rw,size=800M
30 22 8:2 / /boot rw,relatime shared:20 - ext4 /dev/sda2 rw
31 30 8:1 / /boot/efi rw,relatime shared:21 - vfat /dev/sda1 rw
40 22 8:17 / /data rw,relatime shared:22 - xfs /dev/sdb1 rw
41 22 8:17 /www /srv/www rw,relatime shared:22 - xfs /dev/sdb1 rw
42 22 7:3 / /snap/core/17200 ro,nodev shared:30 - squashfs /dev/loop3 ro
43 22 0:50 / /mnt/nas rw,relatime shared:31 - nfs4 nas:/export rw,vers=4.2,hard
44 22 0:51 / /var/lib/docker/overlay2/abc/merged rw - overlay overlay rw,lowerdir=/a
45 22 0:52 / /mnt/My\\040Disk rw,relatime - fuseblk /dev/sdc1 rw
46 22 8:33 / /media/stick ro,relatime - vfat /dev/sdc2 ro
a broken line
47 22 8:49 / /data rw - ext4
"""

BTRFS = """\
25 1 0:24 /@ / rw,relatime shared:1 - btrfs /dev/nvme0n1p2 rw,subvolid=256,subvol=/@
26 25 0:24 /@home /home rw,relatime shared:2 - btrfs /dev/nvme0n1p2 rw,subvolid=257,subvol=/@home
27 25 0:24 /@/var/lib/docker/btrfs /var/lib/docker/btrfs rw shared:1 - btrfs /dev/nvme0n1p2 rw
28 25 0:30 / /tank rw shared:3 - zfs tank rw,xattr
29 28 0:31 / /tank/vm rw shared:4 - zfs tank/vm rw,xattr
"""

CONTAINER = """\
1000 900 0:60 / / rw,relatime - overlay overlay rw,lowerdir=/l
1001 1000 8:2 /var/lib/docker/containers/ab/hosts /etc/hosts rw - ext4 /dev/sda2 rw
1002 1000 8:2 /var/lib/docker/volumes/v/_data /etc rw - ext4 /dev/sda2 rw
"""


@pytest.fixture
def table(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[str], None]:
    """Sets the mount table."""
    file = tmp_path / "mountinfo"
    monkeypatch.setattr(mount_table, "MOUNTS_FILE", file)

    def write(text: str) -> None:
        file.write_text(text)

    return write


def collector_of(*patterns: str) -> Mounts:
    return Mounts(AgentSettings(data=Path("unused"), machine="attic", mounts=list(patterns)))


def usage(percent: float = 50.0, inodes: int | None = 7) -> Callable[[str], MountUsage]:
    return lambda _point: MountUsage(1000, 500, percent, inodes)


def points(*patterns: str) -> set[str]:
    collector = collector_of(*patterns)
    collector._usage = each_in_time.EachInTime(usage(), 5)
    return set(collector.collect().series["disk_used_percent"])


def test_local_file_systems_are_chosen_once_and_without_images_memory_network_and_containers(
    table: Callable[[str], None],
) -> None:
    table(SERVER)

    assert points() == {"/", "/boot", "/boot/efi", "/data", "/mnt/My Disk", "/media/stick"}


def test_the_owner_can_ask_for_others_and_leave_some_out(table: Callable[[str], None]) -> None:
    table(SERVER)

    assert points("/mnt/nas", "!/boot*", "/srv/*") == {
        *("/", "/data", "/mnt/My Disk", "/media/stick"),
        *("/mnt/nas", "/srv/www"),
    }


def test_subvolumes_are_one_file_system_and_datasets_are_several(table: Callable[[str], None]) -> None:
    table(BTRFS)

    assert points() == {"/", "/tank", "/tank/vm"}


def test_in_a_container_its_volumes_count_and_the_files_of_its_manager_do_not(table: Callable[[str], None]) -> None:
    table(CONTAINER)

    assert points() == {"/etc"}


def test_a_file_system_without_a_fixed_number_of_inodes_has_none_that_are_free(table: Callable[[str], None]) -> None:
    table(BTRFS)
    collector = collector_of()
    collector._usage = each_in_time.EachInTime(usage(inodes=None), 5)

    assert "disk_free_inodes" not in collector.collect().series


def test_the_fullest_is_the_first(table: Callable[[str], None]) -> None:
    table(SERVER)
    collector = collector_of()
    percents = {"/data": 93.0, "/boot": 95.0}
    collector._usage = each_in_time.EachInTime(lambda point: usage(percents.get(point, 10.0))(point), 5)

    assert list(collector.collect().series["disk_used_percent"])[:2] == ["/boot", "/data"]


@pytest.fixture
def dead() -> Iterator[threading.Event]:
    """While it is not set, a file system hangs."""
    event = threading.Event()
    yield event
    event.set()


def test_a_file_system_that_hangs_costs_its_own_values_and_one_thread_until_it_answers(
    table: Callable[[str], None], dead: threading.Event
) -> None:
    table(SERVER)
    calls: list[str] = []

    def statvfs(point: str) -> MountUsage:
        calls.append(point)
        if point == "/mnt/nas":
            dead.wait(60)
        return usage()(point)

    collector = collector_of("/mnt/nas")
    collector._usage = each_in_time.EachInTime(statvfs, 0.1)
    before = threading.active_count()

    def check(details: Details) -> None:
        found = details.series["disk_used_percent"]
        assert found.pop("/mnt/nas") is None
        assert set(found.values()) == {50.0}
        assert len(found) == 6
        assert details.facts["mounts"]["/mnt/nas"].health == "critical"
        assert details.facts["mounts"]["/mnt/nas"].fields["state"] == "no answer"

    for _ in range(3):
        check(collector.collect())
    assert calls.count("/mnt/nas") == 1
    assert threading.active_count() <= before + 1

    dead.set()
    for thread in threading.enumerate():
        if thread.name == "calls":
            thread.join(15)
    assert collector.collect().series["disk_used_percent"]["/mnt/nas"] == 50.0


def test_many_dead_file_systems_cost_a_bounded_number_of_threads(dead: threading.Event) -> None:
    read = each_in_time.EachInTime(lambda _name: dead.wait(60), 0.01)
    names = [str(number) for number in range(each_in_time.HANGING_MAX * 2)]

    for _ in range(2):
        found = read(names)
        assert [type(found[name]) for name in names] == [TimeoutError] * len(names)
    assert sum(thread.name == "calls" for thread in threading.enumerate()) == each_in_time.HANGING_MAX


def test_an_error_costs_one_file_system_only() -> None:
    def read(name: str) -> int:
        if name == "missing":
            raise FileNotFoundError(2, "No such file or directory")
        return int(name)

    found = each_in_time.EachInTime(read, 5)(["1", "missing", "2"])

    assert (found["1"], found["2"]) == (1, 2)
    assert isinstance(found["missing"], FileNotFoundError)


@pytest.mark.skipif(not hasattr(os, "statvfs"), reason="needs statvfs")
def test_two_hundred_mounts_are_read_in_little_time(table: Callable[[str], None], tmp_path: Path) -> None:
    for number in range(200):
        (tmp_path / f"m{number}").mkdir()
    table("".join(f"{n} 1 9:{n} / {tmp_path}/m{n} rw - ext4 /dev/md{n} rw\n" for n in range(200)))

    assert len(collector_of().collect().series["disk_used_percent"]) == 200
