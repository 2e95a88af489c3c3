"""Atomic writes: a reader, also after a crash, finds the old or the new content of a file, never a part of it."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import fields
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")


def replace(path: Path, text: str) -> None:
    """Replace the content of a file, atomically and durably; only the file's owner can read it.

    Raises OSError; the file then has its old content.
    """
    from tempfile import mkstemp  # here: it costs memory, which most processes do not need to spend

    descriptor, name = mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(path)
    except BaseException:
        with suppress(OSError):
            Path(name).unlink()
        raise
    sync(path.parent)


def read_record(path: Path, kind: type[T]) -> T | None:
    """Return the record of this dataclass in a JSON file; None if there is none that can be read.

    Fields that a later version has added are ignored, and those that an earlier one did not write have their defaults.
    """
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        return kind(**{each.name: values[each.name] for each in fields(kind) if each.name in values})  # type: ignore[arg-type]
    except (OSError, ValueError, TypeError):  # TypeError: no object, or a field is missing
        return None


@contextmanager
def new(path: Path) -> Iterator[Path]:
    """Yield a temporary file, which becomes `path`, complete and on disk, when the block succeeds.

    The file exists, empty, and only its owner can read it. Never overwrites: raises FileExistsError, before or after
    the block.
    """
    from tempfile import TemporaryDirectory

    if path.exists():
        raise FileExistsError(path)
    with TemporaryDirectory(dir=path.absolute().parent, prefix=f".{path.name}.") as directory:
        written = Path(directory, path.name)
        os.close(os.open(written, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        yield written
        sync(written)
        _give_name(written, path)
        sync(path.absolute().parent)


def _give_name(written: Path, path: Path) -> None:
    try:
        os.link(written, path)  # unlike a rename, fails if the name is taken
    except FileExistsError:
        raise
    except OSError:  # a file system without hard links, such as FAT: an empty file reserves the name
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        written.replace(path)


def sync(path: Path) -> None:
    """Flush a file to the disk, or the names in a directory where the system can do that."""
    if os.name != "posix" and path.is_dir():
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
