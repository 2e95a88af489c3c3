"""The time range of the charts, as the address has it. Pure.

Invariants:
- `range=6h` ends now and moves on; `from` and `to` (milliseconds, server's clock) stay. An address that names neither,
  or an impossible one, means the default.
- A range is at least LENGTH_MIN and at most LENGTH_MAX long, and does not end after now.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from schemas.database.queries.history import RANGES
from schemas.fleet.history import DAY, HOUR, MINUTE

DEFAULT: Final = "1h"
LENGTH_MIN: Final = MINUTE
LENGTH_MAX: Final = RANGES["1y"]
COMPARISONS: Final[Mapping[str, int]] = {"": 0, "day": DAY, "week": 7 * DAY}
"""How much earlier the compared time range is, in milliseconds, by the code in addresses."""

_QUERY: Final = ("range", "from", "to", "compare")
_DIGITS_MAX: Final = 15


@dataclass(frozen=True, slots=True)
class Period:
    """A time range in milliseconds. `code`: of RANGES; empty for a free range. `compare`: of COMPARISONS."""

    start: int
    end: int
    code: str = DEFAULT
    compare: str = ""

    @classmethod
    def parse(cls, query: Mapping[str, str], now: int) -> "Period":
        """Return the time range that an address names."""
        compare = query.get("compare", "")
        compare = compare if compare in COMPARISONS else ""
        start, end = _number(query.get("from", "")), _number(query.get("to", ""))
        if start is not None and end is not None and start < end:
            return cls(start, end, "", compare).bounded(now)
        code = query.get("range", "")
        return cls.latest(code if code in RANGES else DEFAULT, now, compare)

    @classmethod
    def latest(cls, code: str, now: int, compare: str = "") -> "Period":
        """Return the range of this code that ends now."""
        return cls(now - RANGES[code], now, code, compare)

    @property
    def length(self) -> int:
        """Milliseconds from start to end."""
        return self.end - self.start

    @property
    def earlier(self) -> int:
        """Milliseconds by which the compared range is earlier; 0: none."""
        return COMPARISONS[self.compare]

    def address(self) -> dict[str, str]:
        """Return the query of the address; the default range is left out."""
        query = {"from": str(self.start), "to": str(self.end)} if not self.code else {}
        query |= {"range": self.code} if self.code not in ("", DEFAULT) else {}
        return query | ({"compare": self.compare} if self.compare else {})

    def free(self, start: int, end: int, now: int) -> "Period":
        """Return this range with other ends."""
        return replace(self, start=min(start, end), end=max(start, end), code="").bounded(now)

    def moved(self, direction: int, now: int) -> "Period":
        """Return the range before (-1) or after (1) this one; after the last one there is none."""
        by = direction * self.length
        return self.free(self.start + by, self.end + by, now)

    def widened(self, now: int) -> "Period":
        """Return a range of twice the length around the same centre."""
        return self.free(self.start - self.length // 2, self.end + (self.length + 1) // 2, now)

    def bounded(self, now: int) -> "Period":
        """Return the nearest range that is possible."""
        length = min(max(self.length, LENGTH_MIN), LENGTH_MAX)
        end = min(self.end, now)
        if self.length < length:  # keep the centre
            end = min((self.start + self.end + length) // 2, now)
        return replace(self, start=end - length, end=end)


def without(query: Mapping[str, str]) -> dict[str, str]:
    """Return a query without what names a time range."""
    return {name: value for name, value in query.items() if name not in _QUERY}


def last_hour(recorded_at: int) -> tuple[int, int]:
    """Return the hour that ends with the last recorded data, with a minute to spare at both ends."""
    return recorded_at - HOUR - MINUTE, recorded_at + MINUTE


def _number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) <= _DIGITS_MAX else None
