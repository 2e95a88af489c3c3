"""Pending acknowledgements: coalesced to at most one per machine in a few seconds.

Invariant: sequence numbers and rejections are added only after their COMMIT.
"""

import heapq
import itertools
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence

from ingestor.domain.machine import Machine, Stream
from runtime.clock import Clock
from schemas.contract.ack import ACK_MAX_RANGES, ACK_MAX_RESULTS, REJECTIONS_MAX, Ack, Rejection
from schemas.fleet.ranges import Ranges

_NONE: Mapping[str, set[int]] = {}
"""In place of a new dictionary for each machine."""


class Acks:
    """Collects sequence numbers and results, and returns acknowledgements when they are due."""

    def __init__(self, *, every_seconds: float, clock: Clock) -> None:
        self._every_seconds = every_seconds
        self._clock = clock
        self._pending: dict[Machine, dict[str, set[int]]] = {}
        self._results: dict[Machine, dict[str, None]] = {}
        self._rejections: dict[Machine, list[Rejection]] = {}
        self._sent_at: dict[Machine, float] = {}
        self._due: list[tuple[float, int, Machine]] = []
        """A heap of the times at which machines are due, so that no step looks at all of them."""
        self._count = itertools.count()

    def add(self, machine: Machine, stream: Stream, numbers: Iterable[int], *, awaited: bool) -> None:
        """Add stored sequence numbers; `awaited`: the machine sends nothing more before the acknowledgement."""
        pending = self._pending.get(machine)
        if awaited or (pending is None and not self._waits(machine)):
            self._schedule(machine, at_once=awaited)
        if pending is None:
            self._pending[machine] = {stream.name: set(numbers)}
        elif stream.name in pending:
            pending[stream.name].update(numbers)
        else:
            pending[stream.name] = set(numbers)

    def add_result(self, machine: Machine, command: str) -> None:
        """Add the stored final result of a command."""
        if not self._waits(machine):
            self._schedule(machine)
        self._results.setdefault(machine, {})[command] = None

    def add_rejection(self, machine: Machine, rejection: Rejection, *, awaited: bool) -> None:
        """Add a committed rejection; `awaited` as in `add`.

        Above REJECTIONS_MAX it is discarded: the message is answered when it is sent again.
        """
        if not self._waits(machine):
            self._schedule(machine)
        rejections = self._rejections.setdefault(machine, [])
        if awaited:
            self._schedule(machine, at_once=True)
        if rejection not in rejections and len(rejections) < REJECTIONS_MAX:
            rejections.append(rejection)

    @property
    def due_at(self) -> float:
        """When the next payloads are due, in seconds of the monotonic clock; infinite for none."""
        return self._due[0][0] if self._due else math.inf

    def due(self) -> list[tuple[Machine, bytes]]:
        """Remove and return the payloads to publish now."""
        now = self._clock.monotonic()
        found: list[tuple[Machine, bytes]] = []
        while self._due and self._due[0][0] <= now:
            machine = heapq.heappop(self._due)[2]
            if self._waits(machine):
                self._sent_at[machine] = now
                if self._rejections and (
                    rejections := self._rejections.pop(machine, ())
                ):  # first: the next batch shall not begin with them
                    found.append((machine, Ack(rejected=tuple(rejections)).encode()))
                found += [(machine, payload) for payload in _acks(machine, self._pending.pop(machine, _NONE))]
                if self._results:
                    found += [(machine, payload) for payload in _results(list(self._results.pop(machine, ())))]
        return found

    def clear(self) -> None:
        """Forget everything: agents send unacknowledged data again."""
        self._pending.clear()
        self._results.clear()
        self._rejections.clear()
        self._sent_at.clear()
        self._due.clear()

    def _waits(self, machine: Machine) -> bool:
        return machine in self._pending or machine in self._results or machine in self._rejections

    def _schedule(self, machine: Machine, *, at_once: bool = False) -> None:
        due_at = -math.inf if at_once else self._sent_at.get(machine, -math.inf) + self._every_seconds
        heapq.heappush(self._due, (due_at, next(self._count), machine))


def _results(commands: Sequence[str]) -> Iterator[bytes]:
    """Encode the ids of commands whose results are stored."""
    for at in range(0, len(commands), ACK_MAX_RESULTS):
        yield Ack(results=tuple(commands[at : at + ACK_MAX_RESULTS])).encode()


def _acks(machine: Machine, pending: Mapping[str, set[int]]) -> Iterator[bytes]:
    """Encode the whole stored ranges around the numbers of each stream, which repeats acknowledgements that were lost.

    The streams are looked up now: a refused batch replaces them (`Machine.restore`).
    """
    for name, numbers in pending.items():
        stream = machine.streams.get(name)
        if stream is not None and (ranges := _ranges_around(stream.stored, numbers)):
            yield Ack.encode_ranges(name, ranges[:ACK_MAX_RANGES])


def _ranges_around(stored: Ranges, numbers: set[int]) -> list[tuple[int, int]]:
    newest = stored.around(max(numbers, default=0))
    if newest is not None and newest[0] <= min(numbers):  # mostly nothing is missing between them
        return [newest]
    return sorted({found for number in numbers if (found := stored.around(number))})
