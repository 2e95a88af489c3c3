"""Writing files: a reader, also one after a crash, finds the old one or the new one, never a part."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


def replace(path: Path, text: str) -> None:
    """Put a text in the place of a file, whole or not at all. Only its owner can read it, from the moment it exists."""
    from tempfile import mkstemp  # here, as the agent has no use for it and for what it brings

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


@contextmanager
def new(path: Path) -> Iterator[Path]:
    """Where to write a file that gets its name when the block ends well: then it is whole, and on the disk.

    An empty file of its owner's is there already. Nothing is overwritten: raises FileExistsError, before and after.
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
        os.link(written, path)  # unlike a rename, it never takes another file's place
    except FileExistsError:
        raise
    except OSError:  # a file system without links, as on a memory stick: an empty file keeps the place for a moment
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        written.replace(path)


def sync(path: Path) -> None:
    """Have a file, or a directory's names, on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
