"""A SQLite file of waiting samples; `agent.outbox.outbox` makes a queue of two of them.

Invariants:
- Each method that writes is one transaction: complete when it returns, without effect when it raises.
- A durable file (WAL, synchronous=FULL) has on disk what a method returned from; any other file survives only the
  death of the process.
- One process at a time: the file is locked from the first access until `close`.

Format: `stream(id, name, next_seq, dropped)`, ids ascending with age; `sample(stream_id, seq, sampled_at, body)`;
`meta(boot, stream_id)` and `receiver(name)`, at most one row each.
"""

import re
import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple, Self

from agent.outbox.queued_sample import QueuedSample, SampleStream, StreamRange
from agent.sqlite_file import PAGE_BYTES, configure, corruption, open_checked, transaction

_DROPPED_AT_ONCE = 100
_NAME = re.compile(r"[0-9a-f]{16}")
_SCHEMA = """
CREATE TABLE IF NOT EXISTS stream (
    id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, next_seq INTEGER NOT NULL, dropped INTEGER NOT NULL
);
CREATE TABLE IF NOT EXISTS sample (
    stream_id INTEGER NOT NULL, seq INTEGER NOT NULL, sampled_at INTEGER NOT NULL, body TEXT NOT NULL,
    PRIMARY KEY (stream_id, seq)
);
CREATE TABLE IF NOT EXISTS meta (
    one INTEGER PRIMARY KEY CHECK (one = 1), boot TEXT NOT NULL, stream_id INTEGER NOT NULL
);
CREATE TABLE IF NOT EXISTS receiver (one INTEGER PRIMARY KEY CHECK (one = 1), name TEXT NOT NULL);
"""


class FileContents(NamedTuple):
    """Everything that a file holds: streams, samples, and (number of dropped samples, stream id)."""

    streams: list[SampleStream]
    samples: list[QueuedSample]
    dropped: list[tuple[int, int]]


class StreamFigures(NamedTuple):
    """Smallest waiting sequence number of a stream, and number of its samples that were dropped."""

    oldest: int | None
    dropped: int


class LastUse(NamedTuple):
    """The boot of the machine in which the file was last used, and the stream that was current then."""

    boot: str
    stream_id: int


class SampleFile:
    """Waiting samples on an open connection. Every method may raise sqlite3.DatabaseError."""

    def __init__(self, connection: sqlite3.Connection, *, durable: bool) -> None:
        self._connection = connection
        configure(connection, durable=durable)
        self._renew_table()
        connection.executescript(_SCHEMA)

    @classmethod
    def open(cls, path: Path, *, durable: bool) -> Self:
        """Open a file, and check it if it existed."""
        return open_checked(path, "quick_check", lambda connection: cls(connection, durable=durable))

    @classmethod
    def in_memory(cls) -> Self:
        """Return an empty one in the memory of the process, which is lost with it."""
        return cls(sqlite3.connect(":memory:", isolation_level=None), durable=False)

    def stream(self, stream_id: int) -> SampleStream | None:
        """Return the stream with this id. Its name is checked: no sample may be sent under a damaged one."""
        row = self._connection.execute("SELECT id, name, next_seq FROM stream WHERE id = ?", (stream_id,)).fetchone()
        if row is not None and not _NAME.fullmatch(str(row[1])):
            raise corruption(f"the name of stream {stream_id} is damaged")
        return None if row is None else SampleStream(*row)

    def name(self, stream_id: int) -> str:
        """Return the name of a stream that has samples here."""
        found = self.stream(stream_id)
        if found is None:
            raise corruption(f"stream {stream_id} is missing")
        return found.name

    def stream_id(self, name: str) -> int | None:
        """Return the id of the stream with this name."""
        row = self._connection.execute("SELECT id FROM stream WHERE name = ?", (name,)).fetchone()
        return None if row is None else int(row[0])

    def newest_stream_id(self) -> int:
        """Return the highest stream id, 0 when there is no stream."""
        return self._integer("SELECT coalesce(max(id), 0) FROM stream")

    def streams(self) -> list[SampleStream]:
        """Return all streams, oldest first."""
        rows = self._connection.execute("SELECT id, name, next_seq FROM stream ORDER BY id")
        return [SampleStream(*row) for row in rows]

    def last_use(self) -> LastUse | None:
        """Return the last value of `record_use`."""
        row = self._connection.execute("SELECT boot, stream_id FROM meta").fetchone()
        return None if row is None else LastUse(*row)

    def record_use(self, boot: str, stream: SampleStream) -> None:
        """Store the current boot and stream, and delete streams without waiting samples."""
        with transaction(self._connection):
            self._put_streams([stream])
            self._connection.execute("INSERT OR REPLACE INTO meta VALUES (1, ?, ?)", (boot, stream.id))
            self._connection.execute(
                "DELETE FROM stream WHERE id <> ? AND id NOT IN (SELECT stream_id FROM sample)", (stream.id,)
            )

    def renumber(self, receiver: str, new_name: Callable[[], str], *, before_id: int) -> None:
        """Number the samples of each stream before this id from 1 under a new name, once for each receiver."""
        with transaction(self._connection):
            row = self._connection.execute("SELECT name FROM receiver").fetchone()
            if (row[0] if row else "") == receiver:
                return
            for stream in (each for each in self.streams() if each.id < before_id):
                query = "SELECT seq FROM sample WHERE stream_id = ? ORDER BY seq"
                numbers = [seq for (seq,) in self._connection.execute(query, (stream.id,))]
                self._connection.executemany(  # ascending: a number is free when it is assigned
                    "UPDATE sample SET seq = ? WHERE stream_id = ? AND seq = ?",
                    [(new, stream.id, old) for new, old in enumerate(numbers, start=1) if new != old],
                )
                self._connection.execute(
                    "UPDATE stream SET name = ?, next_seq = ?, dropped = 0 WHERE id = ?",
                    (new_name(), len(numbers) + 1, stream.id),
                )
            self._connection.execute("INSERT OR REPLACE INTO receiver VALUES (1, ?)", (receiver,))

    def add(self, streams: Sequence[SampleStream], samples: Sequence[QueuedSample]) -> None:
        """Store samples, and the next numbers of their streams. Samples that are stored already stay unchanged."""
        with transaction(self._connection):
            self._put_streams(streams)
            self._connection.executemany("INSERT OR IGNORE INTO sample VALUES (?, ?, ?, ?)", samples)

    def samples(self, *, below: tuple[int, int] = (0, 0), limit: int = -1) -> list[QueuedSample]:
        """Return the oldest samples, ascending. `below`: (stream id, seq); of that stream, only lower numbers."""
        found = self._connection.execute(
            "SELECT stream_id, seq, sampled_at, body FROM sample WHERE stream_id <> ? OR seq < ? "
            "ORDER BY stream_id, seq LIMIT ?",
            (*below, limit),
        )
        return [QueuedSample(*row) for row in found]

    def existing(self, samples: Sequence[QueuedSample]) -> list[QueuedSample]:
        """Return those of these samples that are stored here, too."""
        query = "SELECT 1 FROM sample WHERE stream_id = ? AND seq = ?"
        return [each for each in samples if self._connection.execute(query, (each.stream_id, each.seq)).fetchone()]

    def contents(self) -> FileContents:
        """Return everything, for another file to adopt."""
        streams = self.streams()
        return FileContents(
            streams, self.samples(), [(self.figures(stream.id).dropped, stream.id) for stream in streams]
        )

    def adopt(self, contents: FileContents) -> None:
        """Store everything that another file held, which is given up."""
        with transaction(self._connection):
            self._put_streams(contents.streams)
            self._connection.executemany("INSERT OR IGNORE INTO sample VALUES (?, ?, ?, ?)", contents.samples)
            self._connection.executemany("UPDATE stream SET dropped = dropped + ? WHERE id = ?", contents.dropped)

    def delete(self, ranges: Sequence[StreamRange]) -> None:
        """Delete samples. Writes only when one of them is stored here."""
        waiting = "SELECT 1 FROM sample WHERE stream_id = ? AND seq BETWEEN ? AND ? LIMIT 1"
        here = [each for each in ranges if self._connection.execute(waiting, each).fetchone()]
        if here:
            with transaction(self._connection):
                self._connection.executemany("DELETE FROM sample WHERE stream_id = ? AND seq BETWEEN ? AND ?", here)

    def figures(self, stream_id: int) -> StreamFigures:
        """Return the figures of a stream in this file."""
        query = "SELECT (SELECT min(seq) FROM sample WHERE stream_id = ?1), (SELECT dropped FROM stream WHERE id = ?1)"
        oldest, dropped = self._connection.execute(query, (stream_id,)).fetchone()
        return StreamFigures(oldest, dropped or 0)

    def count(self) -> int:
        """Return the number of waiting samples."""
        return self._integer("SELECT count(*) FROM sample")

    def make_room(self, max_bytes: int) -> None:
        """Drop the oldest samples until the used pages fit, and count them. The bound is at least 16 pages."""
        while self.used_bytes() > max(max_bytes, 16 * PAGE_BYTES):
            if self.drop(self.samples(limit=_DROPPED_AT_ONCE)) == 0:
                return

    def drop(self, samples: Sequence[QueuedSample], *, must_exist: bool = False) -> int:
        """Delete samples, count those that were stored as dropped, and return their number."""
        dropped = 0
        with transaction(self._connection):
            for sample in samples:
                key = (sample.stream_id, sample.seq)
                gone = self._connection.execute("DELETE FROM sample WHERE stream_id = ? AND seq = ?", key).rowcount
                self._connection.execute("UPDATE stream SET dropped = dropped + ? WHERE id = ?", (gone, key[0]))
                dropped += gone
        if must_exist and not dropped:
            raise corruption("a sample that was read cannot be found")
        return dropped

    def close(self) -> None:
        """Close the file and release its lock."""
        self._connection.close()

    def _renew_table(self) -> None:
        """Drop an empty table of the former form, without row ids: a sample with series took a page more in it."""
        former = "SELECT count(*) FROM sqlite_master WHERE name = 'sample' AND sql LIKE '%WITHOUT ROWID'"
        if self._integer(former) and not self.count():
            with transaction(self._connection):
                self._connection.execute("DROP TABLE sample")

    def _put_streams(self, streams: Sequence[SampleStream]) -> None:
        self._connection.executemany(
            "INSERT INTO stream VALUES (?, ?, ?, 0) ON CONFLICT (id) DO UPDATE SET next_seq = excluded.next_seq",
            streams,
        )

    def used_bytes(self) -> int:
        """Return the size of the pages that hold something."""
        return (self._integer("PRAGMA page_count") - self._integer("PRAGMA freelist_count")) * PAGE_BYTES

    def _integer(self, query: str) -> int:
        return int(self._connection.execute(query).fetchone()[0])
