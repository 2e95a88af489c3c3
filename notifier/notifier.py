"""The notifier: reads alerts and incidents from the broker, decides who is told, and queues the messages.

Invariants:
- A decision is in the database before anything is sent. After a restart, retained messages are compared with it.
- Without the database nothing is decided: the state is read again, and the broker is asked again, when it is back.
- Sending is the workers' (`notifier.sending.workers`): this thread waits for no service.
"""

import logging
from collections.abc import Callable, Sequence
from typing import Final

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from broker.client.transport import Connected, Disconnected, Event, Message, Transport
from notifier.domain.planner import Planner
from notifier.inbox import Inbox
from notifier.reports import queue_due_reports
from notifier.sending.workers import Workers
from notifier.storage import state_store
from runtime.clock import Clock
from runtime.errors import UserError
from schemas.people import deliveries
from schemas.people.destinations import Destination, list_destinations

RECEIVE_MAX: Final = 500
CONFIGURATION_SECONDS: Final = 1.0
"""Interval at which destinations, and messages that others queued, are read again."""

UPKEEP_SECONDS: Final = 60.0
RETRY_SECONDS: Final = 2.0

log = logging.getLogger(__name__)


class Notifier:
    """The process's work, a step at a time. Raises UserError if the broker rejects its credential."""

    def __init__(
        self,
        engine: Engine,
        transport: Transport,
        workers: Workers,
        clock: Clock,
        *,
        ingestor_runs: Callable[[], bool],
    ) -> None:
        self.stepped_at = clock.monotonic()
        """Monotonic time of the last step that succeeded."""
        self._engine = engine
        self._transport = transport
        self._workers = workers
        self._clock = clock
        self._ingestor_runs = ingestor_runs
        self._inbox = Inbox(clock, ingestor_runs)
        self._planner: Planner | None = None
        self._destinations: dict[int, Destination] = {}
        self._configured_at = self._kept_at = self._failed_at = float("-inf")

    @property
    def connected(self) -> bool:
        """Whether the broker delivers alerts now."""
        return self._transport.connected

    def step(self, wait: float) -> None:
        """Handle what arrives within `wait` seconds, and queue what is due."""
        events = self._transport.receive(RECEIVE_MAX, wait)
        for event in events:
            if isinstance(event, Disconnected):
                self._handle_disconnected(event)
        monotonic = self._clock.monotonic()
        if monotonic - self._failed_at < RETRY_SECONDS:
            self._planner = None  # what arrives now is asked for again
            return
        try:
            self._work(self._planner or self._load(), events)
        except SQLAlchemyError as error:
            log.warning("the database of users is unavailable: %s", str(error).splitlines()[0])
            self._failed_at, self._planner = monotonic, None
        else:
            self.stepped_at = monotonic

    def stop(self) -> None:
        """End: what is in the queue stays there."""
        self._workers.stop()
        self._transport.close()

    def _load(self) -> Planner:
        """Read the state, and ask the broker for what it retains."""
        planner = Planner(state_store.read_known(self._engine))
        self._inbox = Inbox(self._clock, self._ingestor_runs)
        self._inbox.load(planner.open_problems())
        if self._transport.connected:
            self._inbox.connected()
        self._transport.subscribe(Inbox.subscriptions())
        self._planner, self._configured_at = planner, float("-inf")
        return planner

    def _work(self, planner: Planner, events: Sequence[Event]) -> None:
        now = self._clock.now()
        self._configure(planner, now)
        for event in events:
            self._handle(planner, event, now)
        for problem in self._inbox.over(planner.open_problems):
            planner.observe(problem, now)
        notices = planner.due(now, self._workers.is_busy)
        for id_ in state_store.commit(self._engine, planner.changed(), notices, self._destinations, now=now):
            self._workers.add(id_)
        self._workers.start_due()
        self._keep_up(planner, now)

    def _handle(self, planner: Planner, event: Event, now: int) -> None:
        match event:
            case Message():
                problem = self._inbox.read(event)
                if problem is not None:
                    planner.observe(problem, now, live=not event.retain)
            case Connected():
                self._inbox.connected()
                log.info("connected to the broker")
                if event.refused:
                    raise UserError(f"the broker rejected the notifier's subscription to {', '.join(event.refused)}")

    def _handle_disconnected(self, event: Disconnected) -> None:
        self._inbox.disconnected()
        log.warning("not connected to the broker: %s", event.reason)
        if event.refused:
            raise UserError(f"the broker rejected the notifier's secret: {event.reason}")

    def _configure(self, planner: Planner, now: int) -> None:
        """Read destinations, and the queue: the dashboard queues tests."""
        monotonic = self._clock.monotonic()
        if monotonic - self._configured_at < CONFIGURATION_SECONDS:
            return
        self._configured_at = monotonic
        self._destinations = {each.id: each for each in list_destinations(self._engine)}
        planner.configure(map(state_store.recipient_of, self._destinations.values()), now)
        self._workers.load({id_: each.org for id_, each in self._destinations.items()})

    def _keep_up(self, planner: Planner, now: int) -> None:
        monotonic = self._clock.monotonic()
        if monotonic - self._kept_at < UPKEEP_SECONDS:
            return
        self._kept_at = monotonic
        planner.prune(now)
        state_store.prune(self._engine, now=now)
        deliveries.prune(self._engine, now=now)
        queue_due_reports(self._engine, self._destinations, now=now)
