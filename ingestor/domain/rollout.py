"""How far a selection of commands has come, and which may be sent now.

Canaries come first, then so many a minute, and nothing more when too many fail.

Invariants:
- No command but a canary is sent before every canary has ended well. A canary that does not stops the rollout.
- Once stopped, nothing of it is sent any more.
- All of it follows from the commands' states, in the order in which they were asked for; so a restart knows as much.
"""

from dataclasses import dataclass, field

from schemas.contract.commands import CommandState, Rollout

ENDED_MIN = 3
"""So many must have ended before their share of failures says anything."""

CATCH_UP_MILLISECONDS = 1000
"""The rate's turns that passed while nobody looked are made up for as far back as here."""

RolloutKey = tuple[str, str, str]
"""Organisation, user name of who asked, batch: nobody can join the rollout of another."""

_MINUTE_MILLISECONDS = 60_000
_BADLY = frozenset((CommandState.FAILED, CommandState.REJECTED, CommandState.TIMED_OUT, CommandState.EXPIRED))
_ENDED = _BADLY | {CommandState.SUCCEEDED}


@dataclass(slots=True, eq=False)
class Progress:
    """One rollout: the commands of all requests of one batch. `next_at`: the next turn of the rate."""

    rollout: Rollout
    stopped: bool = False
    requests: list[str] = field(default_factory=list)
    next_at: float = 0.0
    waiting: dict[str, None] = field(default_factory=dict)
    """Commands whose machines are there and that wait for their turn, the first one first."""
    _states: dict[str, CommandState] = field(default_factory=dict)
    _canaries: set[str] = field(default_factory=set)
    _canaries_chosen: int = 0
    _ended: int = 0
    _badly: int = 0

    def see(self, id_: str, state: CommandState) -> None:
        """A command of this rollout is new, or has come to this state."""
        before = self._states.get(id_)
        if before is None and self._canaries_chosen < self.rollout.canary:
            self._canaries.add(id_)
            self._canaries_chosen += 1
        self._states[id_] = state
        self._ended += (state in _ENDED) - (before in _ENDED)
        self._badly += (state in _BADLY) - (before in _BADLY)
        if state in (CommandState.SUCCEEDED, CommandState.CANCELLED):
            self._canaries.discard(id_)

    def why_stop(self) -> str:
        """Why nothing more should be sent, as a sentence; empty when all is well."""
        failed = sum(self._states[id_] in _BADLY for id_ in self._canaries)
        if failed:
            return f"{failed} of {self._canaries_chosen} canaries did not succeed"
        if self._ended >= ENDED_MIN and 100 * self._badly > self.rollout.stop_percent * self._ended:
            return f"{self._badly} of {self._ended} that ended did not succeed"
        return ""

    @property
    def canaries_waited_for(self) -> int:
        """How many canaries have not ended well yet."""
        return len(self._canaries)

    def lets(self, id_: str) -> bool:
        """Whether this command may be sent as far as stops and canaries go."""
        return not self.stopped and (id_ in self._canaries or not self._canaries)

    def is_turn(self, now: int) -> bool:
        """Whether the rate allows one more."""
        return now >= self.next_at

    def sent(self, at: int) -> None:
        """One was sent for the first time."""
        if self.rollout.per_minute is not None:
            interval = _MINUTE_MILLISECONDS / self.rollout.per_minute
            earliest = at - CATCH_UP_MILLISECONDS if interval < CATCH_UP_MILLISECONDS else at
            self.next_at = max(self.next_at, earliest) + interval
