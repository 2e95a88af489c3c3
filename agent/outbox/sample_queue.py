"""The queue of samples between an agent and the network, as both see it."""

from collections.abc import Sequence
from typing import Protocol

from agent.outbox.outbox import OutboxBatch
from schemas.contract.ack import Range
from schemas.contract.messages import EarlierStream, Extra, Sample, Series, Vitals


class SampleQueue(Protocol):
    """Where samples wait for their acknowledgement. `agent.outbox.outbox.Outbox` keeps them through power cuts."""

    @property
    def stream(self) -> str:
        """Name of the current stream."""
        ...

    @property
    def oldest_seq(self) -> int:
        """Smallest number of the current stream that may still wait; the next number when none does."""
        ...

    @property
    def dropped(self) -> int:
        """Number of samples of the current stream that were ever dropped."""
        ...

    def earlier_streams(self, limit: int) -> list[EarlierStream]:
        """Return the streams before the current one, the newest `limit` of them."""
        ...

    def append(self, sampled_at: int, vitals: Vitals, extra: Extra, series: Series | None = None) -> Sample:
        """Number a sample and store it. `sampled_at`: milliseconds of the machine's clock."""
        ...

    def ack(self, stream: str, ranges: Sequence[Range]) -> None:
        """Delete the samples with these numbers."""
        ...

    def reject(self, stream: str, ranges: Sequence[Range]) -> int:
        """Delete samples that will never be stored; return their number."""
        ...

    def spill(self, *, before_seq: int | None = None) -> None:
        """Make safe what waits; with `before_seq`, only if a lower number waits."""
        ...

    def batch(self, limit: int, *, before_seq: int | None = None) -> OutboxBatch | None:
        """Return the oldest waiting samples, up to `limit`; of the current stream only those below `before_seq`."""
        ...

    def close(self) -> None:
        """Make everything safe and release the files."""
        ...
