"""Admission of messages: assignment, rate limits, revoked machines, the queue of requests, and enrolment.

Invariants:
- Backfills wait until the live messages of a batch are handled, and machines take turns: a flood of one machine delays
  no live sample, and a batch never holds more than BACKFILLS_EACH_STEP of them.
- A message above a rate limit, or of a revoked machine, is rejected before it is decoded.
- A revoked machine is retired, and its retained messages are cleared: when the revocation is noticed, and again
  whenever a message of it arrives, since a broker may publish its will later.
- An enrolment is committed by itself before it is answered, and is idempotent.
"""

import sys
from collections import Counter
from collections.abc import Callable, Collection, Mapping

from pydantic import ValidationError

from broker.client.transport import Message
from ingestor.admin.enrolment import enrol
from ingestor.cluster.work_assignment import WorkAssignment
from ingestor.domain.batch import Batch
from ingestor.domain.command_changes import username
from ingestor.domain.dead_letter import DeadLetter, RejectedError
from ingestor.domain.machine import Machine
from ingestor.domain.presence import Presence, PresenceState, on_reinstated, on_revoked
from ingestor.files.file_rates import FileRates
from ingestor.files.file_server import FileServer
from ingestor.files.machine_files import TOPICS as FILE_TOPICS
from ingestor.files.machine_files import MachineFiles
from ingestor.intake.fact_intake import FactIntake
from ingestor.intake.fact_queue import FactQueue
from ingestor.intake.fair_queue import FairQueue
from ingestor.intake.live_requests import LiveRequests
from ingestor.intake.machine_cache import MachineCache
from ingestor.intake.message_handlers import OrgHandler
from ingestor.intake.rate_limits import Client, RateLimits
from ingestor.intake.retained_sweep import RetainedSweep
from ingestor.intake.salvage import explain, read_id
from ingestor.outbound.messages import cleared
from ingestor.outbound.messages import message as outbound_message
from ingestor.outbound.queue import OutboundQueue
from ingestor.storage.store import Store
from runtime.clock import Clock
from schemas.contract import topics
from schemas.contract.enrolment import EnrolAnswer, EnrolRequest
from schemas.contract.text import TEXT_MAX_LENGTH
from schemas.contract.topics import Address, Topic
from schemas.series.sample_block import count_readings

ChangePresence = Callable[[Collection[Machine], Callable[[Machine], PresenceState]], None]
"""Sets the presence of each machine to the result of the function."""

BACKFILLS_EACH_STEP = 10
"""Each holds up to 500 samples, and storing 5,000 takes some tenths of a second."""

BATCH_SECONDS = 0.5
"""Time for a batch with backfills; above, the next one has half as many, so that live samples wait for no longer."""

BACKFILLS_WAITING = 8
"""Bound for each machine; an agent has one on its way."""

READINGS_PER_SAMPLE = 32
"""Readings of series that are charged as one sample."""

HOLD_SECONDS = 60.0
"""Time for which the messages of a machine are dropped after the database refused one of them."""

_CLEARED = (
    topics.STATUS,
    topics.INFO,
    topics.CONFIG,
    topics.TELEMETRY,
    topics.BACKFILL,
    topics.RESULT,
    topics.LIVE,
    topics.WATCH,
)
"""Topics of a revoked machine that are cleared: a broker other than the embedded one may retain any that it may use."""


class Ingress:
    """Decides which messages are handled. `rules`: names of an organisation's rules, whose alerts may be retained;
    `files`: what machines may fetch, and what is pulled from them.
    """

    def __init__(
        self,
        store: Store,
        cache: MachineCache,
        assignment: WorkAssignment,
        outbound: OutboundQueue,
        clock: Clock,
        *,
        limits: RateLimits,
        rules: Callable[[str], Collection[str]] = lambda _: (),
        files: MachineFiles | None = None,
    ) -> None:
        self._store = store
        self._cache = cache
        self._assignment = assignment
        self._outbound = outbound
        self._clock = clock
        self._limits = limits
        self._rules = rules
        self.retained = RetainedSweep(assignment, cache, outbound, clock)
        self._revoked: frozenset[Client] = frozenset()
        self._cleared: frozenset[Client] = frozenset()
        self._held: dict[Client, float] = {}
        self._began = clock.monotonic()
        self.facts = FactIntake(store, assignment, outbound, clock)
        self.live = LiveRequests(cache, assignment, outbound, clock)
        self.files = files or MachineFiles(FileServer((), FileRates(clock)))
        self._requests = FairQueue()
        self._backfills = FairQueue(
            each_step=BACKFILLS_EACH_STEP, each_step_bytes=sys.maxsize, waiting_max=BACKFILLS_WAITING
        )
        self._queues: Mapping[Topic, FairQueue | FactQueue] = {
            topics.BACKFILL: self._backfills,
            topics.FACTS: self.facts.queue,
        }

    @property
    def org_handlers(self) -> Mapping[Topic, OrgHandler]:
        """The handlers of the messages that change nothing in the batch."""
        return {
            topics.ENROL_REQUEST: self.handle_enrolment,
            topics.LIVE_REQUEST: self.live.handle,
            topics.WATCH: self.live.handle_retained,
        }

    @property
    def busy(self) -> bool:
        """Whether requests, backfills or facts wait, so that the next step should begin at once."""
        return bool(self._requests or self._backfills or self.facts.queue)

    def admit(self, batch: Batch, message: Message, address: Address | None, at: float | None = None) -> bool:
        """Return whether a message is to be handled in this batch; a request, backfill or list of facts waits.

        `at`: when it was read, in seconds of the monotonic clock; None: now.

        A message of a revoked machine becomes a dead letter; one outside the contract is left to `MessageHandlers`.
        """
        if address is None:
            return True
        stored = address.topic is topics.BACKFILL
        client = (address.org, address.machine or address.principal)
        if not self._limits.admit(*client, len(message.payload), at, counts_samples=stored) or (
            self._held and self._drop_held(address)
        ):
            return False
        if self._revoked and (address.org, address.machine) in self._revoked:
            if message.payload:
                self._set_aside(batch, message, "revoked", f"{address.machine} was revoked")
                levels = {"org": address.org, "machine": address.machine, "kind": address.kind}
                self._outbound.retain([cleared(address.topic, **levels)])
            return False
        if (queue := self._queues.get(address.topic)) is not None:
            if not queue.put(message, address):
                self._limits.drop(*client)
            return False
        if address.topic in FILE_TOPICS:
            self._take_file_message(batch, message, address)
            return False
        if address.topic is not topics.REQUEST:
            return True
        if not self._requests.put(message, address):
            self._set_aside(batch, message, "too-many-requests", "too many requests of this principal wait")
        return False

    def leave(self, address: Address, now: int) -> None:
        """Note that a machine was heard whose message another ingestor handles: it is not silent.

        `now`: milliseconds of the server's clock.
        """
        machine = self._cache.get(address.org, address.machine)
        if machine is not None:
            machine.left_at = now

    def waiting(self) -> list[tuple[Message, Address]]:
        """Remove and return the requests, backfills and lists of facts to handle in this batch."""
        self._began = self._clock.monotonic()
        taken = [*self._requests.take(), *self._backfills.take(), *self.facts.queue.take()]
        mine = (received for received in taken if self._assignment.handles(received[1]))
        return [received for received in mine if not self.is_held(received[1])]

    def hold(self, address: Address | None) -> None:
        """Drop the messages of this machine for HOLD_SECONDS; those of other clients are never held."""
        if address is not None and address.machine:
            now = self._clock.monotonic()
            self._held = {client: until for client, until in self._held.items() if until > now}
            self._held[address.org, address.machine] = now + HOLD_SECONDS

    def is_held(self, address: Address | None) -> bool:
        """Return whether messages of this sender are dropped."""
        if address is None or not self._held:
            return False
        return self._clock.monotonic() < self._held.get((address.org, address.machine), 0.0)

    def committed(self, batch: Batch) -> None:
        """Charge committed backfills and series to the limits of their machines, and pace the next backfills."""
        backfills = [(machine, len(numbers)) for machine, _, numbers, is_backfill in batch.acks if is_backfill]
        if backfills:
            passed, queue = self._clock.monotonic() - self._began, self._backfills
            if passed > BATCH_SECONDS:
                queue.each_step = max(1, queue.each_step // 2)
            elif passed < BATCH_SECONDS / 2:
                queue.each_step = min(BACKFILLS_EACH_STEP, queue.each_step + 1)
        for machine, samples in backfills:
            self._limits.charge(machine.org, machine.name, samples)
        for arrived in batch.samples:
            if series := arrived.sample.series:
                cost = -(-count_readings(series) // READINGS_PER_SAMPLE)
                self._limits.charge(arrived.machine.org, arrived.machine.name, cost)

    def clear(self) -> None:
        """Forget the waiting requests, backfills and lists of facts."""
        self._requests.clear()
        self._backfills.clear()
        self.facts.queue.clear()
        self.files.clear()

    def load(self) -> None:
        """Read the revoked machines."""
        self._revoked = self._store.revoked_machines()

    def retire(self, change: ChangePresence) -> None:
        """Retire revoked machines, reinstate those with a valid credential, and clear retained messages."""
        new = self._revoked - self._cleared
        for org, name in new:
            machine = self._cache.find(org, name)  # caches machines that were never heard
            if machine is not None:
                self.facts.retire(machine)
        revoked, retired = self._revoked, Presence.RETIRED
        concerned = [
            machine
            for machine in self._cache.machines
            if machine.state.presence is retired or (revoked and (machine.org, machine.name) in revoked)
        ]
        change(concerned, self._retired_or_reinstated)
        for org, name in new:
            levels = {"org": org, "machine": name}
            self._outbound.retain(cleared(topic, **levels) for topic in _CLEARED)
            self._outbound.retain(outbound_message(topics.ALERT, b"", **levels, rule=rule) for rule in self._rules(org))
            if self._cache.get(org, name) is None and self._assignment.owns(org):
                # Removed: no alert of it will end any more.
                self._outbound.retain([cleared(topics.PRESENCE, **levels)])
                self._outbound.retain(
                    outbound_message(topics.RESOLVED, b"", **levels, rule=rule) for rule in self._rules(org)
                )
        self._cleared = self._revoked

    def dropped(self) -> Counter[Client]:
        """Return the number of messages above a limit since the last call, by client."""
        return self._limits.dropped()

    def handle_enrolment(self, _batch: Batch, address: Address, message: Message, now: int) -> None:
        """Enrol a machine, or refuse it, and answer. Raises RejectedError for an unknown token, or ValidationError."""
        try:
            request = EnrolRequest.decode(message.payload)
        except ValidationError as error:
            nonce = read_id(message.payload, "nonce")
            if nonce is not None:
                detail = explain(error)[1][:TEXT_MAX_LENGTH]
                self._answer_enrolment(address, EnrolAnswer(nonce=nonce, refused="invalid", detail=detail))
            raise
        token = username(address.org, address.principal)
        answer = enrol(self._store.engine, address.org, token, request, now)
        if answer is None:
            raise RejectedError("unknown-token", f"{address.org} has no token {address.principal}")
        self._answer_enrolment(address, answer)

    def _answer_enrolment(self, address: Address, answer: EnrolAnswer) -> None:
        levels = {"org": address.org, "principal": address.principal}
        self._outbound.answer(outbound_message(topics.ENROL_ANSWER, answer.encode(), **levels))

    def _take_file_message(self, batch: Batch, message: Message, address: Address) -> None:
        try:
            self.files.handle(message.payload, address)
        except ValidationError as error:
            self._set_aside(batch, message, *explain(error))

    def _drop_held(self, address: Address) -> bool:
        """Count a message of a machine that is held; return whether it is."""
        if held := self.is_held(address):
            self._limits.drop(address.org, address.machine)
        return held

    def _set_aside(self, batch: Batch, message: Message, reason: str, detail: str) -> None:
        batch.dead_letters.append(DeadLetter(self._clock.now(), message.topic, reason, detail, message.payload))

    def _retired_or_reinstated(self, machine: Machine) -> PresenceState:
        revoked = (machine.org, machine.name) in self._revoked
        return (on_revoked if revoked else on_reinstated)(machine.state, self._clock.now())
