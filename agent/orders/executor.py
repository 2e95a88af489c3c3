"""Orders on this machine: checked, written down, run one at a time, and their results said until somebody has them.

Invariants:
- Nothing runs before its id is in the journal, and what the journal knows is answered from it, never run again.
- Waiting orders are only in memory, QUEUE_MAX of them: one that is lost there was never begun, so its command comes
  again. What waits is not `running`, and expires.
- A final result is said again, on connect and later and later, until an ack names it.
- Of what a process left running, an action that can tell says how it ended; every other was interrupted.
- The agent's thread never waits here; all of this runs in it, but for the action itself.
"""

import logging
import re
from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from agent.action import Action, Arguments, Begun, Outcome, Situation, attempt, described
from agent.configuration import Configuration, Wish
from agent.orders.action_thread import Host, Work, WorkContext
from agent.orders.journal import Entry, Journal, JournalError
from agent.orders.trusted_keys import Keys
from agent.orders.validation import Orders, Reason, Refused
from runtime.settings.agent import AgentSettings
from schemas.contract.commands import OUTPUT_MAX, CommandMessage, Desired, Order, Result

QUEUE_MAX = 16
REPEAT_SECONDS = 10.0
REPEAT_MOST_SECONDS = 60.0
REPEATED_AT_ONCE = 10
"""Results said again at once: with their output they are large."""

LOOK_SECONDS = 5.0
DETAIL_MAX = 1000
_REFUSED_KEPT = 1000
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")

log = logging.getLogger(__name__)


class _Waiting(NamedTuple):
    order: Order
    action: Action[Any]
    arguments: Arguments
    received_at: int


class Executor:
    """Takes commands and gives results, for one machine.

    `process` is another one after each start of the agent, `boot` after each boot of the machine. `now`: milliseconds
    of the machine's clock; `monotonic`: seconds that never step.
    """

    def __init__(
        self,
        settings: AgentSettings,
        *,
        actions: Mapping[str, Action[Any]],
        keys: Keys,
        journal: Journal,
        configuration: Configuration,
        process: str,
        boot: str,
        now: Callable[[], int],
        monotonic: Callable[[], float],
    ) -> None:
        self.counts: Counter[str] = Counter()
        """How many orders ran (`begun`), and how many were refused, by the reason."""
        self.configuration = configuration
        self.keys = keys
        self.described = described(actions, settings)
        """What `info` says of the actions that are allowed."""
        self._settings = settings
        self._actions = actions
        self._orders = Orders(settings, actions, keys, now=now)
        self._journal = journal
        self._process, self._boot = process, boot
        self._now, self._monotonic = now, monotonic
        self._queue: deque[_Waiting] = deque()
        self._work: Work | None = None
        self._begun: dict[str, Begun] = {}
        self._unsaved: dict[str, tuple[Begun, Result]] = {}
        self._refused: OrderedDict[str, Result] = OrderedDict()
        self._outgoing: deque[Result] = deque()
        self._took_up = False
        self._look_at = self._repeat_at = monotonic()
        self._patience = REPEAT_SECONDS
        self._repeated = ""

    @property
    def due_at(self) -> float:
        """When `step` has something to do, in seconds of the monotonic clock, unless something arrives."""
        if self._work is not None:  # seldom for what takes long
            return self._monotonic() + min(0.2, max(0.01, (self._monotonic() - self._work.started) / 4))
        return self._monotonic() if self._queue or self._outgoing else min(self._look_at, self._repeat_at)

    @property
    def is_idle(self) -> bool:
        """Whether no action is at work and none waits."""
        return self._work is None and not self._queue

    def take(self, payload: bytes) -> None:
        """A command. Raises ValidationError when it is none."""
        command = CommandMessage.decode(payload)
        try:
            order = self._orders.authentic(command.order)
            if self._is_answered(order):
                return
            self._orders.require_issued(order)
            self._orders.require_alive(order)
            action, arguments = self._orders.admitted(order)
        except JournalError as error:
            reason: Reason = "expired" if order.expires_at <= self._now() else "journal"
            self._refuse(Refused(reason, str(error), id_=order.id))
        except Refused as refused:
            self._refuse(refused)
        else:
            self._enqueue(_Waiting(order, action, arguments, self._now()))

    def take_desired(self, payload: bytes) -> None:
        """The configuration that this machine should have. Raises ValidationError when it is none.

        Checked as a command is, but for its expiry and the journal: only one that was ordered later is taken up.
        """
        desired = Desired.decode(payload)
        try:
            order = self._orders.authentic(desired.order)
            self._orders.require_issued(order)
            _, wish = self._orders.admitted(order)
            if not isinstance(wish, Wish):
                raise Refused("not-allowed", f"{order.action} is no configuration", order=order)
        except Refused as refused:
            self._count(refused)
            return
        if problem := self.configuration.take(wish, order.issued_at, desired.version):
            log.warning("the desired configuration was not taken up: %s", problem)

    def acked(self, ids: tuple[str, ...]) -> None:
        """The ingestor has these final results."""
        if ids:
            self._journal.acked(ids)
            self._patience = REPEAT_SECONDS
            self._repeat_at = min(self._repeat_at, self._monotonic() + REPEAT_SECONDS)

    def connected(self) -> None:
        """Say again what is running and what nobody has acknowledged."""
        self.configuration.connected()
        self._outgoing.extend(self._running(begun) for begun in self._begun.values())
        self._patience, self._repeated = REPEAT_SECONDS, ""
        self._repeat()

    def facts(self) -> dict[str, Any]:
        """What `info` says of this: the actions that are allowed, whom the machine obeys, and its configuration."""
        return {
            "actions": self.described,
            "keys": self.keys.ids,
            "config_version": self.configuration.version,
        }

    def step(self, host: Host, *, connected: bool) -> list[Result]:
        """Do what is due; the results to publish, whose session is the publisher's to fill in."""
        self._take_up()
        if self._work is not None:
            self._attend(self._work, host)
        self._settle()
        self.configuration.look()
        self._begin_next()
        if self._monotonic() >= self._look_at:
            self._look()
        if not connected:
            self._repeat_at = float("inf")  # what the next connection begins with
        elif self._monotonic() >= self._repeat_at:
            self._repeat()
        said, self._outgoing = list(self._outgoing), deque()
        return said

    def close(self) -> None:
        """Let go of the journal. What is running is settled by the next process."""
        self._save()
        self._journal.close()

    # What arrives.

    def _is_answered(self, order: Order) -> bool:
        """Whether the order is known, and then its answer is on its way. Raises JournalError."""
        if order.id in self._refused:
            self._outgoing.append(self._refused[order.id])
        elif order.id in self._begun:
            self._outgoing.append(self._running(self._begun[order.id]))
        elif order.id in self._unsaved:
            self._outgoing.append(self._unsaved[order.id][1])
        elif (entry := self._journal.known(order)) is not None:
            self._outgoing.append(entry.result)
        else:
            return any(waiting.order.id == order.id for waiting in self._queue)
        return True

    def _enqueue(self, waiting: _Waiting) -> None:
        if len(self._queue) < QUEUE_MAX:
            self._queue.append(waiting)
        else:
            self.counts["full"] += 1
            log.warning("too many orders wait: one is left to come again")

    def _refuse(self, refused: Refused) -> None:
        """Say why an order does not run. What is surely ours is refused for good, also after a restart."""
        self._count(refused)
        if refused.id is None:
            return
        result = self._result(refused.id, "rejected", refused.reason, refused.detail)
        self._outgoing.append(result)
        if refused.order is not None:
            begun = self._begun_now(refused.order)
            try:
                self._journal.begin(begun, result)
            except JournalError:
                self._remember_refusal(result)
        elif refused.reason == "journal":
            self._remember_refusal(result)

    def _remember_refusal(self, result: Result) -> None:
        self._refused[result.id] = result
        if len(self._refused) > _REFUSED_KEPT:
            self._refused.popitem(last=False)

    def _count(self, refused: Refused) -> None:
        self.counts[refused.reason] += 1
        log.warning("refused an order (%s): %s", refused.reason, refused.detail)

    # What runs.

    def _take_up(self) -> None:
        """Look at what an earlier process left running, as soon as the journal can be read."""
        if self._took_up or self._monotonic() < self._look_at:
            return
        for entry in self._journal.running():
            self._take_up_entry(entry)
        self._took_up = not self._journal.failing

    def _take_up_entry(self, entry: Entry) -> None:
        action = self._actions.get(entry.begun.order.action)
        if entry.begun.process == self._process:
            return
        if action is not None and action.settle is not None:
            self._begun[entry.id] = entry.begun
        else:
            self._end(
                entry.begun, Outcome.failed("interrupted", "the agent ended while this ran; nobody knows how far")
            )

    def _begin_next(self) -> None:
        while self._work is None and self._queue:
            self._begin(self._queue.popleft())

    def _begin(self, waiting: _Waiting) -> None:
        order, begun = waiting.order, self._begun_now(waiting.order)
        result = self._running(begun)
        try:
            self._orders.require_alive(order)
            self._journal.begin(begun, result)
        except JournalError as error:
            self._refuse(Refused("journal", str(error), id_=order.id))
        except Refused as refused:
            self._refuse(refused)
        else:
            log.info("%s begins, order %s", order.action, order.id)
            self.counts["begun"] += 1
            self._begun[order.id] = begun
            self._outgoing.append(result)
            context = WorkContext(
                self._settings, order, waiting.received_at, now=self._now, configuration=self.configuration
            )
            self._work = Work(waiting.action, waiting.arguments, context, started=self._monotonic())
            self._work.start()

    def _attend(self, work: Work, host: Host) -> None:
        work.context.calls.serve(host)
        begun = self._begun[work.context.order.id]
        if work.done.is_set():
            self._work = None
            if work.outcome is not None or work.action.settle is None:
                self._end(begun, work.outcome or Outcome.succeeded())
        elif self._monotonic() - work.started > work.action.seconds:
            self._work = None
            self._end(begun, Outcome.failed("timeout", f"it did not end within {work.action.seconds:g} s"))

    def _settle(self) -> None:
        """Ask those whose outcome shows later."""
        situation = Situation(
            process=self._process,
            boot=self._boot,
            now=self._now(),
            configured_at=self.configuration.proved_at,
            reverted_at=self.configuration.reverted_at,
        )
        for id_, begun in list(self._begun.items()):
            settle = self._actions[begun.order.action].settle
            if settle is None or (self._work is not None and self._work.context.order.id == id_):
                continue
            if (outcome := attempt(lambda settle=settle, begun=begun: settle(begun, situation))) is not None:  # type: ignore[misc]
                self._end(begun, outcome)

    def _end(self, begun: Begun, outcome: Outcome) -> None:
        order = begun.order
        log.info("%s %s%s, order %s", order.action, outcome.state, outcome.reason and f" ({outcome.reason})", order.id)
        self._begun.pop(order.id, None)
        output, cut = (None, False) if outcome.output is None else _printable(outcome.output)
        more = {"exit_code": outcome.exit_code, "output": output, "output_truncated": cut or outcome.output_truncated}
        result = self._result(order.id, outcome.state, outcome.reason, outcome.detail).model_copy(update=more)
        self._outgoing.append(result)
        self._unsaved[order.id] = (begun, result)
        self._save()

    # What is said again.

    def _look(self) -> None:
        self._look_at = self._monotonic() + LOOK_SECONDS
        self._save()
        self._journal.prune()

    def _save(self) -> None:
        """Write down the outcomes that a full disk did not take."""
        for id_, (begun, result) in list(self._unsaved.items()):
            if self._journal.finish(begun, result):
                del self._unsaved[id_]

    def _repeat(self) -> None:
        """Say some of what was not acknowledged, the next ones in turn, and wait longer each time."""
        entries = self._journal.unacked(REPEATED_AT_ONCE, after=self._repeated)
        self._outgoing.extend(entry.result for entry in entries)
        self._repeated = entries[-1].id if len(entries) == REPEATED_AT_ONCE else ""
        self._repeat_at = self._monotonic() + self._patience
        self._patience = min(REPEAT_MOST_SECONDS, 2 * self._patience)

    def _begun_now(self, order: Order) -> Begun:
        return Begun(order, self._now(), self._process, self._boot)

    def _running(self, begun: Begun) -> Result:
        return self._result(begun.order.id, "running", at=begun.at)

    def _result(self, id_: str, state: str, reason: str = "", detail: str = "", *, at: int | None = None) -> Result:
        return Result.model_validate(
            {
                "session": 1,
                "id": id_,
                "state": state,
                "at": self._now() if at is None else at,
                "reason": reason[:32],
                "detail": _printable(detail)[0][:DETAIL_MAX],
            }
        )


def _printable(text: str) -> tuple[str, bool]:
    """A text without control characters, which JSON would make six of each, and whether it had to be cut."""
    encoded = _CONTROL.sub("\ufffd", text).encode("utf-8", "replace")
    return encoded[:OUTPUT_MAX].decode("utf-8", "ignore"), len(encoded) > OUTPUT_MAX
