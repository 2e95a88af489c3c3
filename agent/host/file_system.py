"""The file system of the disk vital."""

import os
import sys
import threading
from pathlib import Path

import psutil

from agent.host.calls.each_in_time import EachInTime
from agent.host.mount_table import each_device_once, mounts, usage_of
from agent.host.selection import Selection
from runtime.settings.agent import AgentSettings

STATVFS_SECONDS = 0.5
_ROOT = Path("/")
_WRITABLE_PLACES = (Path("/var"), Path("/home"))


class FullestFileSystem:
    """The choice of the file system of the disk vital, one for the collector and the inventory of a process.

    Invariants: percentage, used bytes, and the path and size in `info` are those of one file system. Where two change
    places as the fullest, the percentage is the same, so that the vital has no jump.
    """

    def __init__(self) -> None:
        self.path: Path | None = None
        """The last choice; None if there was none."""
        self._percent = EachInTime(lambda point: usage_of(point).percent, STATVFS_SECONDS)
        self._lock = threading.Lock()

    def choose(self, settings: AgentSettings) -> Path | None:
        """Return the fullest local file system that can be written to, the root among equals. None if there is none.

        EFI partitions and memory sticks (vfat) do not count, nor those that `mounts` leaves out, nor one that hangs.
        """
        selection = Selection(settings.mounts)
        local = (each for each in mounts() if each.is_local and each.type != "vfat" and not each.read_only)
        points = {each.point for each in each_device_once(local) if selection.includes(each.point, default=True)}
        if sys.platform == "linux" and not _is_image(_ROOT):
            points.add(str(_ROOT))  # also that of a container
        with self._lock:
            found = self._percent(sorted(points))
        known = {point: percent for point, percent in found.items() if not isinstance(percent, OSError)}
        fullest = max(known, key=lambda point: (known[point], point == str(_ROOT), point), default=None)
        self.path = _writable_path(settings) if fullest is None else Path(fullest)
        return self.path


FULLEST = FullestFileSystem()


def measured_path(settings: AgentSettings) -> Path | None:
    """Return the path of the disk vital: `disk_path` if that is set, else the fullest local file system.

    An image that is read-only and full by design (composefs, squashfs, erofs) is the root of many appliances, and its
    100 % means nothing: in its place a writable file system is measured. None if nothing is writable. Raises OSError
    if `disk_path` cannot be read.
    """
    path = settings.disk_path
    if path is None:
        return FULLEST.choose(settings) if sys.platform in ("linux", "win32") else _ROOT
    return path if not hasattr(os, "statvfs") or not _is_image(path) else _writable_path(settings)


def _writable_path(settings: AgentSettings) -> Path | None:
    for place in (*_WRITABLE_PLACES, settings.data):
        if _is_writable(place):
            return place
    mounts = {Path(partition.mountpoint) for partition in psutil.disk_partitions(all=False)}
    return max(filter(_is_writable, mounts), key=_size, default=None)


def _is_image(path: Path) -> bool:
    found = os.statvfs(path)
    return bool(found.f_flag & os.ST_RDONLY and found.f_blocks and not found.f_bfree)


def _is_writable(path: Path) -> bool:
    return not _read_only(path) and _size(path) > 0


def _read_only(path: Path) -> bool:
    try:
        return bool(os.statvfs(path).f_flag & os.ST_RDONLY)
    except OSError:
        return True


def _size(path: Path) -> int:
    try:
        found = os.statvfs(path)
    except OSError:
        return 0
    return found.f_blocks * found.f_frsize
