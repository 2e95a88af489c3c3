"""The form of all blocks: compressed names of metrics and devices, then columns that can be skipped.

Invariant: a block names its metrics and devices itself, so it can be read without any other row.
"""

import json
import zlib
from collections.abc import Collection, Iterator, Sequence
from typing import Final

from pydantic_core import from_json

from schemas.series.number_columns import Number, read_column, read_number, write_column, write_number

Place = tuple[str, str]
"""A metric and a device."""

LEVEL: Final = 6
PLACES_MAX: Final = 2048
"""Metrics and devices of one block: a machine that makes up names fills no database with them."""


def write_frame(
    fixed: Sequence[Sequence[Number]], places: Sequence[Place], columns: Sequence[Sequence[Number]], length: int
) -> bytes:
    """Return a block of columns with `length` numbers: some at its beginning, then `each` per place.

    `columns` are those of the first place, then those of the second, and so on.
    """
    names: dict[str, list[str]] = {}
    for metric, device in places:
        names.setdefault(metric, []).append(device)
    order = [(metric, device) for metric, devices in names.items() for device in devices]
    each = len(columns) // len(places) if places else 0
    index = {place: number for number, place in enumerate(places)}
    sorted_columns = [column for place in order for column in columns[index[place] * each : (index[place] + 1) * each]]
    head = json.dumps(names, ensure_ascii=False, separators=(",", ":")).encode()
    parts = [write_number(length), write_number(each), write_number(len(head)), head]
    for column in (*fixed, *sorted_columns):
        data = write_column(column)
        parts += (write_number(len(data)), data)
    return zlib.compress(b"".join(parts), LEVEL)


class Frame:
    """A block that is open for reading. `fixed`: number of columns at its beginning."""

    def __init__(self, block: bytes, fixed: int) -> None:
        data = zlib.decompress(block)
        self.length, at = read_number(data, 0)
        self._each, at = read_number(data, at)
        size, at = read_number(data, at)
        self.names: dict[str, list[str]] = from_json(data[at : at + size])
        self._data, at = data, at + size
        self.fixed: list[list[Number]] = []
        for _ in range(fixed):
            size, at = read_number(data, at)
            self.fixed.append(read_column(data[at : at + size], self.length))
            at += size
        self._at = at

    def columns(self, metrics: Collection[str] | None = None) -> Iterator[tuple[Place, list[list[Number]]]]:
        """Yield the places of these metrics, or all, with their columns."""
        data, at = self._data, self._at
        for metric, devices in self.names.items():
            wanted = metrics is None or metric in metrics
            for device in devices:
                found = []
                for _ in range(self._each):
                    size, at = read_number(data, at)
                    if wanted:
                        found.append(read_column(data[at : at + size], self.length))
                    at += size
                if wanted:
                    yield (metric, device), found
