"""Acknowledgement of what a machine published, and the answer to what was rejected."""

from collections.abc import Iterable
from typing import Annotated, Self

from pydantic import Field, model_validator

from schemas.contract.messages import ContractModel, Payload, RandomId, Sequence, StreamId
from schemas.contract.text import Code, Line
from schemas.contract.topics import LENGTH_MAX

ACK_MAX_RANGES = 1000
ACK_MAX_RESULTS = 1000
REJECTIONS_MAX = 32
"""Rejections in one acknowledgement."""

WRONG_VERSION = "wrong-version"
"""Reason of a message in another version of the contract than the reader's."""


class Range(ContractModel):
    """The sequence numbers from `first` to `last`, both included."""

    first: Sequence
    last: Sequence

    @model_validator(mode="after")
    def _ascends(self) -> Self:
        if self.last < self.first:
            raise ValueError("last is before first")
        return self


class Rejection(ContractModel):
    """A message on `topic`, or some samples of it, that the ingestor rejected.

    `ranges` of `stream` are the samples that will never be stored: the agent deletes and counts them. Without ranges
    the message was rejected as a whole; sent again unchanged, it is rejected again. `reason` is a code, `detail` a
    sentence for people.
    """

    topic: Annotated[Line, Field(max_length=LENGTH_MAX)]
    stream: StreamId | None = None
    ranges: Annotated[tuple[Range, ...], Field(max_length=ACK_MAX_RANGES, strict=False)] = ()
    reason: Code
    detail: Annotated[Line, Field(max_length=500)] = ""

    @model_validator(mode="after")
    def _names_a_stream_with_ranges(self) -> Self:
        if (self.stream is None) != (not self.ranges):
            raise ValueError("a rejection has a stream with ranges, or neither")
        return self


class Ack(Payload):
    """Acknowledgement of committed data, on `down/ack`.

    The agent deletes the samples in `ranges` of `stream` from its outbox, and stops sending the final results of the
    commands whose ids are in `results`. `rejected` names what will not be stored.
    """

    stream: StreamId | None = None
    ranges: Annotated[tuple[Range, ...], Field(max_length=ACK_MAX_RANGES, strict=False)] = ()
    results: Annotated[tuple[RandomId, ...], Field(max_length=ACK_MAX_RESULTS, strict=False)] = ()
    rejected: Annotated[tuple[Rejection, ...], Field(max_length=REJECTIONS_MAX, strict=False)] = ()

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if (self.stream is None) != (not self.ranges) or not (self.ranges or self.results or self.rejected):
            raise ValueError("an ack has a stream with ranges, or results, or rejections")
        return self

    @classmethod
    def encode_ranges(cls, stream: str, ranges: Iterable[tuple[int, int]]) -> bytes:
        """Return the payload of an acknowledgement of a valid stream and valid ranges (first, last).

        It is made for nearly every sample, therefore as a text: the model takes eight times as long.
        """
        pieces = ",".join([f'{{"first":{first},"last":{last}}}' for first, last in ranges])
        return f'{{"v":1,"stream":"{stream}","ranges":[{pieces}],"results":[],"rejected":[]}}'.encode()
