"""Live readings: taken beside the samples every second, while a lease lasts that the ingestor has granted.

Invariants:
- Without a lease nothing is read: it costs nothing. The collectors are created with the first lease, and kept: one that
  hangs occupies one thread, however many leases follow.
- A lease ends LEASE_MAX_SECONDS after its arrival at the latest, by the monotonic clock; a retained one that arrives
  again does not extend it.
- No sample waits for live readings: they have collectors and a thread of their own, and are never queued. While the
  connection does not accept them, or the collectors hang, they are skipped.
"""

import logging
import math
import threading
from collections.abc import Callable
from dataclasses import dataclass

from agent.collection.sample_runner import CollectorRunner
from broker.client.transport import Message
from runtime.clock import Clock
from schemas.contract.live import LIVE_SECONDS, Live, LiveLease
from schemas.contract.messages import Vitals

POLL_SECONDS = 0.05
"""Time between two looks whether the readings are taken; taking them lasts some milliseconds."""

Reading = tuple[int, Vitals, dict[str, float | None]]
"""When readings were taken, and the readings."""

log = logging.getLogger(__name__)


def _start_thread(work: Callable[[], None]) -> None:
    """Run `work` in a thread. Raises RuntimeError if the system permits no further one."""
    threading.Thread(target=work, name="live", daemon=True).start()


@dataclass(slots=True)
class _Pass:
    """The reading that is being taken."""

    runner: CollectorRunner
    now: Callable[[], int]
    reading: Reading | None = None
    done: bool = False

    def run(self) -> None:
        """Take the readings; the function of its thread."""
        try:
            self.reading = (self.now(), *self.runner.collect())
        finally:
            self.done = True


class LiveReadings:
    """The live readings of one agent. `new_runner` creates their collectors."""

    def __init__(
        self,
        new_runner: Callable[[], CollectorRunner],
        clock: Clock,
        *,
        start: Callable[[Callable[[], None]], None] = _start_thread,
    ) -> None:
        self.off: frozenset[str] = frozenset()
        """Names of the collectors that are switched off."""
        self._new_runner = new_runner
        self._clock = clock
        self._start = start
        self._runner: CollectorRunner | None = None
        self._pass: _Pass | None = None
        self._is_first = False
        self._last_id = ""
        self._ends_at = math.inf
        self._due_at = math.inf

    @property
    def due_at(self) -> float:
        """When `step` has something to do, in seconds of the monotonic clock; infinite without a lease."""
        if self._due_at < math.inf and self._pass is not None:
            return min(self._ends_at, self._clock.monotonic() + POLL_SECONDS)
        return min(self._ends_at, self._due_at)

    def handle(self, message: Message) -> None:
        """Begin, extend or end the lease. Raises ValidationError."""
        if not message.payload:
            self._end()
            return
        watch = LiveLease.decode(message.payload)
        if message.retain and watch.id == self._last_id:
            return
        self._last_id = watch.id
        now = self._clock.monotonic()
        self._ends_at = now + watch.seconds
        if self._due_at == math.inf:
            self._is_first, self._due_at = True, now

    def step(self, session: int, publish: Callable[[bytes], bool] | None) -> None:
        """Publish what was taken, and take what is due; `publish` is None without a connection."""
        now = self._clock.monotonic()
        if now >= self._ends_at:
            self._end()
        if self._pass is not None and self._pass.done:
            self._finish(self._pass, session, publish)
        if self._pass is None and now >= self._due_at:
            self._due_at = max(self._due_at + LIVE_SECONDS, now + LIVE_SECONDS / 2)
            if publish is not None:
                self._take()

    def _take(self) -> None:
        runner = self._runner = self._runner or self._new_runner()
        runner.off = self.off
        taken = _Pass(runner, self._clock.now)
        try:
            self._start(taken.run)
        except RuntimeError as error:  # the system permits no further thread
            log.warning("cannot take live readings: %s", error)
        else:
            self._pass = taken

    def _finish(self, taken: _Pass, session: int, publish: Callable[[bytes], bool] | None) -> None:
        self._pass = None
        if taken.reading is None or publish is None or self._due_at == math.inf:
            return
        if self._is_first:  # rates, such as the load of the processors, begin with the second reading
            self._is_first = False
            return
        at, vitals, extra = taken.reading
        publish(Live(session=session, at=at, vitals=vitals, extra=extra).encode())

    def _end(self) -> None:
        self._ends_at = self._due_at = math.inf
