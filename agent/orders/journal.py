"""The journal: the orders that this machine has started, so that none ever runs twice, and their results.

Invariants:
1. When `start` returns, the entry is on disk, synced: only then may the order run. Its id is known from then on, across
   the death of the process, a reboot and a power cut.
2. An entry is deleted only after its order's expiry (`prune`), and then the *floor* rises to that expiry: an order that
   expires no later is rejected for ever, so a clock that is set back cannot make it valid again.
3. A damaged journal is moved aside. It may have known orders that the next one does not, so every order that could have
   been started until then is rejected: those issued before the *line*. The same holds for a journal that is missing
   where there are keys: it is created before them (`create_before_keys`).
4. A final result stays until `acked` names it, or its order has been expired for KEPT_MILLISECONDS.
5. `known` and `start` raise JournalError when the disk does not let them answer; then nothing may run. No other disk
   error leaves the journal, also not at the start: `failing` is set, and each call tries again.

Format: `entry(id, order_json, expires_at, at, process, boot, state, result_json, acked)`; `meta(floor, line)`, one row.
"""

import errno
import logging
import sqlite3
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple, TypeVar

from pydantic import ValidationError

from agent.action import StartedOrder
from agent.orders.trusted_keys import KEYS_FILE
from agent.sqlite_file import configure, corruption, is_corrupt, move_aside, open_checked, transaction
from runtime import files
from runtime.clock import Clock
from schemas.contract.commands import Order, Result

JOURNAL_FILE = "journal.db"
"""Name in the agent's own directory, beside KEYS_FILE."""

FUTURE_MILLISECONDS = 5 * 60_000
"""How far an operator's clock may be ahead of the machine's."""

KEPT_MILLISECONDS = 7 * 86_400_000
_PRUNED_AT_ONCE = 500
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
"""An entry with a damaged id: its order would count as unknown and run again."""

T = TypeVar("T")
log = logging.getLogger(__name__)


class JournalError(Exception):
    """The journal cannot ensure that an order runs only once; the message is the reason."""


class JournalEntry(NamedTuple):
    """An order that was started, and its newest result."""

    started: StartedOrder
    result: Result


class Journal:
    """The journal in a file, for one thread of one process."""

    def __init__(self, path: Path, clock: Clock) -> None:
        self.quarantined: list[Path] = []
        """Damaged journals that were moved aside."""
        self.failing = False
        """Set when the disk did not let the last call do its work."""
        self._path = path
        self._clock = clock
        self._database: sqlite3.Connection | None = None
        self._try(lambda _: None)

    def known(self, order: Order) -> JournalEntry | None:
        """Return the entry of this order. Raises JournalError when the order may not run, known or not."""
        try:
            entry, (floor, line) = self._do(lambda database: (_find(database, order.id), _bounds(database)))
        except (sqlite3.DatabaseError, OSError) as error:
            raise JournalError(f"the journal cannot be read: {error}") from None
        if entry is None and order.expires_at <= floor:
            raise JournalError("the journal has forgotten orders that expired with this one")
        if entry is None and order.issued_at < line:
            raise JournalError("the journal was lost or damaged after this order was issued")
        return entry

    def start(self, started: StartedOrder, result: Result) -> None:
        """Store an unknown order with its first result. Raises JournalError: the order may not run."""
        lost = len(self.quarantined)
        try:
            self._do(lambda database: _insert(database, started, result, or_replace=False))
        except (sqlite3.DatabaseError, OSError) as error:
            raise JournalError(f"the journal cannot be written: {error}") from None
        if len(self.quarantined) > lost:
            raise JournalError("the journal was lost or damaged after this order was issued")

    def finish(self, started: StartedOrder, result: Result) -> bool:
        """Store an order's final result; return False if that must be retried."""
        self._try(lambda database: _insert(database, started, result, or_replace=True))
        return not self.failing

    def running(self) -> list[JournalEntry]:
        """Return the orders without an outcome; an empty list, and `failing`, when they cannot be read."""
        return self._read("state = 'running' ORDER BY rowid")

    def unacked(self, limit: int, *, after: str = "") -> list[JournalEntry]:
        """Return up to `limit` entries whose final result is not acknowledged, by id, those above `after`."""
        return self._read("state <> 'running' AND NOT acked AND id > ? ORDER BY id LIMIT ?", (after, limit))

    def acked(self, ids: Iterable[str]) -> None:
        """Record that the ingestor has these final results, and delete their output."""

        def update(database: sqlite3.Connection) -> None:
            for entry in (_find(database, id_) for id_ in ids):
                if entry is not None and entry.result.state != "running":
                    result = entry.result.model_copy(update={"output": None}).model_dump_json()
                    database.execute(
                        "UPDATE entry SET acked = 1, result_json = ? WHERE id = ?", (result, entry.result.id)
                    )

        self._try(update)

    def prune(self) -> None:
        """Delete the entries of orders that can never run again, and raise the floor so that they cannot."""

        def delete(database: sqlite3.Connection) -> None:
            rows = database.execute(
                "SELECT id, expires_at FROM entry WHERE state <> 'running' AND expires_at < ? - (1 - acked) * ?"
                " ORDER BY expires_at LIMIT ?",
                (self._clock.now(), KEPT_MILLISECONDS, _PRUNED_AT_ONCE),
            ).fetchall()
            if rows:
                database.execute("UPDATE meta SET floor = max(floor, ?)", (max(row[1] for row in rows),))
                database.executemany("DELETE FROM entry WHERE id = ?", [(row[0],) for row in rows])

        self._try(delete)

    def close(self) -> None:
        """Close the file and release its lock."""
        if self._database is not None:
            self._database.close()
            self._database = None

    def _do(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Do `work` in one transaction. A damaged journal is replaced, and the work done in the next one."""
        try:
            return self._once(work)
        except sqlite3.DatabaseError as error:
            if not is_corrupt(error):
                raise
            self.close()
            move_aside(self._path, error, self.quarantined)
            log.error("orders that were issued until now are rejected")
            return self._once(work)

    def _once(self, work: Callable[[sqlite3.Connection], T]) -> T:
        if self._database is None:
            self._database = _open(self._path, self._clock.now())
        with transaction(self._database):
            return work(self._database)

    def _try(self, work: Callable[[sqlite3.Connection], T]) -> T | None:
        """Do `work`; return None, and set `failing`, when the disk fails."""
        try:
            done = self._do(work)
        except (sqlite3.DatabaseError, OSError) as error:
            if not self.failing:
                log.warning("the journal cannot be used: %s", error)
            self.failing = True
            return None
        self.failing = False
        return done

    def _read(self, condition: str, values: tuple[object, ...] = ()) -> list[JournalEntry]:
        return self._try(lambda database: _entries(database, condition, values)) or []


def create_before_keys(directory: Path, clock: Clock) -> None:
    """Create the journal of a machine that has neither journal nor keys, so that it is known that no order has run.

    Raises OSError.
    """
    path = directory / JOURNAL_FILE
    if (directory / KEYS_FILE).exists() or (path.exists() and path.stat().st_size):
        return
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    path.touch(mode=0o600)
    journal = Journal(path, clock)
    journal.close()
    files.sync(directory)
    if journal.failing:
        raise OSError(errno.EIO, "the journal cannot be written")


def _open(path: Path, now: int) -> sqlite3.Connection:
    existed = path.exists()

    def prepare(database: sqlite3.Connection) -> sqlite3.Connection:
        configure(database, durable=True)
        with transaction(database):
            _create_and_check(database, path, now)
        if not existed:
            files.sync(path.parent)
        return database

    return open_checked(path, "integrity_check", prepare)


def _create_and_check(database: sqlite3.Connection, path: Path, now: int) -> None:
    for statement in _SCHEMA.split(";"):
        database.execute(statement)
    if database.execute("SELECT 1 FROM meta").fetchone() is None:
        if database.execute("SELECT 1 FROM entry").fetchone() is not None:
            raise corruption("its bounds are missing")
        database.execute("INSERT INTO meta VALUES (1, 0, ?)", (_line(path, now),))
    if database.execute(_WITHOUT_ITS_ORDER).fetchone() is not None:
        raise corruption("an entry has the id of another")


def _line(path: Path, now: int) -> int:
    """Return the line of a new journal: later than any order that one before it can have started."""
    earlier = list(path.parent.glob(f"{path.name}.corrupt-*"))
    if not earlier:
        if not (path.parent / KEYS_FILE).exists():
            return 0
        log.error("%s was missing: orders that were issued until now are rejected", path)
    written = [int(file.stat().st_mtime * 1000) for file in earlier]
    return max([now, *written]) + FUTURE_MILLISECONDS


def _insert(database: sqlite3.Connection, started: StartedOrder, result: Result, *, or_replace: bool) -> None:
    order = started.order
    row = (order.id, order.model_dump_json(), order.expires_at, started.at, started.process, started.boot)
    database.execute(
        f"INSERT {'OR REPLACE' if or_replace else ''} INTO entry VALUES (?, ?, ?, ?, ?, ?, ?, ?, 0)",  # noqa: S608
        (*row, result.state, result.model_dump_json()),
    )


def _find(database: sqlite3.Connection, id_: str) -> JournalEntry | None:
    return next(iter(_entries(database, "id = ?", (id_,))), None)


def _entries(database: sqlite3.Connection, condition: str, values: tuple[object, ...]) -> list[JournalEntry]:
    query = f"SELECT id, order_json, at, process, boot, result_json FROM entry WHERE {condition}"  # noqa: S608 - ours
    return [_entry(*row) for row in database.execute(query, values)]


def _entry(id_: str, order_json: str, at: int, process: str, boot: str, result_json: str) -> JournalEntry:
    try:
        order, result = Order.model_validate_json(order_json), Result.model_validate_json(result_json)
    except (ValidationError, TypeError) as error:
        raise corruption(f"an entry cannot be read: {error}") from None
    if id_ != order.id or id_ != result.id:
        raise corruption("an entry has the id of another")
    return JournalEntry(StartedOrder(order, at, process, boot), result)


def _bounds(database: sqlite3.Connection) -> tuple[int, int]:
    floor, line = database.execute("SELECT floor, line FROM meta").fetchone()
    return floor, line
