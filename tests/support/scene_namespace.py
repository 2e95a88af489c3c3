"""Run a program in a mount namespace of its own, in which files and mounts of a scene replace the system's.

    python scene_namespace.py ROOT SCENE_JSON PROGRAM ARGUMENT…

`ROOT` holds the files by their absolute path. Each is bound over the existing file, as LXC does; below a directory in
`merge` it belongs to the same file system as its neighbours, so it looks as if the kernel provided it. Other keys of
the scene: `subset_pid` mounts /proc without all but processes, `full_read_only` names a directory for a full read-only
file system, `mounts` is a number of further mounts, `lxcfs`
lists files to bind over also below a directory in `merge`.
"""

import ctypes
import json
import os
import shutil
import sys
from pathlib import Path

CLONE_NEWNS = 0x20000
MS_RDONLY, MS_REMOUNT, MS_BIND, MS_REC, MS_PRIVATE = 1, 32, 4096, 16384, 1 << 18
LIBC = ctypes.CDLL(None, use_errno=True)


def mount(source: object, target: Path, kind: str | None, flags: int, data: str | None = None) -> None:
    encoded = [None if value is None else os.fsencode(str(value)) for value in (source, target, kind, data)]
    if LIBC.mount(encoded[0], encoded[1], encoded[2], ctypes.c_ulong(flags), encoded[3]) != 0:
        raise OSError(ctypes.get_errno(), f"mount on {target}")


def merge(directory: Path, root: Path, aside: Path) -> None:
    """Replace a directory by one with links to its old entries, and with those of the scene."""
    aside.mkdir(parents=True)
    mount(directory, aside, None, MS_BIND | MS_REC)
    mount("scene", directory, "tmpfs", 0)
    new = root / directory.relative_to("/")
    for entry in aside.iterdir():
        if not (new / entry.name).exists():
            (directory / entry.name).symlink_to(aside / entry.name)
    for entry in new.iterdir():
        if entry.is_dir():
            shutil.copytree(entry, directory / entry.name)
        else:
            shutil.copyfile(entry, directory / entry.name)


def arrange(root: Path, scene: dict[str, object]) -> None:
    work = root.parent
    if LIBC.unshare(CLONE_NEWNS) != 0:
        raise OSError(ctypes.get_errno(), "unshare")
    mount("none", Path("/"), None, MS_REC | MS_PRIVATE)
    for number in range(int(str(scene.get("mounts", 0)))):
        (place := work / "mounts" / str(number)).mkdir(parents=True)
        mount("scene", place, "tmpfs", 0, "size=4k")
    if scene.get("full_read_only"):
        place = work / str(scene["full_read_only"])
        place.mkdir()
        mount("scene", place, "tmpfs", 0, "size=64k")
        (place / "file").write_bytes(bytes(64 << 10))
        mount("scene", place, "tmpfs", MS_REMOUNT | MS_RDONLY)
    if scene.get("subset_pid"):
        mount("proc", Path("/proc"), "proc", 0, "subset=pid")
    merged = [Path(str(name)) for name in scene.get("merge", [])]  # type: ignore[attr-defined]
    for number, directory in enumerate(merged):
        merge(directory, root, work / "aside" / str(number))
    for file in sorted(path for path in root.rglob("*") if path.is_file()):
        target = Path("/") / file.relative_to(root)
        below = any(target.is_relative_to(directory) for directory in merged)
        if not below or str(target) in scene.get("lxcfs", []):  # type: ignore[operator]
            mount(file, Path(os.path.realpath(target)), None, MS_BIND)


if __name__ == "__main__":
    arrange(Path(sys.argv[1]), json.loads(Path(sys.argv[2]).read_text()))
    os.execvp(sys.argv[3], sys.argv[3:])  # noqa: S606 - the argv of the test
