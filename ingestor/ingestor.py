"""The ingestor: receive, read, store in one transaction, and only then acknowledge. One `step` does one batch.

Invariants:
- Nothing is acknowledged before its COMMIT, and nothing is kept that could not be committed: when the database is away,
  the batch, and all that was known in memory, is thrown away, the connection is closed, and everything is taken up anew
  when the database is back. The agents still have their samples.
- A batch that the database refuses for good is stored message by message; only the message at fault is set aside.
- Of several ingestors each reads, and keeps in memory, only what its duties say
  (`ingestor.cluster.work_assignment`). Whoever gains or
  loses some takes up anew what is not its own as before, and gives what it gained time to be heard.
"""

import logging
import random
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from itertools import zip_longest
from typing import Protocol

from sqlalchemy.exc import DataError, DBAPIError, IntegrityError

from broker.client.transport import Connected, Disconnected, Event, Message, Transport
from ingestor.alerts import rules
from ingestor.alerts.engine import Alerts
from ingestor.alerts.rule import discover
from ingestor.cluster.leases import FencedError
from ingestor.cluster.shared_subscription_probe import Probe
from ingestor.cluster.work_assignment import Duties
from ingestor.commands.acting import Acting
from ingestor.domain.machine import Machine
from ingestor.domain.presence import is_there
from ingestor.history.maintenance import Tending
from ingestor.intake.acks import Acks
from ingestor.intake.ingress import Admission
from ingestor.intake.limits import Limits
from ingestor.intake.machine_cache import Roster
from ingestor.intake.message_handlers import Batch, Intake, Rejected, counted
from ingestor.metrics import Metrics
from ingestor.presence.monitor import LATE_SECONDS, TICK_SECONDS, Watch
from ingestor.presence.org_configs import OrgConfigs
from ingestor.storage.store import Store
from schemas.contract import topics
from schemas.database.queries.heartbeat import HEARTBEAT_SECONDS

RECEIVE_SECONDS = LATE_SECONDS
GATHER_SECONDS = 0.05
"""So long after the commit of a batch of GATHER_FROM messages or more, what arrives is gathered for the next one."""

GATHER_FROM = 5

BUSY_FROM = 1000
"""With so many messages in a batch no time is left, and what can wait gets its share. With less, a large
fleet's roll-ups would never keep pace."""

PUT_OFF_SECONDS = 0.01
LOOK_AGAIN_ROUNDS = 15
PRINCIPALS_SECONDS = 1.0
CONFIG_SECONDS = 5.0
DUTIES_SECONDS = 1.0
DATABASE_RETRY_SECONDS = 1.0
DRAIN_STEPS = 20

log = logging.getLogger(__name__)


class OpenTransport(Protocol):
    """Makes the ingestor's transport."""

    def __call__(self, *, subscriptions: Sequence[tuple[str, int]]) -> Transport:
        """A transport that is not connected yet."""
        ...


class Ingestor:
    """One ingestor. `now`: the server's wall clock in milliseconds; `monotonic`: seconds that never step."""

    def __init__(
        self,
        *,
        store: Store,
        open_transport: OpenTransport,
        batch_max: int,
        ack_seconds: float,
        now: Callable[[], int],
        monotonic: Callable[[], float],
        random: Callable[[], float] = random.random,
        limits: Limits | None = None,
    ) -> None:
        self.counters: Counter[str] = Counter()
        self.metrics = Metrics(self.counters, connected=lambda: self._watch.is_hearing)
        self._store = store
        self._open_transport = open_transport
        self._batch_max = batch_max
        self._now = now
        self._monotonic = monotonic
        self._started_at = now()
        self._leases = store.leases(monotonic=monotonic)
        self._probe = Probe(self._leases.name, monotonic=monotonic)
        self._duties = Duties(self._leases, shares=None if store.holding.shares else False)
        self._configs = OrgConfigs(store, owns=self._duties.owns)
        self._transport: Transport | None = None
        self._acks = Acks(every_seconds=ack_seconds, monotonic=monotonic)
        self._roster = Roster(store, stores=self._duties.stores, monotonic=monotonic)
        self._acting = Acting(
            store,
            find=self._roster.find,
            find_known=self._roster.known,
            owns=self._duties.owns,
            configs=lambda: self._configs.known,
            now=now,
            random=random,
        )
        self._alerts = Alerts(discover(rules), owns=self._duties.owns, tick_seconds=TICK_SECONDS, monotonic=monotonic)
        self._admission = Admission(
            store, limits=limits or Limits(monotonic), now=now, rules=[rule.name for rule in self._alerts.rules]
        )
        self._intake = Intake(
            find=self._roster.find,
            config=self._configs.of,
            on_result=self._acting.take_result,
            org_readers={**self._acting.readers, **self._admission.readers},
        )
        self._watch = Watch(
            store,
            roster=self._roster,
            duties=self._duties,
            configs=self._configs,
            intake=self._intake,
            alerts=self._alerts,
            now=now,
            monotonic=monotonic,
        )
        self._put_off: list[Message] = []
        self._looks = 0
        self._retry_at = monotonic()
        self._gather_until = monotonic()
        self._due: dict[str, float] = {}
        self._tending = Tending(store.tend, now=now, monotonic=monotonic)

    def step(self) -> None:
        """Handle what has arrived, or wait a moment for it; then do what the time asks for."""
        try:
            transport = self._transport or self._take_up()
            if transport is not None:
                self._work(transport)
        except DBAPIError as error:
            log.error("the database is away: %s", str(error.orig).partition("\n")[0])
            self.counters["database_failures"] += 1
            self._let_everything_go(DATABASE_RETRY_SECONDS)
        except FencedError:
            log.warning("another ingestor has taken over what this one did: it begins anew")
            self.counters["fenced"] += 1
            self._let_everything_go(0.0)

    def stop(self) -> None:
        """Store what is still on its way, and leave."""
        transport = self._transport
        if transport is None:
            return
        try:
            for _ in range(DRAIN_STEPS):
                before = self.counters["received"]
                self._work(transport)
                if self.counters["received"] == before:
                    break
            self._store.write(Batch(), self._heartbeat(stopping=True))
            self._leases.release()
        except DBAPIError as error:
            log.warning("could not store the last messages: %s", error.orig)
        except FencedError:
            log.warning("another ingestor has taken over: it stores the last messages, when they come again")
        transport.close()

    # One batch.

    def _work(self, transport: Transport) -> None:
        if self._is_due("duties", DUTIES_SECONDS) and self._duties.step(hearing=self._watch.is_hearing):
            self._change_duties(transport)
        batch, messages = Batch(), list[Message]()
        arrived, self._put_off = self._put_off, []
        events = self._receive(
            transport, self._batch_max - len(arrived), PUT_OFF_SECONDS if arrived else RECEIVE_SECONDS
        )
        for event in events:
            match event:
                case Message():
                    if self._is_heard(batch, event):
                        arrived.append(event)
                case Connected():
                    self._connected(transport, event)
                case Disconnected():
                    self._take(batch, arrived, messages)
                    arrived = []
                    log.warning("not connected to the broker: %s", event.reason)
                    self._watch.go_blind(batch, event.reason)
        waited = (request for request in self._acting.take_turns() if self._duties.takes(topics.parse(request.topic)))
        self._take(batch, [*arrived, *waited], messages)
        self._follow(batch)
        self.metrics.took(len(messages))
        self._commit(batch, messages)
        self._say(transport)
        if self._duties.shares is None:
            self._decide(transport)
        if self._duties.leads:
            self._tending.step(busy=len(events) >= min(BUSY_FROM, self._batch_max))

    def _receive(self, transport: Transport, limit: int, wait: float) -> list[Event]:
        """What has arrived, or does while it waits. When that is much, a moment's worth: a transaction costs the same
        whatever is in it.
        """
        others_wait = self._acting.busy or (self._duties.leads and self._tending.more)
        events = list(transport.receive(limit, 0 if others_wait else wait))
        more: Sequence[Event] = events
        while more and len(events) < limit and not self._acting.busy:
            left = self._gather_until - self._monotonic()
            more = transport.receive(limit - len(events), left) if left > 0 else ()
            events.extend(more)
        return events

    def _is_heard(self, batch: Batch, message: Message) -> bool:
        """Whether a message is to be read now. What waits for its turn, or is refused, is not."""
        self.counters["received"] += 1
        address = topics.parse(message.topic)
        if address is not None and address.topic is topics.PROBE:
            self._probe.take(message)
            return False
        if not self._duties.takes(address):
            self.counters["elsewhere"] += 1
            return False
        return not (self._admission.refuses(batch, message) or self._acting.waits(batch, message))

    def _say(self, transport: Transport) -> None:
        """Publish what is committed."""
        self._acknowledge(transport)
        self._acting.publish(transport)
        self._admission.publish(transport)
        self._alerts.publish(transport)
        if self._is_due("config", CONFIG_SECONDS):
            self._configs.publish(transport)

    def _follow(self, batch: Batch) -> None:
        """Add to the batch what time, the admin commands and the messages in it have changed."""
        if self._is_due("tick", TICK_SECONDS):
            dropped = self._admission.dropped()
            self.counters["limited"] += dropped.total()
            self._watch.tick(batch, dropped)
        if self._is_due("principals", PRINCIPALS_SECONDS):
            self._admission.load()
            if self._duties.decides:
                self._admission.retire(self._roster.machines, self._roster.find, partial(self._watch.change, batch))
                self._look_again(batch)
        if self._duties.decides:
            self._acting.step(batch, hearing=self._watch.is_hearing)
            self._watch.note(batch)

    def _take(self, batch: Batch, arrived: Sequence[Message], messages: list[Message]) -> None:
        """Read messages into the batch. Those of machines that another ingestor writes of just now are put off."""
        machines = [self._sender(message) for message in arrived] if self._store.holding.shares else []
        held = self._watch.hold([machine for machine in machines if machine is not None])
        for message, machine in zip_longest(arrived, machines):
            if machine is not None and machine.id not in held:
                self._put_off.append(message)
                continue
            messages.append(message)
            self._intake.take(batch, message, self._now())

    def _sender(self, message: Message) -> Machine | None:
        """The machine that a message is from, if it is from one."""
        address = topics.parse(message.topic)
        return self._roster.find(address.org, address.machine) if address is not None and address.machine else None

    def _look_again(self, batch: Batch) -> None:
        """Learn of machines that other ingestors hear: those that are not there as far as is known here, those that
        commands wait for, and a few of all others. What this batch writes of is known; silence looks by itself.
        """
        if not self._store.holding.shares:
            return
        self._looks = (self._looks + 1) % LOOK_AGAIN_ROUNDS
        others = [machine for machine in self._roster.machines if machine.id not in batch.machines]
        waiting = [machine for machine in others if not is_there(machine.state)]
        waiting += [*self._acting.waiting(others), *others[self._looks :: LOOK_AGAIN_ROUNDS]]
        self._acting.look_at(self._watch.look_again(waiting))

    def _commit(self, batch: Batch, messages: list[Message]) -> None:
        heartbeat = self._heartbeat() if self._is_due("heartbeat", HEARTBEAT_SECONDS) else None
        if not batch and heartbeat is None:
            self._store.holding.let_go()
            return
        began = self._monotonic()
        try:
            self._store.write(batch, heartbeat)
        except (IntegrityError, DataError) as error:
            self._commit_one_by_one(messages, error)
            return
        ended = self._monotonic()
        self._gather_until = ended + GATHER_SECONDS if len(messages) >= GATHER_FROM else ended
        self.metrics.committed(ended - began, live_since=batch.live_since, now=self._now())
        if heartbeat is not None:
            self.metrics.beat(self._roster.machines, now=self._now())
        self._note(batch)

    def _commit_one_by_one(self, messages: list[Message], cause: DBAPIError) -> None:
        """Find the message that the database refuses: everything is read anew, and each message gets a transaction."""
        log.warning("the database refused a batch of %s messages: %s", len(messages), cause.orig)
        self._load()
        for message in messages:
            batch = Batch()
            self._take(batch, [message], [])
            try:
                self._store.write(batch)
            except (IntegrityError, DataError) as error:
                self._load()
                detail = str(error.orig).partition("\n")[0]
                batch = Batch(rejected=[Rejected(self._now(), message.topic, "refused", detail, message.payload)])
                self._store.write(batch)
            self._note(batch)
        if not self._watch.is_hearing:
            self._watch.blind(batch := Batch(), self._roster.machines)
            self._store.write(batch)

    def _note(self, batch: Batch) -> None:
        """A batch is committed: count it, and let its numbers be acknowledged."""
        self.counters["stored"] += len(batch.samples)
        self.counters["duplicate"] += batch.duplicates
        for reason, count in counted(batch.rejected).items():
            self.counters[f"rejected.{reason}"] += count
        for machine, stream, numbers, awaited in batch.acks:
            self._acks.add(machine, stream, numbers, awaited=awaited)
        for machine, command in batch.changes.results:
            self._acks.add_result(machine, command)
        self._acting.committed(batch.changes)
        self._alerts.committed(batch.alerts)

    def _acknowledge(self, transport: Transport) -> None:
        for machine, payload in self._acks.due():
            topic = topics.ACK.at(org=machine.org, machine=machine.name)
            handed_over = transport.publish(Message(topic, payload, topics.ACK.qos, topics.ACK.retain))
            self.counters["acks"] += handed_over

    # Hearing, and being blind.

    def _connected(self, transport: Transport, event: Connected) -> None:
        log.info("connected to the broker")
        if self._duties.shares is None:
            self._probe.begin(event)
            return
        if event.refused:
            log.error("the broker refused these subscriptions: %s", ", ".join(event.refused))
        self._begin_to_hear(transport)

    def _decide(self, transport: Transport) -> None:
        """Learn, at the first connection, whether the broker shares subscriptions, and begin to work accordingly."""
        shares = self._probe.step(transport) if transport.connected else None
        if shares is None:
            return
        log.info("the work of several ingestors is divided %s", "by the broker" if shares else "by organisation")
        self._duties.shares = shares
        self._duties.step(hearing=True)
        self._change_duties(transport)
        self._begin_to_hear(transport)

    def _begin_to_hear(self, transport: Transport) -> None:
        self._watch.begin_to_hear()
        self._configs.publish(transport, everything=True)

    # The fleet in memory.

    def _take_up(self) -> Transport | None:
        """Read the fleet and connect. None while it is too early to try the database again."""
        if self._monotonic() < self._retry_at:
            return None
        self._leases.begin(self._now())
        self._duties.step(hearing=False)
        self._load()
        self._watch.blind(batch := Batch(), self._roster.machines)
        self._store.write(batch, self._heartbeat())
        self.metrics.beat(self._roster.machines, now=self._now())
        mine = self._probe.subscriptions if self._duties.shares is None else self._duties.subscriptions()
        self._transport = self._open_transport(subscriptions=mine)
        return self._transport

    def _change_duties(self, transport: Transport) -> None:
        """Take up what is this ingestor's now, keep what was, and forget what is another's."""
        before = self._roster.machines
        self._load()
        new = self._roster.keep(before)
        self._put_off = [message for message in self._put_off if self._duties.takes(topics.parse(message.topic))]
        self._watch.blind(batch := Batch(), new)
        self._store.write(batch)
        if batch:
            self._watch.listen_anew()
        if self._duties.shares is not None:
            transport.subscribe(self._duties.subscriptions())
        self._configs.publish(transport, everything=True)

    def _load(self) -> None:
        self._acks.clear()
        self._configs.load()
        self._store.share_work(timers=self._duties.leads)
        self._roster.load()
        self._watch.load()
        self._admission.load()
        self._acting.load()

    def _let_everything_go(self, retry_seconds: float) -> None:
        if self._transport is not None:
            self._transport.close()
        self._transport = None
        self._watch.hearing_since = None
        self._store.holding.let_go()
        self._put_off.clear()
        self._roster.clear()
        self._acks.clear()
        self._acting.clear()
        self._retry_at = self._monotonic() + retry_seconds

    # Time.

    def _is_due(self, what: str, every_seconds: float) -> bool:
        if self._monotonic() < self._due.get(what, 0.0):
            return False
        self._due[what] = self._monotonic() + every_seconds
        return True

    def _heartbeat(self, *, stopping: bool = False) -> dict[str, object]:
        return {
            "started_at": self._started_at,
            "beat_at": self._now(),
            "broker_connected": self._watch.is_hearing and not stopping,
            "counters": dict(self.counters),
        }
