"""SQLite files of the agent: locked by one process, checked when opened, moved aside when corrupt."""

import logging
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Literal, TypeVar

PAGE_BYTES = 4096
CORRUPT_KEPT = 3
"""Number of corrupt files of one name that are kept for inspection; a bound, so that they cannot fill the disk."""

_WAL_PAGES = 64
_CORRUPT = frozenset((sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB))

T = TypeVar("T")
log = logging.getLogger(__name__)


def open_checked(
    path: Path, check: Literal["quick_check", "integrity_check"], prepare: Callable[[sqlite3.Connection], T]
) -> T:
    """Open a file, check it if it existed, and return the result of `prepare`. Raises sqlite3.DatabaseError, OSError.

    The connection is closed on an error.
    """
    existed = path.exists()
    connection = sqlite3.connect(path, isolation_level=None, timeout=1.0)
    # Damaged text must make neither the check nor a query fail; the reader finds that it is not JSON.
    connection.text_factory = lambda text: text.decode("utf-8", "replace")
    try:
        if existed and connection.execute(f"PRAGMA {check}(1)").fetchone()[0] != "ok":
            raise corruption(f"{check} found errors")
        return prepare(connection)
    except (sqlite3.DatabaseError, OSError):
        connection.close()
        raise


def configure(connection: sqlite3.Connection, *, durable: bool) -> None:
    """Lock the file until it is closed and bound its WAL. `durable`: a commit returns only when it is on disk."""
    for pragma in (
        "locking_mode = EXCLUSIVE",
        f"page_size = {PAGE_BYTES}",
        "journal_mode = WAL",
        f"synchronous = {'FULL' if durable else 'OFF'}",
        f"wal_autocheckpoint = {_WAL_PAGES}",
        f"journal_size_limit = {_WAL_PAGES * PAGE_BYTES}",
    ):
        connection.execute(f"PRAGMA {pragma}")


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """Commit all statements of the block, or none of them if it raises."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        with suppress(sqlite3.Error):  # after most disk errors SQLite has rolled back already
            connection.execute("ROLLBACK")
        raise


def corruption(message: str) -> sqlite3.DatabaseError:
    """Return the error for damage that SQLite itself does not detect; `is_corrupt` is true for it."""
    error = sqlite3.DatabaseError(message)
    error.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
    return error


def is_corrupt(error: sqlite3.DatabaseError) -> bool:
    """Return True if the file itself is damaged, rather than full, locked or failing."""
    return _code(error) in _CORRUPT


def is_locked(error: sqlite3.DatabaseError) -> bool:
    """Return True if another process uses the file."""
    return _code(error) == sqlite3.SQLITE_BUSY


def move_aside(path: Path, error: sqlite3.DatabaseError, quarantined: list[Path]) -> None:
    """Rename a corrupt file, with its WAL, so that a new one can replace it; add the new path to `quarantined`.

    Keeps the newest CORRUPT_KEPT of this name and deletes the others.
    """
    prefix = f"{path.name}.corrupt-"
    aside = path.with_name(f"{prefix}{time.time_ns()}")
    for tail in ("", "-wal", "-shm"):
        with suppress(OSError):
            path.with_name(path.name + tail).rename(aside.with_name(aside.name + tail))
    files: dict[int, list[Path]] = {}
    for file in path.parent.glob(f"{prefix}*"):
        moved_at = file.name.removeprefix(prefix).partition("-")[0]
        if moved_at.isdecimal():
            files.setdefault(int(moved_at), []).append(file)
    for old in sorted(files)[:-CORRUPT_KEPT]:
        for file in files[old]:
            with suppress(OSError):
                file.unlink()
    quarantined.append(aside)
    log.error("%s was corrupt (%s): moved to %s, starting with an empty one", path, error, aside)


def _code(error: sqlite3.DatabaseError) -> int:
    code: int = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR)
    return code & 0xFF
