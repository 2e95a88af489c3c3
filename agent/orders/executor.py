"""Execution of orders: validated, journalled, run one at a time, and reported until their results are acknowledged.

Invariants:
- Nothing runs before its id is in the journal, and a known order is answered from the journal, never run again.
- Waiting orders are only in memory, at most QUEUE_MAX: one that is lost there was never started, so its command is sent
  again. A waiting order is not `running`, and expires.
- A final result is repeated, on connect and with backoff, until an ack names it.
- When a process left an order running, its action's `resolve` tells the outcome; without one, it was interrupted.
- The agent's thread never waits here; everything runs in it except the action itself.
"""

import logging
from collections import Counter, OrderedDict, deque
from collections.abc import Mapping
from typing import Any, NamedTuple

from agent.action import Action, ActionHost, Arguments, MachineState, Outcome, StartedOrder, attempt, described
from agent.configuration import Configuration, RequestedConfiguration
from agent.orders.action_thread import ActionThread, ThreadContext
from agent.orders.journal import Journal, JournalError
from agent.orders.results import ResultRepeater, final_result, result_of
from agent.orders.trusted_keys import TrustedKeys
from agent.orders.validation import OrderRejected, OrderValidation, RejectionReason
from agent.transfer.file_transfers import FileTransfers
from runtime.clock import Clock
from runtime.settings.agent import AgentSettings
from schemas.contract.commands import CommandMessage, Desired, Order, Result

QUEUE_MAX = 16
JOURNAL_SECONDS = 5.0
"""Interval at which the journal is pruned, and failed writes to it are retried."""

_REJECTED_KEPT = 1000

log = logging.getLogger(__name__)


class _WaitingOrder(NamedTuple):
    order: Order
    action: Action[Any]
    arguments: Arguments
    received_at: int


class Executor:
    """Executes the orders of one machine.

    `process` changes with each start of the agent, `boot` with each boot of the machine.
    """

    def __init__(
        self,
        settings: AgentSettings,
        *,
        actions: Mapping[str, Action[Any]],
        keys: TrustedKeys,
        journal: Journal,
        configuration: Configuration,
        transfers: FileTransfers,
        process: str,
        boot: str,
        clock: Clock,
    ) -> None:
        self.counts: Counter[str] = Counter()
        """Number of orders that were `started`, and of those that were rejected, by reason."""
        self.configuration = configuration
        self.transfers = transfers
        self.keys = keys
        self._described = described(actions, settings)
        self._settings = settings
        self._actions = actions
        self._validation = OrderValidation(settings, actions, keys, clock)
        self._journal = journal
        self._process, self._boot = process, boot
        self._clock = clock
        self._queue: deque[_WaitingOrder] = deque()
        self._thread: ActionThread | None = None
        self._started: dict[str, StartedOrder] = {}
        self._unsaved: dict[str, tuple[StartedOrder, Result]] = {}
        self._rejected: OrderedDict[str, Result] = OrderedDict()
        """Rejections that the journal could not store."""
        self._outgoing: deque[Result] = deque()
        self._recovered = False
        self._journal_due_at = clock.monotonic()
        self._repeater = ResultRepeater(journal, clock)

    @property
    def due_at(self) -> float:
        """When `step` has something to do, in seconds of the monotonic clock, unless a message arrives."""
        now = self._clock.monotonic()
        if self._thread is not None:  # less often for an action that takes long
            return min(self.transfers.due_at, now + min(0.2, max(0.01, (now - self._thread.started_at) / 4)))
        return now if self._queue or self._outgoing else min(self._journal_due_at, self._repeater.due_at)

    @property
    def all_reported(self) -> bool:
        """True if nothing runs or waits, and the ingestor has every outcome."""
        busy = self._thread or self._queue or self._started or self._unsaved or self._outgoing
        return not busy and not self._journal.unacked(1)

    def handle_command(self, payload: bytes) -> None:
        """Validate and queue a command. Raises ValidationError when the payload is none."""
        command = CommandMessage.decode(payload)
        try:
            order = self._validation.authenticate(command.order)
            if self._answer_known(order):
                return
            self._validation.require_issued(order)
            self._validation.require_alive(order)
            action, arguments = self._validation.authorize(order)
            self._require_compatible(order, action)
        except JournalError as error:
            reason: RejectionReason = "expired" if order.expires_at <= self._clock.now() else "journal"
            self._reject(OrderRejected(reason, str(error), id_=order.id, action=order.action))
        except OrderRejected as rejected:
            self._reject(rejected)
        else:
            self._enqueue(_WaitingOrder(order, action, arguments, self._clock.now()))

    def handle_desired(self, payload: bytes) -> None:
        """Apply the configuration that this machine should have. Raises ValidationError when the payload is none.

        Its order is validated as a command's, except for expiry and journal: only a later order is applied.
        """
        desired = Desired.decode(payload)
        try:
            order = self._validation.authenticate(desired.order)
            self._validation.require_issued(order)
            _, requested = self._validation.authorize(order)
            if not isinstance(requested, RequestedConfiguration):
                raise OrderRejected("not-allowed", f"{order.action} is no configuration", order=order)
        except OrderRejected as rejected:
            self._count(rejected)
            return
        if problem := self.configuration.apply(requested, order.issued_at, desired.version):
            log.warning("the desired configuration was not applied: %s", problem)

    def acked(self, ids: tuple[str, ...]) -> None:
        """Record that the ingestor has these final results."""
        self._repeater.acked(ids)

    def connected(self) -> None:
        """Report what is running and repeat what is not acknowledged."""
        self.configuration.connected()
        self.transfers.connected()
        self._outgoing.extend(_running(started) for started in self._started.values())
        self._outgoing.extend(self._repeater.connected())

    def facts(self) -> dict[str, Any]:
        """Return the fields of `info` about orders: allowed actions, trusted keys, version of the configuration."""
        return {"actions": self._described, "keys": self.keys.ids, "config_version": self.configuration.version}

    def step(self, host: ActionHost, *, connected: bool) -> list[Result]:
        """Do what is due; return the results to publish, whose session the publisher sets."""
        self._recover()
        if self._thread is not None:
            self._attend(self._thread, host)
        self._resolve_started()
        self.configuration.check_trial()
        while self._thread is None and self._queue:
            self._start(self._queue.popleft())
        if self._clock.monotonic() >= self._journal_due_at:
            self._journal_due_at = self._clock.monotonic() + JOURNAL_SECONDS
            self._save()
            self._journal.prune()
        self._outgoing.extend(self._repeater.due(connected=connected))
        results, self._outgoing = list(self._outgoing), deque()
        return results

    def close(self) -> None:
        """Close the journal. The next process resolves what is running."""
        self._save()
        self._journal.close()

    # Arriving orders.

    def _answer_known(self, order: Order) -> bool:
        """Queue the answer to a known order; return False if the order is unknown. Raises JournalError."""
        if order.id in self._rejected:
            self._outgoing.append(self._rejected[order.id])
        elif order.id in self._started:
            self._outgoing.append(_running(self._started[order.id]))
        elif order.id in self._unsaved:
            self._outgoing.append(self._unsaved[order.id][1])
        elif (entry := self._journal.known(order)) is not None:
            self._outgoing.append(entry.result)
        else:
            return any(waiting.order.id == order.id for waiting in self._queue)
        return True

    def _require_compatible(self, order: Order, action: Action[Any]) -> None:
        """Reject an order that replaces the agent while another one does. Raises OrderRejected."""
        if not action.replaces_agent:
            return
        for other in (*(each.order for each in self._started.values()), *(each.order for each in self._queue)):
            if other.action in self._actions and self._actions[other.action].replaces_agent:
                detail = f"the action {other.action} of another order has not ended here: order {order.action} after it"
                raise OrderRejected("busy", detail, order=order)

    def _enqueue(self, waiting: _WaitingOrder) -> None:
        if len(self._queue) < QUEUE_MAX:
            self._queue.append(waiting)
        else:
            self.counts["full"] += 1
            log.warning("the order queue is full: ignored an order, which will be sent again")

    def _reject(self, rejected: OrderRejected) -> None:
        """Report why an order does not run. An authentic one is rejected permanently, also after a restart."""
        self._count(rejected)
        if rejected.id is None:
            return
        now, action = self._clock.now(), rejected.action
        result = result_of(rejected.id, "rejected", now, rejected.reason, rejected.detail, action=action)
        self._outgoing.append(result)
        if rejected.order is not None:
            try:
                self._journal.start(self._started_now(rejected.order), result)
            except JournalError:
                self._remember_rejection(result)
        elif rejected.reason == "journal":
            self._remember_rejection(result)

    def _remember_rejection(self, result: Result) -> None:
        self._rejected[result.id] = result
        if len(self._rejected) > _REJECTED_KEPT:
            self._rejected.popitem(last=False)

    def _count(self, rejected: OrderRejected) -> None:
        self.counts[rejected.reason] += 1
        log.warning("rejected an order (%s): %s", rejected.reason, rejected.detail)

    # Running orders.

    def _recover(self) -> None:
        """Recover what an earlier process left running, as soon as the journal can be read."""
        if self._recovered or self._clock.monotonic() < self._journal_due_at:
            return
        interrupted = Outcome.failed("interrupted", "the agent ended while this ran; its effect is unknown")
        for entry in self._journal.running():
            action = self._actions.get(entry.started.order.action)
            if entry.started.process == self._process:
                continue
            if action is not None and action.resolve is not None:
                self._started[entry.result.id] = entry.started
            else:
                self._finish(entry.started, interrupted)
        self._recovered = not self._journal.failing

    def _start(self, waiting: _WaitingOrder) -> None:
        order, started = waiting.order, self._started_now(waiting.order)
        result = _running(started)
        try:
            self._validation.require_alive(order)
            self._journal.start(started, result)
        except JournalError as error:
            self._reject(OrderRejected("journal", str(error), id_=order.id, action=order.action))
        except OrderRejected as rejected:
            self._reject(rejected)
        else:
            log.info("%s starts, order %s", order.action, order.id)
            self.counts["started"] += 1
            self._started[order.id] = started
            self._outgoing.append(result)
            context = ThreadContext(
                self._settings,
                order,
                waiting.received_at,
                clock=self._clock,
                configuration=self.configuration,
                transfers=self.transfers,
            )
            self._thread = ActionThread(waiting.action, waiting.arguments, context, started_at=self._clock.monotonic())
            self._thread.start()

    def _attend(self, thread: ActionThread, host: ActionHost) -> None:
        thread.context.serve(host)
        started = self._started[thread.context.order.id]
        if thread.done.is_set():
            self._thread = None
            if thread.outcome is not None or thread.action.resolve is None:
                self._finish(started, thread.outcome or Outcome.succeeded())
        elif self._clock.monotonic() - thread.started_at > thread.action.seconds:
            self._thread = None
            self._finish(started, Outcome.failed("timeout", f"it did not end within {thread.action.seconds:g} s"))

    def _resolve_started(self) -> None:
        state = MachineState(
            process=self._process,
            boot=self._boot,
            now=self._clock.now(),
            configured_at=self.configuration.proved_at,
            reverted_at=self.configuration.reverted_at,
            data=self._settings.data,
        )
        for id_, started in list(self._started.items()):
            resolve = self._actions[started.order.action].resolve
            if resolve is None or (self._thread is not None and self._thread.context.order.id == id_):
                continue
            outcome = attempt(lambda resolve=resolve, started=started: resolve(started, state))  # type: ignore[misc]
            if outcome is not None:
                self._finish(started, outcome)

    def _finish(self, started: StartedOrder, outcome: Outcome) -> None:
        order = started.order
        log.info("%s %s%s, order %s", order.action, outcome.state, outcome.reason and f" ({outcome.reason})", order.id)
        self._started.pop(order.id, None)
        result = final_result(order, self._clock.now(), outcome)
        self._outgoing.append(result)
        self._unsaved[order.id] = (started, result)
        self._save()

    def _save(self) -> None:
        """Store the outcomes that the journal could not store before."""
        for id_, (started, result) in list(self._unsaved.items()):
            if self._journal.finish(started, result):
                del self._unsaved[id_]

    def _started_now(self, order: Order) -> StartedOrder:
        return StartedOrder(order, self._clock.now(), self._process, self._boot)


def _running(started: StartedOrder) -> Result:
    return result_of(started.order.id, "running", started.at, action=started.order.action)
