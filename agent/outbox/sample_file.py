"""One SQLite file of waiting samples; `agent.outbox.outbox` makes a queue of two of them.

Invariants:
- Each method that writes is one transaction: it happened whole when it returns, and not at all when it raises.
- A durable store (WAL, synchronous=FULL) has on disk what it returned from; another survives only the process's death.
- One process at a time: the file is locked from the first touch to `close`.

Format: `stream(id, name, next_seq, dropped)`, ids ascending with age; `sample(stream_id, seq, sampled_at, body)`;
`meta(boot, stream_id)`, at most one row.
"""

import re
import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Self

_PAGE_BYTES = 4096
_WAL_PAGES = 64
_DROP_AT_ONCE = 100
_NAME = re.compile(r"[0-9a-f]{16}")
ASIDE_KEPT = 3
"""So many corrupt stores of one name are kept: enough to look into, and no way to fill the disk."""

_CORRUPT = frozenset((sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB))
_SCHEMA = """
CREATE TABLE IF NOT EXISTS stream (
    id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, next_seq INTEGER NOT NULL, dropped INTEGER NOT NULL
);
CREATE TABLE IF NOT EXISTS sample (
    stream_id INTEGER NOT NULL, seq INTEGER NOT NULL, sampled_at INTEGER NOT NULL, body TEXT NOT NULL,
    PRIMARY KEY (stream_id, seq)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS meta (
    one INTEGER PRIMARY KEY CHECK (one = 1), boot TEXT NOT NULL, stream_id INTEGER NOT NULL
);
"""


class Stream(NamedTuple):
    """A stream and the next number it will give out."""

    id: int
    name: str
    next_seq: int


class Row(NamedTuple):
    """A waiting sample; `body` holds the readings as JSON."""

    stream_id: int
    seq: int
    sampled_at: int
    body: str


class Piece(NamedTuple):
    """Numbers `first` to `last` of a stream, both included."""

    stream_id: int
    first: int
    last: int


class Contents(NamedTuple):
    """All that a store holds: its streams, its samples, and (how many, of which stream id) it had to drop."""

    streams: list[Stream]
    rows: list[Row]
    dropped: list[tuple[int, int]]


@dataclass(frozen=True, slots=True)
class Meta:
    """In which boot of the machine the store was last used, and for which stream."""

    boot: str
    stream_id: int


class Store:
    """A store on an open connection. Every method may raise sqlite3.DatabaseError."""

    def __init__(self, connection: sqlite3.Connection, *, durable: bool) -> None:
        self._connection = connection
        connection.text_factory = _text
        for pragma in (
            "locking_mode = EXCLUSIVE",
            f"page_size = {_PAGE_BYTES}",
            "journal_mode = WAL",
            f"synchronous = {'FULL' if durable else 'OFF'}",
            f"wal_autocheckpoint = {_WAL_PAGES}",
            f"journal_size_limit = {_WAL_PAGES * _PAGE_BYTES}",
        ):
            connection.execute(f"PRAGMA {pragma}")
        connection.executescript(_SCHEMA)

    @classmethod
    def open(cls, path: Path, *, durable: bool) -> Self:
        """The store in a file, checked when it was there before."""
        existed = path.exists()
        connection = sqlite3.connect(path, isolation_level=None, timeout=1.0)
        try:
            if existed and connection.execute("PRAGMA quick_check(1)").fetchone()[0] != "ok":
                raise _corrupt("quick_check found errors")
            return cls(connection, durable=durable)
        except sqlite3.DatabaseError:
            connection.close()
            raise

    @classmethod
    def in_memory(cls) -> Self:
        """A store that dies with the process."""
        return cls(sqlite3.connect(":memory:", isolation_level=None), durable=False)

    def stream(self, stream_id: int) -> Stream | None:
        """The stream with this id. Its name is checked: samples must never be sent under another one."""
        row = self._connection.execute("SELECT id, name, next_seq FROM stream WHERE id = ?", (stream_id,)).fetchone()
        if row is not None and not _NAME.fullmatch(str(row[1])):
            raise _corrupt(f"the name of stream {stream_id} is damaged")
        return None if row is None else Stream(*row)

    def name(self, stream_id: int) -> str:
        """The name of a stream that samples here belong to."""
        found = self.stream(stream_id)
        if found is None:
            raise _corrupt(f"stream {stream_id} is missing")
        return found.name

    def stream_id(self, name: str) -> int | None:
        """The id of the stream with this name."""
        row = self._connection.execute("SELECT id FROM stream WHERE name = ?", (name,)).fetchone()
        return None if row is None else int(row[0])

    def newest_stream_id(self) -> int:
        """The highest id, 0 when there is no stream."""
        return int(self._connection.execute("SELECT coalesce(max(id), 0) FROM stream").fetchone()[0])

    def streams(self) -> list[Stream]:
        """All streams, oldest first."""
        rows = self._connection.execute("SELECT id, name, next_seq FROM stream ORDER BY id")
        return [Stream(*row) for row in rows]

    def meta(self) -> Meta | None:
        """What the last user noted."""
        row = self._connection.execute("SELECT boot, stream_id FROM meta").fetchone()
        return None if row is None else Meta(*row)

    def note(self, meta: Meta, stream: Stream) -> None:
        """Write down the current stream, and forget streams that no sample waits of."""
        with self._transaction():
            self._put_streams([stream])
            self._connection.execute("INSERT OR REPLACE INTO meta VALUES (1, ?, ?)", (meta.boot, meta.stream_id))
            self._connection.execute(
                "DELETE FROM stream WHERE id <> ? AND id NOT IN (SELECT stream_id FROM sample)", (stream.id,)
            )

    def add(self, streams: Sequence[Stream], rows: Sequence[Row]) -> None:
        """Keep samples, and how far their streams have come. Samples that are here already stay as they are."""
        with self._transaction():
            self._put_streams(streams)
            self._connection.executemany("INSERT OR IGNORE INTO sample VALUES (?, ?, ?, ?)", rows)

    def rows(self, *, but: tuple[int, int] = (0, 0), limit: int = -1) -> list[Row]:
        """The oldest samples, ascending; `but` is a (stream id, seq) from which on that stream's are left out."""
        found = self._connection.execute(
            "SELECT stream_id, seq, sampled_at, body FROM sample WHERE stream_id <> ? OR seq < ? "
            "ORDER BY stream_id, seq LIMIT ?",
            (*but, limit),
        )
        return [Row(*row) for row in found]

    def known(self, rows: Sequence[Row]) -> list[Row]:
        """Those of these samples that are here, too."""
        here = "SELECT 1 FROM sample WHERE stream_id = ? AND seq = ?"
        return [row for row in rows if self._connection.execute(here, (row.stream_id, row.seq)).fetchone()]

    def contents(self) -> Contents:
        """All of it, for another store to take over."""
        streams = self.streams()
        return Contents(streams, self.rows(), [(self.dropped(stream.id), stream.id) for stream in streams])

    def take_over(self, contents: Contents) -> None:
        """Keep all that another store held, which is given up."""
        with self._transaction():
            self._put_streams(contents.streams)
            self._connection.executemany("INSERT OR IGNORE INTO sample VALUES (?, ?, ?, ?)", contents.rows)
            self._connection.executemany("UPDATE stream SET dropped = dropped + ? WHERE id = ?", contents.dropped)

    def forget(self, pieces: Sequence[Piece]) -> None:
        """Delete samples. Touches the disk only when one of them is here."""
        waiting = "SELECT 1 FROM sample WHERE stream_id = ? AND seq BETWEEN ? AND ? LIMIT 1"
        here = [piece for piece in pieces if self._connection.execute(waiting, piece).fetchone()]
        if here:
            with self._transaction():
                self._connection.executemany("DELETE FROM sample WHERE stream_id = ? AND seq BETWEEN ? AND ?", here)

    def oldest(self, stream_id: int) -> int | None:
        """The smallest number of a stream that waits here."""
        row = self._connection.execute("SELECT min(seq) FROM sample WHERE stream_id = ?", (stream_id,)).fetchone()
        return None if row[0] is None else int(row[0])

    def count(self) -> int:
        """How many samples wait here."""
        return int(self._connection.execute("SELECT count(*) FROM sample").fetchone()[0])

    def dropped(self, stream_id: int) -> int:
        """How many samples of a stream were dropped here."""
        row = self._connection.execute("SELECT dropped FROM stream WHERE id = ?", (stream_id,)).fetchone()
        return 0 if row is None else int(row[0])

    def make_room(self, max_bytes: int) -> None:
        """Drop the oldest samples until the pages in use fit, and count them. A few pages are always left."""
        while self._used_bytes() > max(max_bytes, 16 * _PAGE_BYTES):
            if self.drop(self.rows(limit=_DROP_AT_ONCE)) == 0:
                return

    def drop(self, rows: Sequence[Row], *, surely: bool = False) -> int:
        """Delete these samples and count those that were here as dropped; how many. `surely`: one must be here."""
        dropped = 0
        with self._transaction():
            for row in rows:
                key = (row.stream_id, row.seq)
                gone = self._connection.execute("DELETE FROM sample WHERE stream_id = ? AND seq = ?", key).rowcount
                self._connection.execute("UPDATE stream SET dropped = dropped + ? WHERE id = ?", (gone, row.stream_id))
                dropped += gone
        if surely and not dropped:
            raise _corrupt("a sample that was read cannot be found")
        return dropped

    def close(self) -> None:
        """Let go of the file."""
        self._connection.close()

    def _put_streams(self, streams: Sequence[Stream]) -> None:
        self._connection.executemany(
            "INSERT INTO stream VALUES (?, ?, ?, 0) ON CONFLICT (id) DO UPDATE SET next_seq = excluded.next_seq",
            streams,
        )

    def _used_bytes(self) -> int:
        pages: int = self._connection.execute("PRAGMA page_count").fetchone()[0]
        free: int = self._connection.execute("PRAGMA freelist_count").fetchone()[0]
        return (pages - free) * _PAGE_BYTES

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._connection.execute("COMMIT")
        except BaseException:
            with suppress(sqlite3.Error):  # SQLite has rolled back by itself after most errors of the disk
                self._connection.execute("ROLLBACK")
            raise


def _text(stored: bytes) -> str:
    """Damaged text must not stop a query; who reads it finds that it is not JSON."""
    return stored.decode("utf-8", "replace")


def _corrupt(message: str) -> sqlite3.DatabaseError:
    error = sqlite3.DatabaseError(message)
    error.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
    return error


def is_corrupt(error: sqlite3.DatabaseError) -> bool:
    """Whether the file itself is damaged, rather than full, locked or failing."""
    code: int = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR)
    return code & 0xFF in _CORRUPT


def is_locked(error: sqlite3.DatabaseError) -> bool:
    """Whether another process uses the file."""
    code: int = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR)
    return code & 0xFF == sqlite3.SQLITE_BUSY


def move_aside(path: Path) -> Path:
    """Rename a corrupt store's files so that a new one can take their place; the new name of the main one.

    Of those that were moved before, the newest are kept, ASIDE_KEPT in all.
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
    for old in sorted(files)[:-ASIDE_KEPT]:
        for file in files[old]:
            with suppress(OSError):
                file.unlink()
    return aside
