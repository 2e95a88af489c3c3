"""The ingestor: receives messages, handles them, stores them in one transaction, and only then publishes what follows.

Invariants:
- Nothing is acknowledged before its COMMIT, and nothing is kept that could not be committed: when the database is
  unavailable, the batch and everything in memory is discarded, the connection is closed, and everything is loaded again
  when the database is back. The agents still have their samples.
- Of a batch that the database refuses for good only the faulty message is rejected (`ingestor.intake.refused_batches`).
- Of several ingestors each handles, and keeps in memory, only its own work (`ingestor.cluster.work_assignment`). After
  a change of the assignment, new work is loaded, and its machines get time to be heard.
"""

import logging
import random
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from functools import partial
from itertools import zip_longest

from sqlalchemy.exc import DBAPIError

from broker.client.transport import Connected, Disconnected, Transport
from ingestor.alerts import rules
from ingestor.alerts.engine import AlertEngine
from ingestor.alerts.rule import discover
from ingestor.cluster.heartbeats import Heartbeats
from ingestor.cluster.leases import FencedError, Leases
from ingestor.cluster.work_assignment import WorkAssignment
from ingestor.commands.dispatcher import Dispatcher
from ingestor.commands.request_handler import RequestHandler
from ingestor.domain.batch import Batch
from ingestor.domain.machine import Machine
from ingestor.due_tasks import DueTasks
from ingestor.files.machine_files import MachineFiles
from ingestor.history.maintenance import Maintenance
from ingestor.history.tasks import tasks
from ingestor.intake.ingress import Ingress
from ingestor.intake.machine_cache import MachineCache
from ingestor.intake.message_handlers import MessageHandlers
from ingestor.intake.org_configs import OrgConfigs
from ingestor.intake.rate_limits import RateLimits
from ingestor.intake.receiver import OpenTransport, Received, Receiver
from ingestor.intake.refused_batches import REFUSED, RefusedBatches
from ingestor.intake.rejection_log import RejectionLog
from ingestor.metrics import Metrics
from ingestor.outbound.queue import OutboundQueue
from ingestor.presence.monitor import LATE_SECONDS, TICK_SECONDS, PresenceMonitor
from ingestor.storage.store import Store
from runtime.clock import Clock
from schemas.contract import topics

BUSY_FROM = 1000
"""Messages in a batch from which on maintenance gets only its share of the time; always, roll-ups would lag."""
BATCH_SECONDS = 1.0  # for handling messages before a commit
DEFERRED_SECONDS = 0.01
PRINCIPALS_SECONDS = 1.0
CONFIG_SECONDS = 5.0
ASSIGNMENT_SECONDS = 1.0
DATABASE_RETRY_SECONDS = 1.0
DRAIN_STEPS = 20

log = logging.getLogger(__name__)


class Ingestor:
    """An ingestor; each `step` handles one batch. `files`: those that machines fetch and send; None for none."""

    def __init__(
        self,
        *,
        store: Store,
        open_transport: OpenTransport,
        batch_max: int,
        ack_seconds: float,
        clock: Clock,
        random: Callable[[], float] = random.random,
        limits: RateLimits | None = None,
        files: MachineFiles | None = None,
    ) -> None:
        self.counters: Counter[str] = Counter()
        self.metrics = Metrics(self.counters)
        self._store = store
        self._open_transport = open_transport
        self._batch_max = batch_max
        self._clock = clock
        self._transport: Transport | None = None
        self._deferred: list[Received] = []  # of machines that another ingestor was writing
        self._retry_at = clock.monotonic()
        self._idle = False  # the last step had nothing to do
        self._tasks = DueTasks(clock)
        self._rejection_log = RejectionLog(clock)
        self._files = files
        self._assemble(store, clock, random, limits or RateLimits(clock), ack_seconds)

    def _assemble(
        self, store: Store, clock: Clock, random: Callable[[], float], limits: RateLimits, ack_seconds: float
    ) -> None:
        leases = Leases(store.engine, name=store.name, clock=clock)
        store.locks.fence = leases.fence
        self._heartbeats = Heartbeats(store.engine, leases, clock, self.counters)
        self._assignment = WorkAssignment(leases, by_machine=store.locks.shared)
        self._outbound = OutboundQueue(ack_seconds=ack_seconds, clock=clock)
        self._configs = OrgConfigs(store, self._assignment, self._outbound, clock)
        self._cache = MachineCache(store, self._assignment, clock)
        shared = (self._cache, self._assignment, self._configs, clock)
        alerts = AlertEngine(store.engine, discover(rules), *shared, tick_seconds=TICK_SECONDS)
        parts = (store, self._cache, self._assignment, self._outbound, clock)
        self._ingress = Ingress(*parts, limits=limits, rules=alerts.names, files=self._files)
        self._dispatcher = Dispatcher(store.commands, self._cache, self._assignment, random=random)
        requests = RequestHandler(store, self._dispatcher, self._cache, self._configs)
        self._handlers = MessageHandlers(
            self._cache,
            self._configs,
            on_result=self._dispatcher.handle_result,
            on_facts=self._ingress.facts.handle,
            org_handlers={topics.REQUEST: requests.handle, **self._ingress.org_handlers},
        )
        handling = (store, self._cache, self._handlers, self._ingress, clock)
        self._refused = RefusedBatches(
            *handling,
            handle=lambda batch, part: self._handle(batch, part, []),
            committed=self._committed,
            load=self._load_all_but_machines,
        )
        self._monitor = PresenceMonitor(
            store, self._cache, self._assignment, self._configs, alerts, self._outbound, clock
        )
        self._maintenance = Maintenance(tasks(store), clock)
        self._receiver = Receiver(self._assignment, self._ingress, clock, self.counters)

    def step(self) -> None:
        """Handle the messages that have arrived, or wait a moment for some, and everything that time requires."""
        try:
            transport = self._transport or self._start()
            if transport is not None:
                self._work(transport)
        except DBAPIError as error:
            log.error("the database is unavailable: %s", str(error.orig).partition("\n")[0])
            self.counters["database_failures"] += 1
            self._discard(DATABASE_RETRY_SECONDS)
        except FencedError:
            log.warning("another ingestor has taken over work of this one, which starts again")
            self.counters["fenced"] += 1
            self._discard(0.0)
        self.metrics.connected = self._monitor.is_hearing

    def stop(self) -> None:
        """Store messages in flight, release the leases, and disconnect."""
        if (transport := self._transport) is None:
            return
        try:
            for _ in range(DRAIN_STEPS):
                before = self.counters["received"]
                self._work(transport)
                if self.counters["received"] == before and not self._ingress.busy:
                    break
            self._store.write(Batch(), self._heartbeats.row(connected=False))
            self._heartbeats.committed(connected=False)
            self._assignment.leases.release()
        except DBAPIError as error:
            log.warning("could not store the last messages: %s", error.orig)
        except FencedError:
            log.warning("another ingestor has taken over, and stores the last messages when they are sent again")
        transport.close()

    def _work(self, transport: Transport) -> None:
        if self._tasks.is_due("assignment", ASSIGNMENT_SECONDS) and self._assignment.update(
            hearing=self._monitor.is_hearing
        ):
            self._change_assignment(transport)
        batch, handled = Batch(), list[Received]()
        received = self._receive(batch, handled, transport)
        self._apply_time(batch)
        self.metrics.batch_messages = len(handled)
        self._commit(batch, handled)
        if self._tasks.is_due("config", CONFIG_SECONDS):
            self._configs.publish()
        self._monitor.retained_presence.step()
        acknowledged = self._outbound.publish(transport)
        self.counters["acks"] += acknowledged
        more = self._monitor.retained_presence.more or self._ingress.files.waiting
        self._idle = not (received or batch or acknowledged or more)
        if self._assignment.leads:
            self._maintenance.step(busy=received >= min(BUSY_FROM, self._batch_max))

    def _receive(self, batch: Batch, handled: list[Received], transport: Transport) -> int:
        """Add the messages that have arrived, deferred ones and requests to the batch; return the number of events."""
        arrived, self._deferred = self._deferred, []
        busy = self._ingress.busy or self._outbound.busy or self._dispatcher.busy
        wait = DEFERRED_SECONDS if arrived else self._wait_seconds()
        if busy or (self._assignment.leads and self._maintenance.more):
            wait = 0
        limit = max(1, self._batch_max - len(arrived))
        items, number = self._receiver.receive(batch, transport, limit, wait, gather=not busy)
        for item in items:
            match item:
                case Connected():
                    self._on_connected(item)
                case Disconnected():
                    self._handle(batch, arrived, handled)
                    arrived = []
                    log.warning("not connected to the broker: %s", item.reason)
                    self._monitor.go_blind(batch, item.reason)
                case received:
                    arrived.append(received)
        self._handle(batch, [*arrived, *self._ingress.waiting()], handled)
        return number

    def _handle(self, batch: Batch, arrived: Sequence[Received], handled: list[Received]) -> None:
        """Handle messages, and append them to `handled`; defer those of machines locked elsewhere, and late ones."""
        end = self._clock.monotonic() + BATCH_SECONDS
        shared, find = self._store.locks.shared, self._cache.find
        senders = [find(to.org, to.machine) if to and to.machine else None for _, to in arrived] if shared else []
        locked = self._monitor.lock([machine for machine in senders if machine is not None])
        for received, machine in zip_longest(arrived, senders):
            late = self._clock.monotonic() > end
            if late or (machine is not None and machine.id not in locked):
                self._deferred.append(received)
                continue
            handled.append(received)
            message, address = received
            self._handlers.handle(batch, message, address, self._clock.now())

    def _apply_time(self, batch: Batch) -> None:
        """Add the effects of time, of admin commands and of the batch's own messages to the batch."""
        if self._tasks.is_due("tick", TICK_SECONDS):
            dropped = self._ingress.dropped()
            self.counters["limited"] += dropped.total()
            self._monitor.tick(batch, dropped)
        if self._tasks.is_due("principals", PRINCIPALS_SECONDS):
            self._ingress.load()
            if self._assignment.decides:
                self._ingress.retire(partial(self._monitor.change, batch))
                self._monitor.refresh(batch, self._dispatcher)
        if self._assignment.decides:
            self._dispatcher.step(batch, self._clock.now(), hearing=self._monitor.is_hearing)
            self._monitor.derive(batch)

    def _commit(self, batch: Batch, handled: list[Received]) -> None:
        beats = self._heartbeats.is_due(beside=bool(batch))
        if not batch and not beats:
            self._store.locks.release()
            return
        began = self._clock.monotonic()
        try:
            self._store.write(batch, self._heartbeats.due_row(connected=self._monitor.is_hearing) if beats else None)
        except REFUSED as error:
            self._refused.store(batch, handled, error)
            if not self._monitor.is_hearing:
                self._monitor.mark_unverified(batch := Batch(), self._cache.machines)
                self._store.write(batch)
            return
        self._receiver.committed(len(handled))
        self.metrics.committed(self._clock.monotonic() - began, live_since=batch.live_since, now=self._clock.now())
        if beats:
            self._heartbeats.committed(connected=self._monitor.is_hearing)
            self.metrics.beat(self._cache.machines, now=self._clock.now())
        self._committed(batch)

    def _committed(self, batch: Batch) -> None:
        self.counters.update(stored=len(batch.samples), duplicate=batch.duplicates)
        self.counters["flapping"] = self._store.transitions.folded
        for letter in batch.dead_letters:
            self._rejection_log.write(letter)
            self.counters[f"rejected.{letter.reason}"] += 1
        self._ingress.committed(batch)
        self._outbound.committed(batch)
        self._monitor.committed(batch)

    def _on_connected(self, event: Connected) -> None:
        log.info("connected to the broker")
        if event.refused:
            log.error("the broker refused these subscriptions: %s", ", ".join(event.refused))
        self._monitor.start_hearing()
        self._configs.publish(everything=True)

    def _start(self) -> Transport | None:
        """Load the fleet and connect; return None while it is too early to try the database again."""
        if self._clock.monotonic() < self._retry_at:
            return None
        self._heartbeats.begin()
        self._assignment.update(hearing=False)
        self._load()
        self._monitor.mark_unverified(batch := Batch(), self._cache.machines)
        self._store.write(batch, self._heartbeats.row(connected=False))
        self._heartbeats.committed(connected=False)
        self.metrics.beat(self._cache.machines, now=self._clock.now())
        self._transport = self._open_transport(subscriptions=self._assignment.subscriptions())
        return self._transport

    def _change_assignment(self, transport: Transport) -> None:
        """Load the work that is new here, keep what was, and forget what belongs to another ingestor now."""
        new = self._load(keep=self._cache.machines)
        self._deferred = [received for received in self._deferred if self._assignment.handles(received[1])]
        self._monitor.mark_unverified(batch := Batch(), new)
        self._store.write(batch)
        if batch:
            self._monitor.restart_timers()
        transport.subscribe(self._assignment.subscriptions())
        self._configs.publish(everything=True)

    def _load(self, keep: Collection[Machine] = ()) -> list[Machine]:
        """Read everything, with these machines as they are in memory; return the others."""
        self._outbound.acks.clear()
        self._store.clear_marks(exclusive=self._assignment.leads)
        self._cache.load()
        new = self._cache.keep(keep)
        self._load_all_but_machines()  # afterwards: it refers to the cached machines
        return new

    def _load_all_but_machines(self) -> None:
        self._configs.load()
        self._monitor.load()
        self._ingress.facts.clear()
        self._ingress.load()
        self._dispatcher.load()

    def _discard(self, retry_seconds: float) -> None:
        """Close the connection, and forget everything in memory."""
        if self._transport is not None:
            self._transport.close()
        self._transport = None
        self._monitor.stop_hearing()
        self._store.locks.release()
        for each in (self._deferred, self._cache, self._ingress, self._outbound, self._dispatcher):
            each.clear()
        self._retry_at = self._clock.monotonic() + retry_seconds

    def _wait_seconds(self) -> float:
        """Return how long to wait for messages: an idle ingestor wakes up only for what is due."""
        return min(TICK_SECONDS, self._tasks.seconds_left(self._outbound.acks.due_at)) if self._idle else LATE_SECONDS
