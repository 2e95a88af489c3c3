"""The series of a machine's samples of one hour as one block.

Invariants:
- Reading returns the samples that were written, each once, in order of time. A reading that is null is left out, as in
  a backfill.
- A sample is identified by the number of its stream and its own. Merging the same samples again changes nothing.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple, cast

from schemas.series.frame import PLACES_MAX, Frame, Place, write_frame
from schemas.series.number_columns import Number

Readings = Mapping[str, Mapping[str, Number]]
"""Metric to device to reading."""

_FIXED = 3  # time, stream number, seq


class SeriesSample(NamedTuple):
    """The series of one sample. `at`: milliseconds of the server's clock."""

    at: int
    stream_number: int
    seq: int
    readings: Readings

    @property
    def key(self) -> tuple[int, int]:
        """The identity of the sample among those of its machine."""
        return self.stream_number, self.seq


class SampleBlock(NamedTuple):
    """A block by columns: each has a number, or None, per sample. `left_out`: readings that found no column."""

    keys: list[tuple[int, int]]
    times: list[int]
    columns: dict[Place, list[Number]]
    left_out: int = 0

    def samples(self) -> Iterator[SeriesSample]:
        """Yield the samples."""
        found: list[dict[str, dict[str, Number]]] = [{} for _ in self.times]
        for (metric, device), column in self.columns.items():
            for readings, number in zip(found, column, strict=True):
                if number is not None:
                    readings.setdefault(metric, {})[device] = number
        for at, key, readings in zip(self.times, self.keys, found, strict=True):
            yield SeriesSample(at, *key, readings)


def count_readings(readings: Readings) -> int:
    """Return the number of readings."""
    return sum(len(devices) for devices in readings.values())


def make_block(samples: Iterable[SeriesSample]) -> SampleBlock:
    """Return samples by columns, at most PLACES_MAX: those that come first; without readings that are null.

    The readings of further places are counted in `left_out`.
    """
    each = list({sample.key: sample for sample in samples}.values())
    each.sort(key=lambda sample: (sample.at, sample.key))
    columns: dict[Place, list[Number]] = {}
    left_out = 0
    for row, sample in enumerate(each):
        for metric, devices in sample.readings.items():
            for device, number in devices.items():
                if number is None:
                    continue
                column = columns.get((metric, device))
                if column is None:
                    if len(columns) >= PLACES_MAX:
                        left_out += 1
                        continue
                    column = columns[metric, device] = [None] * len(each)
                column[row] = number
    return SampleBlock([sample.key for sample in each], [sample.at for sample in each], columns, left_out)


def write_block(block: SampleBlock) -> bytes:
    """Return a block as bytes."""
    streams, numbers = ([key[part] for key in block.keys] for part in (0, 1))
    fixed = (block.times, streams, numbers)
    return write_frame(fixed, list(block.columns), list(block.columns.values()), len(block.times))


def read_block(data: bytes, metrics: Collection[str] | None = None) -> SampleBlock:
    """Return the block in these bytes, with the columns of these metrics, or all."""
    frame = Frame(data, _FIXED)
    times, streams, numbers = cast(Sequence[list[int]], frame.fixed)
    columns = {place: column for place, (column,) in frame.columns(metrics)}
    return SampleBlock(list(zip(streams, numbers, strict=True)), times, columns)
