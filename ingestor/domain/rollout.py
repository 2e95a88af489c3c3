"""Rollouts: which commands of a selection may be sent now. Canaries first, then at a rate; too many failures stop it.

Invariants:
- No other command is sent before every canary has succeeded. A canary that fails stops the rollout.
- After a stop nothing more of it is sent.
- All of it follows from the states of the commands in the order of the requests; so a restart knows as much.
"""

import heapq
from collections.abc import Iterator
from dataclasses import dataclass, field

from ingestor.domain.command import OPEN, Command
from ingestor.domain.command_changes import CommandChanges
from schemas.contract.commands import CommandState, Rollout, Update

ENDED_MIN = 3
"""Number of commands that must have ended before their share of failures counts."""

CATCH_UP_MILLISECONDS = 1000
"""Missed turns of the rate are made up for within this time."""

RolloutKey = tuple[str, str, str]
"""Organisation, user name of the principal, batch: no principal can join the rollout of another."""

_MINUTE_MILLISECONDS = 60_000
_FAILED = frozenset((CommandState.FAILED, CommandState.REJECTED, CommandState.TIMED_OUT, CommandState.EXPIRED))
_ENDED = _FAILED | {CommandState.SUCCEEDED}


@dataclass(slots=True, eq=False)
class RolloutProgress:
    """A rollout: the commands of all requests of one batch. `next_at`: next turn of the rate, in milliseconds."""

    rollout: Rollout
    stopped: bool = False
    requests: list[str] = field(default_factory=list)
    next_at: float = 0.0
    waiting: dict[str, None] = field(default_factory=dict)
    """Commands of online machines that wait for the rate, in order."""
    open: dict[str, None] = field(default_factory=dict)
    """Commands that have not ended."""
    _states: dict[str, CommandState] = field(default_factory=dict)
    _canaries: set[str] = field(default_factory=set)
    _canaries_chosen: int = 0
    _ended: int = 0
    _failed: int = 0

    def record(self, id_: str, state: CommandState) -> None:
        """Record a command of this rollout that is new or has changed its state."""
        before = self._states.get(id_)
        if before is None and self._canaries_chosen < self.rollout.canary:
            self._canaries.add(id_)
            self._canaries_chosen += 1
        self._states[id_] = state
        self._ended += (state in _ENDED) - (before in _ENDED)
        self._failed += (state in _FAILED) - (before in _FAILED)
        if state in (CommandState.SUCCEEDED, CommandState.CANCELLED):
            self._canaries.discard(id_)

    def reason_to_stop(self) -> str:
        """Return why the rollout must stop, as a sentence; empty if it may continue."""
        failed = sum(self._states[id_] in _FAILED for id_ in self._canaries)
        if failed:
            return f"{failed} of {self._canaries_chosen} canaries did not succeed"
        if self._ended >= ENDED_MIN and 100 * self._failed > self.rollout.stop_percent * self._ended:
            return f"{self._failed} of {self._ended} that ended did not succeed"
        return ""

    @property
    def canaries_pending(self) -> int:
        """Number of canaries that have not succeeded yet."""
        return len(self._canaries)

    def allows(self, id_: str) -> bool:
        """Return whether this command may be sent, the rate aside."""
        return not self.stopped and (id_ in self._canaries or not self._canaries)

    def is_turn(self, now: int) -> bool:
        """Return whether the rate allows one more command."""
        return now >= self.next_at

    def sent(self, at: int) -> None:
        """Record that a command was sent for the first time."""
        if self.rollout.per_minute is not None:
            interval = _MINUTE_MILLISECONDS / self.rollout.per_minute
            earliest = at - CATCH_UP_MILLISECONDS if interval < CATCH_UP_MILLISECONDS else at
            self.next_at = max(self.next_at, earliest) + interval


class Rollouts:
    """The rollouts with open commands, by organisation, principal and batch."""

    def __init__(self) -> None:
        self._progress: dict[RolloutKey, RolloutProgress] = {}
        self._turns: list[tuple[float, RolloutKey]] = []
        self._ended: list[RolloutKey] = []

    def get(self, key: RolloutKey) -> RolloutProgress | None:
        """Return the rollout of this batch, if it has open commands."""
        return self._progress.get(key)

    def start(self, key: RolloutKey, progress: RolloutProgress) -> None:
        """Hold back the commands of this batch from now on."""
        self._progress[key] = progress

    def of(self, command: Command) -> RolloutProgress | None:
        """Return the rollout that may hold this command back."""
        return self._progress.get(rollout_key(command)) if command.gated else None

    def resume(self, command: Command) -> None:
        """Add a command that is open according to the database."""
        if (progress := self.of(command)) is not None:
            progress.open[command.id] = None

    def record(self, changes: CommandChanges, command: Command, now: int) -> Iterator[str]:
        """Record a new or changed command; yield the commands that this releases or stops."""
        progress = self.of(command)
        if progress is None:
            return
        pending = progress.canaries_pending
        progress.record(command.id, command.state)
        if command.state in OPEN:
            progress.open[command.id] = None
        else:
            progress.open.pop(command.id, None)
            self._ended.append(rollout_key(command))
        if not progress.stopped and (reason := progress.reason_to_stop()):
            _stop(changes, command, progress, reason, now)
            yield from progress.open
        elif pending and not progress.canaries_pending:
            yield from progress.open

    def admit(self, command: Command, now: int) -> bool:
        """Return whether a command that was never sent may be sent now; it then uses its turn of the rate."""
        progress = self.of(command)
        if progress is None or command.state is not CommandState.QUEUED:
            return True
        if not progress.allows(command.id):
            return False
        if not progress.is_turn(now):
            if not progress.waiting:
                heapq.heappush(self._turns, (progress.next_at, rollout_key(command)))
            progress.waiting[command.id] = None
            return False
        progress.waiting.pop(command.id, None)
        progress.sent(now)
        return True

    def turns(self, now: int) -> Iterator[str]:
        """Yield the commands whose turn it is; offer each to `admit` before taking the next."""
        while self._turns and self._turns[0][0] <= now:
            _, key = heapq.heappop(self._turns)
            progress = self._progress.get(key)
            if progress is None:
                continue
            while progress.waiting and progress.is_turn(now):
                id_ = next(iter(progress.waiting))
                del progress.waiting[id_]
                yield id_
            if progress.waiting:
                heapq.heappush(self._turns, (progress.next_at, key))

    def evict_ended(self) -> None:
        """Forget the rollouts without open commands; the database has them."""
        for key in self._ended:
            if key in self._progress and not self._progress[key].open:
                del self._progress[key]
        self._ended.clear()


def rollout_key(command: Command) -> RolloutKey:
    """Return the key of the rollout that a command belongs to."""
    return command.org, command.principal, command.batch


def _stop(changes: CommandChanges, command: Command, progress: RolloutProgress, reason: str, now: int) -> None:
    progress.stopped = True
    for id_ in progress.requests:
        changes.stopped[id_] = reason
        update = Update(request=id_, state="stopped", at=now, reason="rollout", detail=reason)
        changes.updates.append((command.org, command.principal, update))
