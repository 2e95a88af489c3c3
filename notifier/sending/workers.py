"""Sending what is in the queue: one worker per destination, so that none waits for another.

Invariants:
- A destination's messages are sent one after the other, by a thread that ends when its queue is empty.
- A message is in the queue until its end is recorded: a process that is killed meanwhile sends it again, with the same
  delivery id. At most one message per destination can be sent twice by a kill.
- A failed attempt is repeated with a growing pause, at most ATTEMPTS_MAX times; then the delivery has failed, visibly.
"""

import logging
import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import Final, Protocol

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from notifier.sending.outgoing import Outgoing, SendingError
from runtime.clock import Clock
from runtime.errors import UserError
from schemas.people import deliveries
from schemas.people.deliveries import Delivery
from schemas.people.destinations import Destination, destination_by_id

ATTEMPTS_MAX: Final = 12
PAUSES_SECONDS: Final = (1, 2, 5, 10, 30, 60, 120, 300)
"""Pause after the first failed attempts; the last one after all others."""

WORKERS_MAX: Final = 200
"""Maximum number of destinations that are sent to at the same time."""

ORG_WORKERS_MAX: Final = 50
"""The same of one organisation, so that its destinations that hang leave room for those of others."""

STOP_SECONDS: Final = 5.0

log = logging.getLogger(__name__)


class Sender(Protocol):
    """Makes and sends messages (`notifier.dispatch.Dispatch`)."""

    def message(self, delivery: Delivery, to: Destination) -> AbstractContextManager[Outgoing]:
        """Return the message of a delivery. Raises SendingError."""
        ...

    def send(self, message: Outgoing, to: Destination) -> str:
        """Send a message and return the service's answer. Raises SendingError, UserError."""
        ...


class Workers:
    """Threads that send."""

    def __init__(self, engine: Engine, sender: Sender, clock: Clock) -> None:
        self._engine = engine
        self._sender = sender
        self._clock = clock
        self._lock = threading.Lock()
        self._running: dict[int, threading.Thread] = {}
        self._waiting: dict[int, int] = {}
        self._org_of: Mapping[int, str] = {}
        self._stopping = False

    def load(self, org_of: Mapping[int, str]) -> None:
        """Read what is in the queue. `org_of`: organisations of the destinations. Raises SQLAlchemyError."""
        waiting = deliveries.waiting_destinations(self._engine)
        with self._lock:
            self._waiting, self._org_of = waiting, org_of

    def add(self, destination_id: int) -> None:
        """Record that something was queued for a destination."""
        with self._lock:
            self._waiting[destination_id] = 0

    def is_busy(self, destination_id: int) -> bool:
        """Return True if something is in the destination's queue."""
        with self._lock:
            return destination_id in self._waiting or destination_id in self._running

    def start_due(self) -> None:
        """Start a worker for each destination with a delivery that is due."""
        now = self._clock.now()
        with self._lock:
            due = [id_ for id_, at in self._waiting.items() if at <= now and id_ not in self._running]
            busy = Counter(self._org_of.get(id_) for id_ in self._running)
            for id_ in due:
                org = self._org_of.get(id_)
                if busy.total() >= WORKERS_MAX or busy[org] >= ORG_WORKERS_MAX:
                    continue
                busy[org] += 1
                thread = threading.Thread(target=self._work, args=(id_,), name=f"destination-{id_}", daemon=True)
                self._running[id_] = thread
                thread.start()

    def stop(self) -> None:
        """Let messages under way end for a moment; the rest stays in the queue."""
        self._stopping = True
        deadline = self._clock.monotonic() + STOP_SECONDS
        with self._lock:
            threads = list(self._running.values())
        for thread in threads:
            thread.join(max(0.0, deadline - self._clock.monotonic()))

    def _work(self, id_: int) -> None:
        """Send to a destination until nothing more is due."""
        again_at: int | None = None
        try:
            while not self._stopping:
                with self._lock:
                    self._waiting.pop(id_, None)  # before reading: what is added from here on is not lost
                found = deliveries.next_delivery(self._engine, id_, now=self._clock.now())
                if found is None:
                    break
                self._attempt(found)
            again_at = deliveries.waiting_destinations(self._engine).get(id_)
        except SQLAlchemyError as error:
            log.warning("cannot read or record deliveries: %s", str(error).splitlines()[0])
            again_at = self._clock.now() + PAUSES_SECONDS[0] * 1000
        finally:
            with self._lock:
                del self._running[id_]
                if again_at is not None:
                    self._waiting.setdefault(id_, again_at)

    def _attempt(self, delivery: Delivery) -> None:
        title, to = "", destination_by_id(self._engine, delivery.destination_id or 0)
        if to is None:  # removed just now
            deliveries.finish(self._engine, delivery.id, deliveries.CANCELLED, now=self._clock.now())
            return
        try:
            with _defects_as_failures(), self._sender.message(delivery, to) as message:
                title = message.title
                answer = self._sender.send(message, to)
        except (SendingError, UserError) as error:
            self._failed(delivery, title, error)
        else:
            said = {"title": title, "answer": answer, "error": ""}
            deliveries.finish(self._engine, delivery.id, deliveries.SENT, now=self._clock.now(), **said)

    def _failed(self, delivery: Delivery, title: str, error: SendingError | UserError) -> None:
        answer = error.answer if isinstance(error, SendingError) else ""
        permanent = isinstance(error, UserError) or error.permanent or delivery.kind == deliveries.TEST
        now, texts = self._clock.now(), {"title": title, "answer": answer, "error": str(error)}
        attempts = delivery.attempts + 1
        if permanent or attempts >= ATTEMPTS_MAX:
            log.error("gave up a message to %s of %s: %s", delivery.destination, delivery.org, error)
            deliveries.finish(self._engine, delivery.id, deliveries.FAILED, now=now, **texts)
            return
        pause = PAUSES_SECONDS[min(attempts, len(PAUSES_SECONDS)) - 1]
        log.warning("a message to %s of %s failed: %s", delivery.destination, delivery.org, error)
        deliveries.retry_later(self._engine, delivery.id, now + pause * 1000, **texts)


@contextmanager
def _defects_as_failures() -> Iterator[None]:
    """Raise a SendingError in place of what is not expected, such as a full disk: the worker goes on."""
    try:
        yield
    except (SendingError, UserError, SQLAlchemyError):
        raise
    except Exception as error:  # noqa: BLE001 - the delivery shows it, and is tried again
        raise SendingError(f"the message cannot be made or sent: {type(error).__name__}") from None
