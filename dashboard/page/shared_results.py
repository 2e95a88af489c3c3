"""Results of queries that all visitors share for some seconds.

Invariants:
- The arguments of a query include everything that its result depends on, the organisation above all.
- A result is read by several visitors at the same time, and nobody changes it.
- Visitors who need the same result at the same time wait for one query.
"""

from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from threading import Lock
from time import monotonic
from typing import Final, Generic, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

ENTRIES_MAX: Final = 1000
"""Results of a query that are kept, of different arguments."""


@dataclass(slots=True)
class _Entry(Generic[T]):
    """The result of a query, in a list that is empty before the first one, and the time at which it began, in seconds
    of the monotonic clock. `lock` is held while the query runs."""

    at: float
    result: list[T] = field(default_factory=list)
    lock: Lock = field(default_factory=Lock)


class SharedResult(Generic[P, T]):
    """The results of a query by its arguments, none older than `seconds`. Thread-safe."""

    def __init__(self, query: Callable[P, T], *, seconds: float) -> None:
        self._query = query
        self._seconds = seconds
        self._lock = Lock()
        self._entries: dict[Hashable, _Entry[T]] = {}
        """The oldest first."""

    def __call__(self, *given: P.args, **named: P.kwargs) -> T:
        """Return a result that is at most as old as any reader accepts."""
        return self.newer(self._seconds, *given, **named)

    def newer(self, seconds: float, /, *given: P.args, **named: P.kwargs) -> T:
        """Return a result that is at most `seconds` old: a shared one, or a new one for all readers."""
        key = (given, tuple(sorted(named.items())))
        entry = self._entry(key)
        with entry.lock:
            if not entry.result or monotonic() - entry.at > min(seconds, self._seconds):
                at = monotonic()
                entry.result = [self._query(*given, **named)]
                self._renew(key, entry, at)
            return entry.result[0]

    def _entry(self, key: Hashable) -> _Entry[T]:
        with self._lock:
            return self._entries.setdefault(key, _Entry(monotonic()))

    def _renew(self, key: Hashable, entry: _Entry[T], at: float) -> None:
        """Make an entry the newest, and drop those that are too old or too many."""
        with self._lock:
            entry.at = at
            self._entries.pop(key, None)
            self._entries[key] = entry
            for old in list(self._entries):
                if len(self._entries) <= ENTRIES_MAX and at - self._entries[old].at <= self._seconds:
                    break
                del self._entries[old]
