"""The journal: which orders this machine has taken up, so that none is ever run twice, and what became of them.

Invariants:
1. What `begin` returned from is on disk, synced: only then may the order run. Its id is known from then on, across the
   death of the process, a reboot and a power cut.
2. An entry goes only after its order's expiry (`prune`), and then the *floor* rises to that expiry: an order that
   expires no later is refused for ever, so a clock that is set back cannot bring it to life again.
3. A journal that is damaged is moved aside. It may have known orders that the next one does not, so every order that
   could have been taken up until then is refused: those issued before the *line*.
4. A final result stays until `acked` names it, or its order has been expired for KEPT_MILLISECONDS.
5. `known` and `begin` raise JournalError when the disk does not let them answer; then nothing may run. No other error
   of a disk leaves here, at the start neither: `failing` says so, and each call tries again.

Format: `entry(id, order_json, expires_at, at, process, boot, state, result_json, acked)`; `meta(floor, line)`, one row.
"""

import logging
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple, TypeVar

from pydantic import ValidationError

from agent.action import Begun
from agent.outbox.sample_file import is_corrupt, move_aside
from runtime import files
from schemas.contract.commands import Order, Result

FUTURE_MILLISECONDS = 5 * 60_000
"""How far an operator's clock may be ahead of the machine's."""

KEPT_MILLISECONDS = 7 * 86_400_000
_PRUNED_AT_ONCE = 500
_WAL_PAGES = 64
_SCHEMA = """
CREATE TABLE IF NOT EXISTS entry (
    id TEXT PRIMARY KEY, order_json TEXT NOT NULL, expires_at INTEGER NOT NULL, at INTEGER NOT NULL,
    process TEXT NOT NULL, boot TEXT NOT NULL, state TEXT NOT NULL, result_json TEXT NOT NULL, acked INTEGER NOT NULL
);
CREATE INDEX IF NOT EXISTS entry_by_expiry ON entry (expires_at);
CREATE TABLE IF NOT EXISTS meta (
    one INTEGER PRIMARY KEY CHECK (one = 1), floor INTEGER NOT NULL, line INTEGER NOT NULL
);
"""
_WITHOUT_ITS_ORDER = """SELECT 1 FROM entry WHERE NOT instr(order_json, '"id":"' || id || '"') LIMIT 1"""
"""An order whose id is damaged would be taken for one that never came."""

T = TypeVar("T")
log = logging.getLogger(__name__)


class JournalError(Exception):
    """The journal cannot say or keep that an order runs once only; the message says why."""


class Entry(NamedTuple):
    """An order that was taken up, and its newest result."""

    begun: Begun
    result: Result

    @property
    def id(self) -> str:
        """The order's."""
        return self.begun.order.id


class Journal:
    """The journal in a file, for one thread of one process. `now`: milliseconds of the machine's clock."""

    def __init__(self, path: Path, *, now: Callable[[], int]) -> None:
        self.quarantined: list[Path] = []
        self.failing = False
        """Whether the disk did not let the last call do its work."""
        self._path = path
        self._now = now
        self._database: sqlite3.Connection | None = None
        self._tried(lambda _: None)

    def known(self, order: Order) -> Entry | None:
        """The entry of this order. Raises JournalError when it may not run, known or not."""
        try:
            entry, (floor, line) = self._do(lambda database: (_find(database, order.id), _bounds(database)))
        except (sqlite3.DatabaseError, OSError) as error:
            raise JournalError(f"the journal cannot be read: {error}") from None
        if entry is None and order.expires_at <= floor:
            raise JournalError("the journal has forgotten orders that expired with this one")
        if entry is None and order.issued_at < line:
            raise JournalError("the journal was damaged after this order was issued")
        return entry

    def begin(self, begun: Begun, result: Result) -> None:
        """Write down an order that is not known, with its first result. Raises JournalError: it may not run."""
        lost = len(self.quarantined)
        try:
            self._do(lambda database: _insert(database, begun, result, or_replace=False))
        except (sqlite3.DatabaseError, OSError) as error:
            raise JournalError(f"the journal cannot be written: {error}") from None
        if len(self.quarantined) > lost:
            raise JournalError("the journal was damaged after this order was issued")

    def finish(self, begun: Begun, result: Result) -> bool:
        """Write down an order's final result; False when that has to be tried again."""
        self._tried(lambda database: _insert(database, begun, result, or_replace=True))
        return not self.failing

    def running(self) -> list[Entry]:
        """The orders without an outcome; none, and `failing`, when that cannot be read."""
        return self._read("state = 'running' ORDER BY rowid")

    def unacked(self, limit: int, *, after: str = "") -> list[Entry]:
        """Up to `limit` entries whose final result the ingestor has not got, in the order of their ids."""
        return self._read("state <> 'running' AND NOT acked AND id > ? ORDER BY id LIMIT ?", (after, limit))

    def acked(self, ids: Iterable[str]) -> None:
        """The ingestor has these final results. What they printed is not kept any longer."""

        def slim(database: sqlite3.Connection) -> None:
            for entry in (_find(database, id_) for id_ in ids):
                if entry is not None and entry.result.state != "running":
                    result = entry.result.model_copy(update={"output": None}).model_dump_json()
                    database.execute("UPDATE entry SET acked = 1, result_json = ? WHERE id = ?", (result, entry.id))

        self._tried(slim)

    def prune(self) -> None:
        """Forget what can never run again, and raise the floor so that it cannot."""

        def forget(database: sqlite3.Connection) -> None:
            rows = database.execute(
                "SELECT id, expires_at FROM entry WHERE state <> 'running' AND expires_at < ? - (1 - acked) * ?"
                " ORDER BY expires_at LIMIT ?",
                (self._now(), KEPT_MILLISECONDS, _PRUNED_AT_ONCE),
            ).fetchall()
            if rows:
                database.execute("UPDATE meta SET floor = max(floor, ?)", (max(row[1] for row in rows),))
                database.executemany("DELETE FROM entry WHERE id = ?", [(row[0],) for row in rows])

        self._tried(forget)

    def close(self) -> None:
        """Let go of the file."""
        if self._database is not None:
            self._database.close()
            self._database = None

    def _do(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """One transaction. A journal that is found damaged is replaced, and the work done with the next one."""
        try:
            return self._once(work)
        except sqlite3.DatabaseError as error:
            if not is_corrupt(error):
                raise
            self.close()
            aside = move_aside(self._path)
            self.quarantined.append(aside)
            log.error("the journal is damaged (%s): moved to %s; what was ordered until now is refused", error, aside)
            return self._once(work)

    def _once(self, work: Callable[[sqlite3.Connection], T]) -> T:
        if self._database is None:
            self._database = _open(self._path, self._now())
        with _transaction(self._database):
            return work(self._database)

    def _tried(self, work: Callable[[sqlite3.Connection], T]) -> T | None:
        """The same; None, and `failing`, when the disk does not let us."""
        try:
            done = self._do(work)
        except (sqlite3.DatabaseError, OSError) as error:
            if not self.failing:
                log.warning("the journal cannot be used: %s", error)
            self.failing = True
            return None
        self.failing = False
        return done

    def _read(self, condition: str, values: tuple[object, ...] = ()) -> list[Entry]:
        return self._tried(lambda database: _entries(database, condition, values)) or []


def _open(path: Path, now: int) -> sqlite3.Connection:
    """A connection to the file, checked when it was there before, made when it was not."""
    existed = path.exists()
    database = sqlite3.connect(path, isolation_level=None, timeout=1.0)
    database.text_factory = lambda text: text.decode("utf-8", "replace")  # what is damaged is found by who reads it
    try:
        if existed and database.execute("PRAGMA integrity_check(1)").fetchone()[0] != "ok":
            raise _damage("integrity_check found errors")
        _prepare(database, path, now)
        if not existed:
            files.sync(path.parent)
    except (sqlite3.DatabaseError, OSError):
        database.close()
        raise
    return database


def _prepare(database: sqlite3.Connection, path: Path, now: int) -> None:
    for pragma in (
        "locking_mode = EXCLUSIVE",
        "journal_mode = WAL",
        "synchronous = FULL",
        f"wal_autocheckpoint = {_WAL_PAGES}",
        f"journal_size_limit = {_WAL_PAGES * 4096}",
    ):
        database.execute(f"PRAGMA {pragma}")
    with _transaction(database):
        for statement in _SCHEMA.split(";"):
            database.execute(statement)
        if database.execute("SELECT 1 FROM meta").fetchone() is None:
            if database.execute("SELECT 1 FROM entry").fetchone() is not None:
                raise _damage("its bounds are missing")
            database.execute("INSERT INTO meta VALUES (1, 0, ?)", (_line(path, now),))
        if database.execute(_WITHOUT_ITS_ORDER).fetchone() is not None:
            raise _damage("an entry has the id of another")


def _line(path: Path, now: int) -> int:
    """Where a new journal begins to trust: beyond all that an earlier, damaged one can have taken up."""
    earlier = list(path.parent.glob(f"{path.name}.corrupt-*"))
    written = [int(file.stat().st_mtime * 1000) for file in earlier]
    return max(now, *written) + FUTURE_MILLISECONDS if earlier else 0


@contextmanager
def _transaction(database: sqlite3.Connection) -> Iterator[None]:
    """All of what is done in it is on disk when it ends, or none of it."""
    database.execute("BEGIN IMMEDIATE")
    try:
        yield
        database.execute("COMMIT")
    except BaseException:
        with suppress(sqlite3.Error):  # SQLite has rolled back by itself after most errors of the disk
            database.execute("ROLLBACK")
        raise


def _insert(database: sqlite3.Connection, begun: Begun, result: Result, *, or_replace: bool) -> None:
    order = begun.order
    row = (order.id, order.model_dump_json(), order.expires_at, begun.at, begun.process, begun.boot)
    database.execute(
        f"INSERT {'OR REPLACE' if or_replace else ''} INTO entry VALUES (?, ?, ?, ?, ?, ?, ?, ?, 0)",  # noqa: S608
        (*row, result.state, result.model_dump_json()),
    )


def _find(database: sqlite3.Connection, id_: str) -> Entry | None:
    return next(iter(_entries(database, "id = ?", (id_,))), None)


def _entries(database: sqlite3.Connection, condition: str, values: tuple[object, ...]) -> list[Entry]:
    query = f"SELECT id, order_json, at, process, boot, result_json FROM entry WHERE {condition}"  # noqa: S608 - ours
    return [_entry(*row) for row in database.execute(query, values)]


def _entry(id_: str, order_json: str, at: int, process: str, boot: str, result_json: str) -> Entry:
    try:
        order, result = Order.model_validate_json(order_json), Result.model_validate_json(result_json)
    except (ValidationError, TypeError) as error:
        raise _damage(f"an entry cannot be read: {error}") from None
    if id_ != order.id or id_ != result.id:
        raise _damage("an entry has the id of another")
    return Entry(Begun(order, at, process, boot), result)


def _bounds(database: sqlite3.Connection) -> tuple[int, int]:
    floor, line = database.execute("SELECT floor, line FROM meta").fetchone()
    return floor, line


def _damage(message: str) -> sqlite3.DatabaseError:
    error = sqlite3.DatabaseError(message)
    error.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
    return error
