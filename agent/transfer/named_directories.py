"""Files within directories that the machine's owner has named, opened and replaced without following a link.

Invariants:
- Below a named directory no link is followed, whenever it was made: each directory is opened from the one before it.
- The agent's own directory is out of reach with all below it, under whatever name: it is recognised by its inode.
- A file is replaced as a whole, by a rename: a reader finds the old content or the new one.
"""

import errno
import os
import shutil
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO

PATH_MAX = 1024
"""Longest path, in characters."""

NEW_FILE_MODE = 0o600
_NAME_MAX = 200
_PRIVATE = "this directory is the agent's own"
_BLOCK_BYTES = 1 << 20
_DIRECTORY = os.O_RDONLY | getattr(os, "O_DIRECTORY", 0) | getattr(os, "O_CLOEXEC", 0)
_NO_LINK = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)
_LINKS = (errno.ELOOP, errno.ENOTDIR, errno.EMLINK)


class PathRefusedError(ValueError):
    """A path leads to nothing that may be read or replaced; the message is a sentence."""


class NamedDirectories:
    """The directories of one purpose. `private`: the directory of the agent itself, which none of them opens."""

    def __init__(self, directories: Sequence[Path], private: Path) -> None:
        self._directories = sorted(directories, key=lambda each: -len(each.parts))
        self._private = private

    def locate(self, path: str) -> tuple[Path, tuple[str, ...]]:
        """Return the named directory of a path, and the names below it. Raises PathRefusedError."""
        if os.name != "posix":
            raise PathRefusedError("files are pushed and pulled on Linux and macOS only")
        pure = PurePosixPath(path)
        plain = path.startswith("/") and not path.startswith("//") and str(pure) == path and ".." not in pure.parts
        if not plain or "\0" in path or len(path) > PATH_MAX or len(pure.name) > _NAME_MAX:
            raise PathRefusedError("the path must be absolute and plain, without .., doubled or trailing slashes")
        for directory in self._directories:
            if pure.is_relative_to(directory.as_posix()) and len(pure.parts) > len(directory.parts):
                return directory, pure.relative_to(directory.as_posix()).parts
        raise PathRefusedError("the owner of this machine permits no files in this directory")

    def open(self, path: str, limit: int) -> BinaryIO:
        """Open a regular file of at most `limit` bytes to read it. Raises PathRefusedError, OSError."""
        with self._parent(path) as (place, name):
            descriptor = _open_file(name, place)
        try:
            _require_readable(os.fstat(descriptor), limit)
            return os.fdopen(descriptor, "rb")
        except BaseException:
            os.close(descriptor)
            raise

    def write(self, path: str, content: Path, *, mode: int | None, replace: bool) -> None:
        """Give a path the content of a file. `mode`: None for that of the file replaced, or NEW_FILE_MODE.

        Raises PathRefusedError, also if there is a file and `replace` is false, and OSError.
        """
        with self._parent(path) as (place, name):
            before = _require_replaceable(name, place, replace=replace)
            temporary = f".{name}.dashfleet"
            with suppress(FileNotFoundError):
                os.unlink(temporary, dir_fd=place)  # left by a process that was killed
            try:
                _write_beside(temporary, place, content, before, mode)
                _give_name(temporary, name, place, replace=replace)
            finally:
                with suppress(FileNotFoundError):
                    os.unlink(temporary, dir_fd=place)
            os.fsync(place)

    @contextmanager
    def _parent(self, path: str) -> Iterator[tuple[int, str]]:
        """Yield a descriptor of the directory of a path, and the last name. Raises PathRefusedError, OSError."""
        directory, names = self.locate(path)
        private = _identity(self._private.stat())
        place = os.open(directory, _DIRECTORY)
        try:
            _require_outside(place, private)
            for name in (*names[:-1], None):
                if _identity(os.fstat(place)) == private:
                    raise PathRefusedError(_PRIVATE)
                if name is not None:
                    below = _open_directory(name, place)
                    os.close(place)
                    place = below
            yield place, names[-1]
        finally:
            os.close(place)


def describe_path(schema: dict[str, Any], directories: Sequence[Path]) -> dict[str, Any]:
    """Return the schema of an action with an argument `path`, with the directories that are permitted."""
    permitted = ", ".join(each.as_posix() for each in directories) or "nothing"
    path = {**schema["properties"]["path"], "description": f"Absolute path of the file; permitted here: {permitted}"}
    path["description"] = path["description"][:500]
    return {**schema, "properties": {**schema["properties"], "path": path}}


def _identity(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino


def _require_outside(place: int, private: tuple[int, int]) -> None:
    """Raise PathRefusedError if a directory lies in the private one, by the names of its parents `..`."""
    above, before = ".", None
    while (found := _identity(os.stat(above, dir_fd=place))) != before:
        if found == private:
            raise PathRefusedError(_PRIVATE)
        above, before = f"{above}/..", found


def _open_directory(name: str, place: int) -> int:
    try:
        return os.open(name, _DIRECTORY | _NO_LINK, dir_fd=place)
    except OSError as error:
        if error.errno in _LINKS:
            raise PathRefusedError(f"{name} is a link or no directory, and links are not followed") from None
        raise


def _open_file(name: str, place: int) -> int:
    try:
        return os.open(name, os.O_RDONLY | os.O_NONBLOCK | _NO_LINK, dir_fd=place)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.EMLINK):
            raise PathRefusedError(f"{name} is a link, and links are not followed") from None
        raise


def _require_readable(status: os.stat_result, limit: int) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise PathRefusedError("this is no regular file")
    if status.st_nlink != 1:
        raise PathRefusedError("the file has several names (hard links), so it may belong elsewhere")
    if status.st_size > limit:
        raise PathRefusedError(f"the file has {status.st_size} bytes, more than {limit}")


def _require_replaceable(name: str, place: int, *, replace: bool) -> os.stat_result | None:
    """Return the status of the file that will be replaced, None without one. Raises PathRefusedError."""
    try:
        before = os.stat(name, dir_fd=place, follow_symlinks=False)
    except FileNotFoundError:
        return None
    if not stat.S_ISREG(before.st_mode):
        raise PathRefusedError(f"{name} is a link, a directory or a device: only a regular file is replaced")
    if not replace:
        raise PathRefusedError(f"{name} exists: replace=true replaces it")
    if os.geteuid() not in (0, before.st_uid):
        raise PathRefusedError(f"{name} belongs to another user than the agent's, which cannot preserve that")
    return before


def _write_beside(temporary: str, place: int, content: Path, before: os.stat_result | None, mode: int | None) -> None:
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _NO_LINK, 0o600, dir_fd=place)
    with os.fdopen(descriptor, "wb") as file, content.open("rb") as source:
        shutil.copyfileobj(source, file, _BLOCK_BYTES)
        file.flush()
        if before is not None and _owner(before) != _owner(os.fstat(descriptor)):
            os.fchown(descriptor, *_owner(before))
        kept = NEW_FILE_MODE if before is None else stat.S_IMODE(before.st_mode) & 0o777
        os.fchmod(descriptor, kept if mode is None else mode & 0o777)
        os.fsync(descriptor)


def _owner(status: os.stat_result) -> tuple[int, int]:
    return status.st_uid, status.st_gid


def _give_name(temporary: str, name: str, place: int, *, replace: bool) -> None:
    if replace:
        os.rename(temporary, name, src_dir_fd=place, dst_dir_fd=place)
        return
    try:
        os.link(temporary, name, src_dir_fd=place, dst_dir_fd=place, follow_symlinks=False)
    except FileExistsError:
        raise PathRefusedError(f"{name} exists: replace=true replaces it") from None
