"""The rollouts under way, and which of their commands have something to do."""

import heapq
from collections.abc import Iterator

from ingestor.domain.command import OPEN, Command
from ingestor.domain.command_changes import update
from ingestor.domain.rollout import Progress, RolloutKey
from ingestor.intake.message_handlers import Batch
from schemas.contract.commands import CommandState, Update


class Rollouts:
    """By organisation, principal and batch. Knows the open commands of each."""

    def __init__(self) -> None:
        self._progress: dict[RolloutKey, Progress] = {}
        self._open: dict[RolloutKey, dict[str, None]] = {}
        self._turns: list[tuple[float, RolloutKey]] = []
        self._ended: list[RolloutKey] = []

    def get(self, key: RolloutKey) -> Progress | None:
        """The rollout of this batch, if it is under way."""
        return self._progress.get(key)

    def begin(self, key: RolloutKey, progress: Progress) -> None:
        """Hold back the commands of this batch from now on."""
        self._progress[key] = progress
        self._open[key] = {}

    def of(self, command: Command) -> Progress | None:
        """The rollout that may hold this command back."""
        return self._progress.get(rollout_key(command)) if command.gated else None

    def hold(self, command: Command) -> None:
        """A command of a rollout is open, by the database."""
        if self.of(command) is not None:
            self._open[rollout_key(command)][command.id] = None

    def see(self, batch: Batch, command: Command, now: int) -> Iterator[str]:
        """A command is new or has changed; gives the commands that this lets go, or stops."""
        progress = self.of(command)
        if progress is None:
            return
        key = rollout_key(command)
        waited_for = progress.canaries_waited_for
        progress.see(command.id, command.state)
        if command.state in OPEN:
            self._open[key][command.id] = None
        else:
            self._open[key].pop(command.id, None)
            self._ended.append(key)
        if not progress.stopped and (why := progress.why_stop()):
            self._stop(batch, key, progress, why, now)
            yield from self._open[key]
        elif waited_for and not progress.canaries_waited_for:
            yield from self._open[key]

    def lets(self, command: Command, now: int) -> bool:
        """Whether a command that was never sent may be sent now, which uses its turn up."""
        progress = self.of(command)
        if progress is None or command.state is not CommandState.QUEUED:
            return True
        if not progress.lets(command.id):
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
        """The commands whose turn it is, one by one; each must be offered to `lets` before the next is taken."""
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

    def tidy(self) -> None:
        """Forget the rollouts of which nothing is open; the database has them."""
        for key in self._ended:
            if not self._open.get(key, True):
                del self._open[key], self._progress[key]
        self._ended.clear()

    def _stop(self, batch: Batch, key: RolloutKey, progress: Progress, why: str, now: int) -> None:
        progress.stopped = True
        org, principal, _ = key
        for id_ in progress.requests:
            batch.changes.stopped[id_] = why
            content = Update(request=id_, state="stopped", at=now, reason="rollout", detail=why)
            batch.changes.updates.append(update(org, principal, content))


def rollout_key(command: Command) -> RolloutKey:
    """Which rollout a command belongs to."""
    return command.org, command.principal, command.batch
