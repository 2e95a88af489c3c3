"""Disks to break: a small file system in memory, an ext4 image whose power can be cut, a process whose syncs fail."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from faults.network import require_root
from servers import require_program, stop
from waiting import wait_until

BALLAST = "ballast"


@contextmanager
def small_disk(directory: Path, *, size: str = "2m") -> Iterator[Path]:
    """A file system of this size at this directory. Needs root."""
    require_root()
    directory.mkdir()
    _run("mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(directory))
    try:
        yield directory
    finally:
        _run("umount", str(directory))


def fill(directory: Path) -> None:
    """Write until the disk is full."""
    with (directory / BALLAST).open("wb", buffering=0) as ballast:
        for size in (1 << 16, 1 << 12, 1):
            try:
                while True:
                    ballast.write(bytes(size))
            except OSError:
                continue


def free(directory: Path) -> None:
    """Make room again."""
    (directory / BALLAST).unlink()


class Image:
    """An ext4 file system in a file."""

    def __init__(self, path: Path, mount: Path, *, megabytes: int) -> None:
        self.path, self.mount = path, mount
        mount.mkdir()
        with path.open("wb") as file:
            file.truncate(megabytes << 20)
        _run(require_program("mkfs.ext4", "e2fsprogs"), "-q", "-F", str(path))
        _run("mount", "-o", "loop", str(path), str(mount))

    def cut_power(self, copy: Path) -> None:
        """Copy what has reached the block device: what a power cut at this moment would leave."""
        shutil.copyfile(self.path, copy)

    @property
    def written_bytes(self) -> int:
        """What was ever written to the block device, and is not only meant to be."""
        device = subprocess.run(
            ["findmnt", "-no", "SOURCE", str(self.mount)],
            check=True,
            capture_output=True,
            text=True,
        ).stdout.strip()
        return int(Path(f"/sys/block/{Path(device).name}/stat").read_text().split()[6]) * 512

    def sync(self) -> None:
        """Bring everything to the block device."""
        descriptor = os.open(self.mount, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        os.sync()

    def remove(self) -> None:
        """Unmount it."""
        _run("umount", str(self.mount))


def copy_database(path: Path, directory: Path) -> Path:
    """Copy a SQLite database that a stopped process has open, with what is in its log."""
    directory.mkdir(exist_ok=True)
    for tail in ("", "-wal"):
        file = path.with_name(path.name + tail)
        if file.exists():
            shutil.copyfile(file, directory / file.name)
    return directory / path.name


@contextmanager
def image(directory: Path, *, megabytes: int = 32) -> Iterator[Image]:
    """A mounted image. Needs root."""
    require_root()
    made = Image(directory / "disk.img", directory / "disk", megabytes=megabytes)
    try:
        yield made
    finally:
        made.remove()


@contextmanager
def mounted(path: Path, mount: Path) -> Iterator[Path]:
    """What is found on an image after the power is back: the file system's journal is replayed."""
    mount.mkdir(exist_ok=True)
    _run("mount", "-o", "loop", str(path), str(mount))
    try:
        yield mount
    finally:
        _run("umount", str(mount))


@contextmanager
def failing_syncs(pid: int, log: Path) -> Iterator[None]:
    """Meanwhile every fsync and fdatasync of a process fails with EIO."""
    require_root()
    program = require_program("strace", "strace")
    calls = "fsync,fdatasync"
    argv = [program, "-f", "-p", str(pid), "-o", str(log), "-e", f"trace={calls}", "-e", f"inject={calls}:error=EIO"]
    tracer = subprocess.Popen(argv, stderr=subprocess.DEVNULL)
    try:
        wait_until(lambda: b"TracerPid:\t0" not in Path(f"/proc/{pid}/status").read_bytes(), what="the tracer attached")
        yield
    finally:
        stop(tracer)


def _run(*argv: str) -> None:
    subprocess.run(argv, check=True)
