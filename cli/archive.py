"""Archive of a whole server: the fleet database, the users, the secrets, the certificates and the settings.

Invariants:
- An archive is a tar file that only its owner can read, as it contains secrets in the clear.
- Only the members listed here are read from an archive, into files that only their owner can read.
- A restore overwrites no file, and removes what it wrote when it fails.
- No sign-in session is restored, as it may have been ended since.
"""

import json
import lzma
import os
import shutil
import sqlite3
import tarfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import Any

from runtime import files
from runtime.errors import UserError
from runtime.state_directory import StateDirectory
from runtime.version import VERSION

FLEET = "fleet.db"
PEOPLE = "people.db"
MANIFEST = "manifest.json"
_FILES = ("up.json", "dashfleet.toml")
_DIRECTORIES = ("secrets", "tls", "mosquitto/conf.d")
_KEPT = "dashfleet.toml"
"""File of the state directory that may exist before a restore, which then keeps it."""

_MODE = 0o600
_DAMAGED = (tarfile.TarError, EOFError, zlib.error, lzma.LZMAError)
"""Errors of reading a damaged archive, a compressed one included."""


def is_archive(file: Path) -> bool:
    """Return whether the file is a tar file, unlike a backup of the database alone."""
    try:
        return file.is_file() and tarfile.is_tarfile(file)
    except _DAMAGED:
        return True


def write_archive(state: StateDirectory, fleet: Path, people: Path | None, file: Path, *, at: int) -> list[str]:
    """Write an archive with a backup of the fleet database and the files of the state directory; return their names.

    `people` is the SQLite database of users, if it is one; `at`: milliseconds. Raises UserError.
    """
    try:
        with files.new(file) as written, tarfile.open(written, "w") as tar:
            manifest = written.with_name(MANIFEST)
            manifest.write_text(json.dumps({"version": VERSION, "at": at}))
            members = {MANIFEST: manifest, FLEET: fleet}
            if people is not None and people.exists():
                members[PEOPLE] = _snapshot(people, written.with_name(PEOPLE))
            members |= {name: state.data / name for name in _state_files(state.data)}
            for name, path in members.items():
                tar.add(path, name, recursive=False, filter=_private)
    except FileExistsError:
        raise UserError(f"the file {file} exists already: name a new one") from None
    except (OSError, sqlite3.Error) as error:
        raise UserError(f"cannot back up to {file}: {getattr(error, 'strerror', None) or error}") from None
    return [name for name in members if name not in (MANIFEST, FLEET)]


@contextmanager
def opened_archive(file: Path, beside: Path) -> Iterator[Path]:
    """Yield a private directory next to `beside` with the members of an archive. Raises UserError."""
    try:
        beside.mkdir(parents=True, exist_ok=True, mode=0o700)
        with TemporaryDirectory(dir=beside, prefix=".restore.") as directory:
            with tarfile.open(file) as tar:
                _extract(tar, Path(directory))
            yield Path(directory)
    except _DAMAGED as error:
        raise UserError(f"{file} is no backup of DashFleet, or it is damaged: {error}") from None
    except OSError as error:
        raise UserError(f"cannot restore {file} in {beside}: {error.strerror}") from None


def read_manifest(directory: Path) -> dict[str, Any]:
    """Return the manifest of an opened archive: `version` and `at`, milliseconds. Raises tarfile.TarError."""
    try:
        found = json.loads((directory / MANIFEST).read_bytes())
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict) or not isinstance(found.get("at"), int):
        raise tarfile.TarError(f"{MANIFEST} cannot be read")
    return found


@contextmanager
def placed_files(directory: Path, data: Path, people: Callable[[], Path | None]) -> Iterator[list[Path]]:
    """Copy the files of an opened archive to their places, and remove them again if the block fails.

    `people` returns the place of the database of users; it is called when the settings are in place. Raises UserError
    if a file exists already.
    """
    written: list[Path] = []
    try:
        for name in _state_files(directory):
            if name != _KEPT or not (data / name).exists():
                _place(directory / name, data / name, written)
        if (directory / PEOPLE).exists() and (place := people()) is not None:
            _forget_sessions(directory / PEOPLE)
            _place(directory / PEOPLE, place, written)
        yield written
    except BaseException:
        for path in written:
            path.unlink(missing_ok=True)
        raise


def _place(source: Path, target: Path, written: list[Path]) -> None:
    try:
        target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with files.new(target) as new:
            shutil.copyfile(source, new)
    except FileExistsError:
        raise UserError(
            f"{target} exists already: restore into an empty state directory, or with --database-only only the fleet "
            "database"
        ) from None
    written.append(target)


def _state_files(data: Path) -> list[str]:
    found = [data / name for name in _FILES]
    found += [path for name in _DIRECTORIES for path in sorted((data / name).rglob("*"))]
    return [str(path.relative_to(data)) for path in found if path.is_file()]


def _snapshot(source: Path, copy: Path) -> Path:
    """Copy a SQLite database with its write-ahead log, while it is in use."""
    os.close(os.open(copy, os.O_CREAT | os.O_EXCL | os.O_WRONLY, _MODE))
    with closing(sqlite3.connect(source)) as reading, closing(sqlite3.connect(copy)) as writing:
        reading.backup(writing)
        writing.execute("PRAGMA journal_mode = DELETE")
    return copy


def _forget_sessions(people: Path) -> None:
    with closing(sqlite3.connect(people)) as connection, connection:
        connection.execute("DELETE FROM session")


def _private(member: tarfile.TarInfo) -> tarfile.TarInfo:
    member.mode, member.uid, member.gid, member.uname, member.gname = _MODE, 0, 0, "", ""
    return member


def _extract(tar: tarfile.TarFile, directory: Path) -> None:
    for member in tar:
        if not member.isfile() or not _is_known(member.name):
            raise tarfile.TarError(f"unexpected member {member.name!r}")
        target = directory / member.name
        target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        content = tar.extractfile(member)
        assert content is not None  # noqa: S101 - a regular file
        with content, os.fdopen(os.open(target, os.O_CREAT | os.O_EXCL | os.O_WRONLY, _MODE), "wb") as file:
            shutil.copyfileobj(content, file)
    for name in (MANIFEST, FLEET):
        if not (directory / name).exists():
            raise tarfile.TarError(f"there is no {name} in it")


def _is_known(name: str) -> bool:
    if name in (MANIFEST, FLEET, PEOPLE, *_FILES):
        return True
    path = PurePosixPath(name)
    return ".." not in path.parts and any(path.is_relative_to(directory) for directory in _DIRECTORIES)
