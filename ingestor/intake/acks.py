"""What has been committed and not yet been said: acknowledgements, at most one per machine and few seconds.

Invariant: numbers come in here only after their COMMIT.
"""

import heapq
import itertools
import math
from collections.abc import Callable, Iterable

from ingestor.domain.machine import Machine, Stream
from schemas.contract.messages import ACK_MAX_RANGES, ACK_MAX_RESULTS, Ack


class Acks:
    """Collects what to acknowledge and gives it out when it is due."""

    def __init__(self, *, every_seconds: float, monotonic: Callable[[], float]) -> None:
        self._every_seconds = every_seconds
        self._monotonic = monotonic
        self._waiting: dict[Machine, dict[str, tuple[Stream, set[int]]]] = {}
        self._results: dict[Machine, dict[str, None]] = {}
        self._sent_at: dict[Machine, float] = {}
        self._turns: list[tuple[float, int, Machine]] = []
        """A heap: when each machine is due, in the order in which they came; looking at all of them would take long."""
        self._count = itertools.count()

    def add(self, machine: Machine, stream: Stream, numbers: Iterable[int], *, awaited: bool) -> None:
        """These numbers are stored; `awaited` when the machine sends nothing more before it hears so."""
        self._queue(machine, at_once=awaited)
        _, waiting = self._waiting.setdefault(machine, {}).setdefault(stream.name, (stream, set()))
        waiting.update(numbers)

    def add_result(self, machine: Machine, command: str) -> None:
        """The final result of this command is stored."""
        self._queue(machine)
        self._results.setdefault(machine, {})[command] = None

    def due(self) -> list[tuple[Machine, bytes]]:
        """The payloads to send now."""
        now = self._monotonic()
        found: list[tuple[Machine, bytes]] = []
        while self._turns and self._turns[0][0] <= now:
            machine = heapq.heappop(self._turns)[2]
            if self._waits(machine):
                found += [(machine, ack) for ack in self._take(machine, now)]
        return found

    def clear(self) -> None:
        """Forget everything: the fleet was thrown away. What is not said will be asked again."""
        self._waiting.clear()
        self._results.clear()
        self._sent_at.clear()
        self._turns.clear()

    def _waits(self, machine: Machine) -> bool:
        return machine in self._waiting or machine in self._results

    def _queue(self, machine: Machine, *, at_once: bool = False) -> None:
        if at_once or not self._waits(machine):
            due_at = -math.inf if at_once else self._sent_at.get(machine, -math.inf) + self._every_seconds
            heapq.heappush(self._turns, (due_at, next(self._count), machine))

    def _take(self, machine: Machine, now: float) -> list[bytes]:
        self._sent_at[machine] = now
        acks = [_ack(stream, numbers) for stream, numbers in self._waiting.pop(machine, {}).values()]
        results = list(self._results.pop(machine, ()))
        pieces = [results[at : at + ACK_MAX_RESULTS] for at in range(0, len(results), ACK_MAX_RESULTS)]
        return acks + [Ack(results=tuple(piece)).encode() for piece in pieces]


def _ack(stream: Stream, numbers: set[int]) -> bytes:
    """The whole stored ranges around the numbers: this also says again what an ack that was lost had said."""
    ranges = sorted({found for number in numbers if (found := stream.stored.around(number))})
    return Ack.encode_ranges(stream.name, ranges[:ACK_MAX_RANGES])
