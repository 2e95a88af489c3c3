"""A machine as the ingestor knows it in memory: a copy of the database that is discarded when a commit fails."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from ingestor.domain.dead_letter import RejectedError
from ingestor.domain.incidents import Identity
from ingestor.domain.presence import PresenceState
from schemas.contract.messages import Vitals
from schemas.fleet.health import Health, HealthStatus
from schemas.fleet.ranges import Ranges

CLOCK_TOLERANCE_MILLISECONDS = 2000
"""Offsets up to this bound are attributed to network delay, not to a wrong clock."""

PATIENCE = 5
"""Number of consecutive larger observations after which a larger offset is accepted."""

BEHIND_MILLISECONDS = 1000
TELL_MILLISECONDS = 60_000

STREAMS_MAX = 1000
"""Streams of one machine: an outbox starts one per boot, so only a broken or hostile agent sends more."""

RANGES_MAX = 10_000
"""Gaps in the stored sequence numbers of one stream."""


@dataclass(slots=True)
class Estimate:
    """The difference between two clocks in milliseconds, from messages whose delay can only add to it.

    The smallest observation is therefore the best. When a clock is set or stops, larger ones persist: after PATIENCE in
    a row the smallest of those is accepted.
    """

    milliseconds: int | None = None
    _larger: list[int] = field(default_factory=list)

    def adopt(self, milliseconds: int | None) -> None:
        """Take over another ingestor's estimate; pending larger observations are kept if it is the same."""
        if milliseconds != self.milliseconds:
            self.milliseconds, self._larger = milliseconds, []

    def observe(self, milliseconds: int) -> None:
        """Add the difference that one message shows."""
        if self.milliseconds is None or milliseconds <= self.milliseconds:
            self.milliseconds, self._larger = milliseconds, []
            return
        self._larger.append(milliseconds)
        if len(self._larger) >= PATIENCE:
            self.milliseconds, self._larger = min(self._larger), []


@dataclass(slots=True)
class Stream:
    """The ledger of one stream of a machine: sequence numbers reported, stored and rejected.

    `number` distinguishes the streams of a machine in the key of a sample. `boot` is the machine's boot time by the
    server's clock, from live messages: a stream belongs to one boot.
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
    rejected: Ranges = field(default_factory=Ranges)

    def report(self, seq: int, oldest_seq: int, dropped: int) -> None:
        """Update the highest number, the oldest number still in the outbox, and the count of dropped samples."""
        if seq > self.highest_seq:  # comparisons rather than max, which takes three times as long
            self.highest_seq = seq
        if oldest_seq > self.oldest_seq:
            self.oldest_seq = oldest_seq
        if dropped > self.dropped:
            self.dropped = dropped

    def drained(self) -> None:
        """Record that the outbox holds no sample of this stream any more."""
        self.oldest_seq = self.highest_seq + 1


@dataclass(frozen=True, slots=True)
class Description:
    """Inventory of a machine by which rules, silences and messages name or select it, from its last `Info`."""

    hostname: str = ""
    os: str = ""
    os_version: str = ""
    agent_version: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class Latest:
    """The newest live sample."""

    sampled_at: int | None = None
    vitals: Vitals = field(default_factory=Vitals)
    extra: dict[str, float | None] = field(default_factory=dict)
    health: Health = field(default_factory=lambda: Health(None, HealthStatus.UNKNOWN))


@dataclass(slots=True)
class SessionBehind:
    """New samples in a session that is not current: late ones of an earlier connection, or a number that began again.

    They are the latter when they go on for BEHIND_MILLISECONDS without a message of the current session.
    """

    session: int = 0
    since: int = 0
    told_at: int = 0

    def persists(self, session: int, now: int) -> bool:
        """Record a new sample of this session; return whether such samples have been coming for a while."""
        if session != self.session:
            self.session, self.since = session, now
        return now - self.since >= BEHIND_MILLISECONDS

    def must_tell(self, now: int) -> bool:
        """Return whether the machine is to be told now: at most once a minute."""
        due = not 0 <= now - self.told_at < TELL_MILLISECONDS
        self.told_at = now if due else self.told_at
        return due


@dataclass(slots=True, eq=False)
class Machine:
    """A machine: identity, presence, newest sample and ledger.

    `clock` estimates the server's clock minus the machine's.
    """

    id: int
    org: str
    name: str
    state: PresenceState = field(default_factory=PresenceState)
    latest: Latest = field(default_factory=Latest)
    clock: Estimate = field(default_factory=Estimate)
    identity: Identity = field(default_factory=Identity)
    streams: dict[str, Stream] = field(default_factory=dict)
    behind: SessionBehind = field(default_factory=SessionBehind)
    description: Description = field(default_factory=Description)
    left_at: int = 0
    """Arrival of the last sample that was left to another ingestor, in milliseconds of the server's clock."""

    def adopt(self, stored: "Machine") -> None:
        """Take over what another ingestor has stored of this machine; what is never stored is kept."""
        dying_at, seen_at = self.state.dying_at, stored.state.last_seen_at or 0
        still_dying = dying_at is not None and stored.state.session == self.state.session and seen_at <= dying_at
        self.state = replace(stored.state, dying_at=dying_at) if still_dying else stored.state
        self.description = stored.description
        self.latest = stored.latest
        self.clock.adopt(stored.clock.milliseconds)
        for name, stream in stored.streams.items():
            if (known := self.streams.get(name)) is not None:
                known.boot.adopt(stream.boot.milliseconds)
                stream.boot = known.boot
        self.streams = stored.streams

    def restore(self, stored: "Machine") -> None:
        """Return to what the database has of this machine: what came after it was not committed."""
        self.state, self.latest, self.streams = stored.state, stored.latest, stored.streams
        self.clock, self.identity, self.behind = stored.clock, stored.identity, stored.behind
        self.description = stored.description

    def stream(self, name: str, now: int) -> Stream:
        """Return the stream of this name, creating it if necessary. Raises RejectedError above STREAMS_MAX."""
        if name not in self.streams:
            if len(self.streams) >= STREAMS_MAX:
                raise RejectedError("too-many-streams", f"the machine has {STREAMS_MAX} streams already")
            number = 1 + max((stream.number for stream in self.streams.values()), default=0)
            self.streams[name] = Stream(name, number, created_at=now)
        return self.streams[name]


def within_tolerance(offset: int | None) -> int:
    """Return a clock offset as a correction in milliseconds: 0 if network delay may explain it."""
    return offset if offset is not None and abs(offset) > CLOCK_TOLERANCE_MILLISECONDS else 0
