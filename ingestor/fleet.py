"""What the ingestor knows of the fleet, in memory: a copy of the database that is thrown away when a commit fails."""

from dataclasses import dataclass, field

from ingestor.incidents import Identity
from ingestor.presence import State
from schemas.health import Health, HealthStatus
from schemas.messages import Vitals
from schemas.ranges import Ranges

CLOCK_TOLERANCE_MILLISECONDS = 2000
"""Offsets up to here are taken for the network's delay, not for a wrong clock."""

CLOCK_PATIENCE = 5
"""So many messages in a row must agree before a larger offset is believed: a delay only ever adds to it."""


@dataclass(slots=True)
class ClockOffset:
    """The server's clock minus a machine's, in milliseconds, from live messages: the smallest seen is the truest."""

    milliseconds: int | None = None
    _larger: list[int] = field(default_factory=list)

    def observe(self, offset: int) -> None:
        """A live message arrived so many milliseconds after its machine's clock said it was sent."""
        if self.milliseconds is None or offset <= self.milliseconds:
            self.milliseconds, self._larger = offset, []
            return
        self._larger.append(offset)
        if len(self._larger) >= CLOCK_PATIENCE:
            self.milliseconds, self._larger = min(self._larger), []

    @property
    def correction(self) -> int:
        """What to add to the machine's times: 0 within the tolerance."""
        offset = self.milliseconds or 0
        return offset if abs(offset) > CLOCK_TOLERANCE_MILLISECONDS else 0


@dataclass(slots=True)
class Stream:
    """The ledger of one stream of a machine: what was heard of, and what is stored."""

    name: str
    created_at: int
    highest_seq: int = 0
    oldest_seq: int = 1
    dropped: int = 0
    late: int = 0
    duplicate: int = 0
    stored: Ranges = field(default_factory=Ranges)
    booted_at: int | None = None

    def hear(self, seq: int, oldest_seq: int, dropped: int) -> None:
        """A message of the stream says how far it has come, what still waits at the agent and what was dropped."""
        self.highest_seq = max(self.highest_seq, seq)
        self.oldest_seq = max(self.oldest_seq, oldest_seq)
        self.dropped = max(self.dropped, dropped)


@dataclass(slots=True)
class Latest:
    """The last live sample."""

    sampled_at: int | None = None
    vitals: Vitals = field(default_factory=Vitals)
    extra: dict[str, float | None] = field(default_factory=dict)
    health: Health = field(default_factory=lambda: Health(None, HealthStatus.UNKNOWN))


@dataclass(slots=True, eq=False)
class Machine:
    """One machine: who it is, whether it is there, what it measured last, and its ledger."""

    id: int
    org: str
    name: str
    state: State = field(default_factory=State)
    latest: Latest = field(default_factory=Latest)
    clock: ClockOffset = field(default_factory=ClockOffset)
    identity: Identity = field(default_factory=Identity)
    streams: dict[str, Stream] = field(default_factory=dict)

    def stream(self, name: str, now: int) -> Stream:
        """The stream of this name, new when it was not heard of."""
        if name not in self.streams:
            self.streams[name] = Stream(name, created_at=now)
        return self.streams[name]
