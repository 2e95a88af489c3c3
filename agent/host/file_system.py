"""The file system of the disk vital."""

import os
from pathlib import Path

import psutil

from runtime.settings.agent import AgentSettings

_WRITABLE_PLACES = (Path("/var"), Path("/home"))


def measured_path(settings: AgentSettings) -> Path | None:
    """Return `disk_path`; if that is an image that is read-only and full by design, a path on a writable file system.

    Such an image (composefs, squashfs, erofs) is the root of many appliances, and its 100 % means nothing. None if
    nothing is writable. Raises OSError if `disk_path` cannot be read.
    """
    if not hasattr(os, "statvfs") or not _is_image(settings.disk_path):
        return settings.disk_path
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
