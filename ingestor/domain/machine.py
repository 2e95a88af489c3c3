"""What the ingestor knows of the fleet, in memory: a copy of the database that is thrown away when a commit fails."""

from dataclasses import dataclass, field, replace

from ingestor.domain.incidents import Identity
from ingestor.domain.presence import PresenceState
from schemas.contract.messages import Vitals
from schemas.fleet.health import Health, HealthStatus
from schemas.fleet.ranges import Ranges

CLOCK_TOLERANCE_MILLISECONDS = 2000
"""Offsets up to here are taken for the network's delay, not for a wrong clock."""

PATIENCE = 5
"""So many observations in a row must be larger before a larger one is believed."""

STREAMS_MAX = 1000
"""Of one machine: an outbox begins one per boot, so that more come only from a broken or hostile one."""

RANGES_MAX = 10_000
"""Of one stream: so many gaps in what is stored at once."""


@dataclass(slots=True)
class Estimate:
    """A difference between two clocks, in milliseconds, from messages whose delay can only add to it.

    So the smallest seen is the truest. When one of the clocks is set, or stood still, larger ones come to stay: after
    PATIENCE of them in a row the smallest of those is believed.
    """

    milliseconds: int | None = None
    _larger: list[int] = field(default_factory=list)

    def adopt(self, milliseconds: int | None) -> None:
        """Another observer believes this; what was seen here of a larger one counts on while it is the same."""
        if milliseconds != self.milliseconds:
            self.milliseconds, self._larger = milliseconds, []

    def observe(self, milliseconds: int) -> None:
        """One message's difference."""
        if self.milliseconds is None or milliseconds <= self.milliseconds:
            self.milliseconds, self._larger = milliseconds, []
            return
        self._larger.append(milliseconds)
        if len(self._larger) >= PATIENCE:
            self.milliseconds, self._larger = min(self._larger), []


@dataclass(slots=True)
class Stream:
    """The ledger of one stream of a machine: what was heard of, and what is stored.

    `number` tells the streams of a machine apart in the key of a sample. `boot` is the time of the machine's boot by
    the server's clock, from live messages: a stream belongs to one boot.
    """

    name: str
    number: int
    created_at: int
    highest_seq: int = 0
    oldest_seq: int = 1
    dropped: int = 0
    late: int = 0
    duplicate: int = 0
    stored: Ranges = field(default_factory=Ranges)
    boot: Estimate = field(default_factory=Estimate)

    def hear(self, seq: int, oldest_seq: int, dropped: int) -> None:
        """A message of the stream says how far it has come, what still waits at the agent and what was dropped."""
        self.highest_seq = max(self.highest_seq, seq)
        self.oldest_seq = max(self.oldest_seq, oldest_seq)
        self.dropped = max(self.dropped, dropped)

    def nothing_waits(self) -> None:
        """The agent holds nothing of this stream any more."""
        self.oldest_seq = self.highest_seq + 1


@dataclass(slots=True)
class Latest:
    """The last live sample."""

    sampled_at: int | None = None
    vitals: Vitals = field(default_factory=Vitals)
    extra: dict[str, float | None] = field(default_factory=dict)
    health: Health = field(default_factory=lambda: Health(None, HealthStatus.UNKNOWN))


@dataclass(slots=True, eq=False)
class Machine:
    """One machine: who it is, whether it is there, what it measured last, and its ledger.

    `clock` is the server's clock less the machine's, from live messages.
    """

    id: int
    org: str
    name: str
    state: PresenceState = field(default_factory=PresenceState)
    latest: Latest = field(default_factory=Latest)
    clock: Estimate = field(default_factory=Estimate)
    identity: Identity = field(default_factory=Identity)
    streams: dict[str, Stream] = field(default_factory=dict)

    def adopt(self, stored: "Machine") -> None:
        """Another ingestor has written what is stored now: that is known of this machine, and what was not stored."""
        dying_at, seen_at = self.state.dying_at, stored.state.last_seen_at or 0
        still_dying = dying_at is not None and stored.state.session == self.state.session and seen_at <= dying_at
        self.state = replace(stored.state, dying_at=dying_at) if still_dying else stored.state
        self.latest = stored.latest
        self.clock.adopt(stored.clock.milliseconds)
        for name, stream in stored.streams.items():
            if (known := self.streams.get(name)) is not None:
                known.boot.adopt(stream.boot.milliseconds)
                stream.boot = known.boot
        self.streams = stored.streams

    def stream(self, name: str, now: int) -> Stream:
        """The stream of this name, new when it was not heard of. Raises TooManyError."""
        if name not in self.streams:
            if len(self.streams) >= STREAMS_MAX:
                raise TooManyError("too-many-streams", f"{STREAMS_MAX} streams are known of this machine")
            number = 1 + max((stream.number for stream in self.streams.values()), default=0)
            self.streams[name] = Stream(name, number, created_at=now)
        return self.streams[name]


class TooManyError(Exception):
    """A machine sends more of something than any sound one would. The arguments: a reason's code, and a sentence."""


def within_tolerance(offset: int | None) -> int:
    """An offset between clocks as a correction in milliseconds: 0 when the network's delay may explain it."""
    return offset if offset is not None and abs(offset) > CLOCK_TOLERANCE_MILLISECONDS else 0
