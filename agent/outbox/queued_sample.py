"""Waiting samples, as an outbox stores them and refers to them."""

import json
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from schemas.contract.messages import Extra, Sample, Series, Vitals

_TRANSACTION_BYTES = 64 << 10
_OVERHEAD_BYTES = 64


class SampleStream(NamedTuple):
    """A stream and the next sequence number that it assigns."""

    id: int
    name: str
    next_seq: int


class QueuedSample(NamedTuple):
    """A waiting sample; `body` holds the readings as JSON: vitals, extra, and series if there are any."""

    stream_id: int
    seq: int
    sampled_at: int
    body: str

    @property
    def size(self) -> int:
        """Bytes that the sample takes in a file, about."""
        return len(self.body) + _OVERHEAD_BYTES

    def decoded(self) -> Sample:
        """Return the sample. Raises ValueError or TypeError when the body is damaged."""
        vitals, extra, *more = json.loads(self.body)
        readings = {"vitals": vitals, "extra": extra, "series": more[0] if more else {}}
        return Sample.model_validate({"seq": self.seq, "sampled_at": self.sampled_at, **readings})


def encoded_body(vitals: Vitals, extra: Extra, series: Series) -> str:
    """Return the readings of a sample as QueuedSample has them. Most samples have no series, and no third element."""
    readings = [vitals.model_dump(exclude_none=True), extra]
    return json.dumps([*readings, series] if series else readings, separators=(",", ":"), ensure_ascii=False)


class StreamRange(NamedTuple):
    """Sequence numbers `first` to `last` of a stream, both included."""

    stream_id: int
    first: int
    last: int


def ranges_of(samples: Sequence[QueuedSample]) -> list[StreamRange]:
    """Return the sequence numbers of these samples."""
    return merged(StreamRange(sample.stream_id, sample.seq, sample.seq) for sample in samples)


def merged(ranges: Iterable[StreamRange]) -> list[StreamRange]:
    """Return the same sequence numbers in as few ranges as possible."""
    result: list[StreamRange] = []
    for each in sorted(ranges):
        if result and result[-1].stream_id == each.stream_id and each.first <= result[-1].last + 1:
            result[-1] = result[-1]._replace(last=max(result[-1].last, each.last))
        else:
            result.append(each)
    return result


def first_transaction(samples: list[QueuedSample]) -> list[QueuedSample]:
    """Return the first samples, as many as one transaction should write; at least one if there is one."""
    total = 0
    for i, sample in enumerate(samples):
        total += sample.size
        if i and total > _TRANSACTION_BYTES:
            return samples[:i]
    return samples
