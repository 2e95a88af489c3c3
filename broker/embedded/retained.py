"""Retained messages: one per topic, found by filter, kept across restarts.

Invariants:
- The cost of a look-up depends on the topics that match, not on all that are retained.
- Each message has an owner, the user name that published it: `forget` removes everything of a revoked principal.
- A machine has at most FACT_KINDS_MAX retained lists of facts: their topics are the only ones that it may choose.
- What changed is written within WRITE_SECONDS in one transaction, and synced (`synchronous=FULL`): after a power cut
  the file holds the state of a moment at most that long ago.
- A file that cannot be read is moved aside and started anew. Machines publish their retained messages again on connect.
"""

import logging
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from broker.client.transport import Message
from schemas.contract.facts import FACT_KINDS_MAX

WRITE_SECONDS = 0.5
_OTHER_TOPICS = 2
"""Retained topics of a machine other than facts: status and info."""

log = logging.getLogger(__name__)

_SCHEMA = "CREATE TABLE IF NOT EXISTS retained (topic TEXT PRIMARY KEY, payload BLOB, qos INTEGER, owner TEXT)"
_UPSERT = "INSERT OR REPLACE INTO retained (topic, payload, qos, owner) VALUES (?, ?, ?, ?)"
_DELETE = "DELETE FROM retained WHERE topic = ?"

Row = tuple[str, bytes, int, str]
"""Topic, payload, QoS, owner. An empty payload: the topic is no longer retained."""


@dataclass(slots=True)
class _Level:
    below: dict[str, "_Level"] = field(default_factory=dict)
    message: Message | None = None
    owner: str = ""


class RetainedMessages:
    """Retained messages in memory, as a tree of topic levels."""

    def __init__(self) -> None:
        self._root = _Level()
        self._topics_by_owner: dict[str, set[str]] = {}
        self._changed: dict[str, Row] = {}
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def has_room(self, topic: str, owner: str) -> bool:
        """Return whether a user name may retain a message on a topic of facts."""
        owned = self._topics_by_owner.get(owner, set())
        return topic in owned or len(owned) < FACT_KINDS_MAX + _OTHER_TOPICS

    def put(self, message: Message, owner: str) -> None:
        """Retain a message in place of the one on its topic; an empty payload removes that one."""
        topic = message.topic
        self._remove(topic)
        if message.payload:
            level = self._root
            for name in topic.split("/"):
                level = level.below.setdefault(name, _Level())
            level.message, level.owner = message, owner
            self._topics_by_owner.setdefault(owner, set()).add(topic)
            self._count += 1
        self._changed[topic] = (topic, message.payload, message.qos, owner)

    def get(self, topic: str) -> Message | None:
        """Return the message retained on a topic, or None."""
        level = self._find(topic)
        return level.message if level is not None else None

    def topics(self, filter_: str) -> list[str]:
        """Return the topics with a retained message that a filter matches."""
        return [message.topic for message in _matching(self._root, filter_.split("/"), 0)]

    @property
    def owners(self) -> frozenset[str]:
        """User names that have retained messages."""
        return frozenset(self._topics_by_owner)

    def forget(self, owner: str) -> int:
        """Remove everything that a user name retained; return the number of messages."""
        topics = list(self._topics_by_owner.get(owner, ()))
        for topic in topics:
            self.put(Message(topic, b""), owner)
        return len(topics)

    def take_changes(self) -> list[Row]:
        """Return what changed since the last call."""
        changed, self._changed = self._changed, {}
        return list(changed.values())

    def put_back(self, changes: list[Row]) -> None:
        """Return changes that could not be written, unless the topic has changed again since."""
        self._changed = {**{row[0]: row for row in changes}, **self._changed}

    def load(self, rows: list[Row]) -> None:
        """Start with the messages of a file."""
        for topic, payload, qos, owner in rows:
            self.put(Message(topic, payload, qos), owner)
        self._changed.clear()

    def _find(self, topic: str) -> _Level | None:
        level: _Level | None = self._root
        for name in topic.split("/"):
            level = level.below.get(name) if level is not None else None
        return level

    def _remove(self, topic: str) -> None:
        level = self._find(topic)
        if level is None or level.message is None:
            return
        owned = self._topics_by_owner[level.owner]
        owned.discard(topic)
        if not owned:
            del self._topics_by_owner[level.owner]
        level.message, level.owner = None, ""
        self._count -= 1
        _prune(self._root, topic.split("/"))


class RetainedFile:
    """The same messages in a SQLite file, which stays open between writes. Every call may wait for the disk."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._connection: sqlite3.Connection | None = None

    def read(self) -> list[Row]:
        """Return all messages. Raises OSError when neither the file nor a new one in its place can be opened."""
        self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        try:
            return self._read()
        except sqlite3.DatabaseError as error:
            damaged = self._path.with_suffix(".damaged")
            log.error("cannot read the retained messages in %s, moved to %s: %s", self._path, damaged.name, error)
            self._path.replace(damaged)
            return self._read()

    def write(self, changes: list[Row]) -> None:
        """Apply changes in one transaction. Raises sqlite3.Error."""
        try:
            with self._opened() as connection:
                connection.executemany(_UPSERT, [row for row in changes if row[1]])
                connection.executemany(_DELETE, [(row[0],) for row in changes if not row[1]])
        except sqlite3.Error:
            self.close()  # the next write opens what is there then
            raise

    def close(self) -> None:
        """Close the file; the next write opens it again."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def _read(self) -> list[Row]:
        with closing(self._open()) as connection:
            return list(connection.execute("SELECT topic, payload, qos, owner FROM retained"))

    def _opened(self) -> sqlite3.Connection:
        """Return the connection: opening and closing one for each write would write eight times as much."""
        if self._connection is None:
            self._connection = self._open()
        return self._connection

    def _open(self) -> sqlite3.Connection:
        if not self._path.exists():
            self._path.touch(mode=0o600)
        connection = sqlite3.connect(self._path, check_same_thread=False)  # writes are made in any thread, in turn
        try:
            connection.execute("PRAGMA page_size=1024")  # of a new file: most messages are short
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("PRAGMA synchronous=FULL")
            connection.execute(_SCHEMA)
        except sqlite3.Error:
            connection.close()
            raise
        return connection


def _matching(level: _Level, names: list[str], depth: int) -> Iterator[Message]:
    if depth == len(names):
        if level.message is not None:
            yield level.message
    elif names[depth] == "#":
        yield from _all(level)
    elif names[depth] == "+":
        for below in level.below.values():
            yield from _matching(below, names, depth + 1)
    elif names[depth] in level.below:
        yield from _matching(level.below[names[depth]], names, depth + 1)


def _all(level: _Level) -> Iterator[Message]:
    if level.message is not None:
        yield level.message
    for below in level.below.values():
        yield from _all(below)


def _prune(root: _Level, names: list[str]) -> None:
    """Remove the branches that a removed topic leaves empty."""
    path = [root]
    for name in names:
        path.append(path[-1].below[name])
    for name, parent, level in zip(reversed(names), reversed(path[:-1]), reversed(path[1:]), strict=True):
        if level.below or level.message is not None:
            return
        del parent.below[name]
