"""Mounted file systems: those that hold data, each device once."""

import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import psutil

from agent.host.small_files import read_text

MOUNTS_FILE = Path("/proc/self/mountinfo")
_ESCAPE = re.compile(r"\\([0-7]{3})")
_LOCAL = frozenset(
    (
        *("ext2", "ext3", "ext4", "xfs", "btrfs", "zfs", "bcachefs", "f2fs", "jfs", "reiserfs", "nilfs2", "ufs"),
        *("vfat", "exfat", "ntfs", "ntfs3", "fuseblk", "hfs", "hfsplus", "apfs", "ubifs", "jffs2", "ocfs2", "gfs2"),
    )
)
"""Types of local file systems that hold data; not images, file systems in memory, of the network or of containers."""


class Mount(NamedTuple):
    """A mounted file system. `device_id` is the same for all mounts of one file system; `root` is `/` for all of it."""

    point: str
    type: str
    source: str
    device_id: str
    root: str
    read_only: bool

    @property
    def is_local(self) -> bool:
        """True if the file system is on a disk of this machine."""
        return self.type in _LOCAL


class MountUsage(NamedTuple):
    """Bytes in total and in use, and their share as `df` counts it, without space that is reserved for root."""

    total: int
    used: int
    percent: float
    free_inodes: int | None


def usage_of(point: str) -> MountUsage:
    """Return the usage of the file system at a mount point. Raises OSError; may hang if that is dead."""
    if not hasattr(os, "statvfs"):
        found = psutil.disk_usage(point)
        return MountUsage(found.total, found.used, found.percent, None)
    found = os.statvfs(point)
    used = found.f_blocks - found.f_bfree
    usable = used + found.f_bavail
    percent = 100 * used / usable if usable else 0.0
    inodes = found.f_favail if found.f_files else None  # btrfs and vfat have no fixed number
    return MountUsage(found.f_blocks * found.f_frsize, used * found.f_frsize, min(100.0, percent), inodes)


def mounts() -> list[Mount]:
    """Return all mounts, the latest of each mount point."""
    lines = read_text(MOUNTS_FILE).splitlines()
    if not lines:
        return [_portable(each) for each in psutil.disk_partitions(all=True)]
    parsed = (mount for line in lines if (mount := _parsed(line)) is not None)
    return list({mount.point: mount for mount in parsed}.values())


def each_device_once(found: Iterable[Mount]) -> list[Mount]:
    """Return one mount of each file system, a mount of all of it rather than a bind mount, sorted by mount point."""
    chosen: dict[str, Mount] = {}
    for mount in sorted(found, key=lambda each: (each.root != "/", len(each.point), each.point)):
        if mount.root == "/" or mount.device_id in chosen or os.path.isdir(mount.point):  # noqa: PTH112 - 200 mounts
            chosen.setdefault(mount.device_id, mount)  # not the files that a container's manager mounts
    return sorted(chosen.values())


def _parsed(line: str) -> Mount | None:
    """Return the mount in a line of mountinfo: see proc_pid_mountinfo(5)."""
    before, separator, after = line.partition(" - ")
    fields, source = before.split(" "), after.split(" ")
    if not separator or len(fields) < 6 or len(source) < 2:
        return None
    # The options of the file system, not those of the mount: a hardened service sees all mounts read-only.
    read_only = len(source) > 2 and "ro" in source[2].split(",")
    return Mount(_plain(fields[4]), source[0], _plain(source[1]), fields[2], _plain(fields[3]), read_only)


def _plain(text: str) -> str:
    return _ESCAPE.sub(lambda match: chr(int(match[1], 8)), text) if "\\" in text else text


def _portable(partition: object) -> Mount:
    point, kind, source = (str(getattr(partition, name)) for name in ("mountpoint", "fstype", "device"))
    options = str(getattr(partition, "opts", "")).split(",")
    return Mount(point, kind.lower(), source, source or point, "/", "ro" in options)
