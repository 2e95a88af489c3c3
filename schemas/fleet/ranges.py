"""Sets of sequence numbers as ranges: a few bytes as long as nothing is missing."""

from bisect import bisect_right
from collections.abc import Iterable
from typing import Self


class Ranges:
    """A set of positive integers as sorted, disjoint, non-adjacent ranges."""

    __slots__ = ("_firsts", "_lasts")

    def __init__(self, ranges: Iterable[tuple[int, int]] = ()) -> None:
        self._firsts: list[int] = []
        self._lasts: list[int] = []
        for first, last in sorted(ranges):
            self.add(first, last)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the set in the form of `str`, such as `1-500,502`. Raises ValueError."""
        pieces = (piece.partition("-") for piece in text.split(",") if piece)
        return cls((int(first), int(last or first)) for first, _, last in pieces)

    def __str__(self) -> str:
        if not self._firsts:
            return ""
        pairs = zip(self._firsts, self._lasts)  # noqa: B905 - of one length, and written often
        return ",".join([str(first) if first == last else f"{first}-{last}" for first, last in pairs])

    def __iter__(self) -> "zip[tuple[int, int]]":
        return zip(self._firsts, self._lasts, strict=True)

    def __len__(self) -> int:
        """Return the number of integers in the set."""
        return sum(self._lasts) - sum(self._firsts) + len(self._firsts)

    @property
    def pieces(self) -> int:
        """Number of ranges."""
        return len(self._firsts)

    def __contains__(self, number: int) -> bool:
        index = bisect_right(self._firsts, number) - 1
        return index >= 0 and number <= self._lasts[index]

    def add(self, first: int, last: int | None = None) -> None:
        """Add the numbers from `first` to `last`, both included; `last` defaults to `first`."""
        last = first if last is None else last
        low = bisect_right(self._firsts, first) - 1
        if low < 0 or self._lasts[low] < first - 1:
            low += 1
        high = bisect_right(self._firsts, last + 1)
        if low < high:
            first, last = min(first, self._firsts[low]), max(last, self._lasts[high - 1])
        self._firsts[low:high] = [first]
        self._lasts[low:high] = [last]

    def append(self, number: int) -> bool:
        """Add the number that follows the highest one; return False, and add nothing, if it is another one."""
        lasts = self._lasts
        if not lasts or lasts[-1] != number - 1:
            return False
        lasts[-1] = number
        return True

    def remove(self, number: int) -> None:
        """Remove one number, if it is in the set."""
        index = bisect_right(self._firsts, number) - 1
        if index < 0 or number > self._lasts[index]:
            return
        first, last = self._firsts[index], self._lasts[index]
        left = [(low, high) for low, high in ((first, number - 1), (number + 1, last)) if low <= high]
        self._firsts[index : index + 1] = [low for low, _ in left]
        self._lasts[index : index + 1] = [high for _, high in left]

    def around(self, number: int) -> tuple[int, int] | None:
        """Return the range (first, last) that contains the number, or None."""
        index = bisect_right(self._firsts, number) - 1
        return (self._firsts[index], self._lasts[index]) if index >= 0 and number <= self._lasts[index] else None

    def within(self, first: int, last: int) -> int:
        """Return how many of the numbers from `first` to `last` are in the set."""
        return sum(max(0, min(last, high) - max(first, low) + 1) for low, high in self)
