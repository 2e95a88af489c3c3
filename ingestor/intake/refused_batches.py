"""A batch that the database refuses permanently: its messages are stored in parts, until the faulty ones are alone.

Invariants:
- A message is rejected only if the database refuses a transaction of this message alone.
- What a refused part changed in memory is read again before anything else is handled: nothing is acknowledged that was
  not committed. Pending acknowledgements of committed parts are kept.
- The sender of a refused message is held (`Ingress.hold`), so one machine delays others once a minute, by about
  2 log2(messages) small transactions.
"""

import logging
from collections.abc import Callable, Sequence

from sqlalchemy.exc import DataError, DBAPIError, IntegrityError

from broker.client.transport import Message
from ingestor.domain.batch import Batch
from ingestor.intake.ingress import Ingress
from ingestor.intake.machine_cache import MachineCache
from ingestor.intake.message_handlers import MessageHandlers
from ingestor.intake.receiver import Received
from ingestor.storage.store import Store
from runtime.clock import Clock
from schemas.contract.topics import Address

REFUSED = (IntegrityError, DataError)
"""Errors of a transaction that fails again whenever it is repeated."""

log = logging.getLogger(__name__)


class RefusedBatches:
    """Stores the messages of refused batches.

    `handle` adds messages to a batch, `committed` publishes what follows from one, and `load` reads everything again
    that a batch changes beside its machines.
    """

    def __init__(
        self,
        store: Store,
        cache: MachineCache,
        handlers: MessageHandlers,
        ingress: Ingress,
        clock: Clock,
        *,
        handle: Callable[[Batch, Sequence[Received]], None],
        committed: Callable[[Batch], None],
        load: Callable[[], None],
    ) -> None:
        self._store = store
        self._cache = cache
        self._handlers = handlers
        self._ingress = ingress
        self._clock = clock
        self._handle = handle
        self._committed = committed
        self._load = load

    def store(self, batch: Batch, handled: Sequence[Received], cause: DBAPIError) -> None:
        """Store these messages, of a batch that was refused for this cause, in order; halve each refused part."""
        log.warning("the database refused a batch of %s messages: %s", len(handled), cause.orig)
        self._read_again(batch)
        waiting = [list(handled)]
        while waiting:
            part = [received for received in waiting.pop() if not self._ingress.is_held(received[1])]
            self._handle(batch := Batch(), part)
            try:
                self._store.write(batch)
            except REFUSED as error:
                self._read_again(batch)
                if len(part) > 1:
                    middle = len(part) // 2
                    waiting += [part[middle:], part[:middle]]
                    continue
                batch = self._reject(*part[0], str(error.orig).partition("\n")[0])
            self._committed(batch)

    def _read_again(self, batch: Batch) -> None:
        self._cache.read_again(list(batch.machines.values()))
        self._load()

    def _reject(self, message: Message, address: Address | None, detail: str) -> Batch:
        """Store the rejection of a message; return its batch."""
        self._ingress.hold(address)
        self._handlers.reject(batch := Batch(), message, address, self._clock.now(), "refused", detail)
        try:
            self._store.write(batch)
        except REFUSED:  # the machine was removed meanwhile
            self._read_again(batch)
            self._store.write(batch := Batch(dead_letters=batch.dead_letters))
        return batch
