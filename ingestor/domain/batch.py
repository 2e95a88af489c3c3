"""A batch: the content of one transaction, and the acknowledgements that follow its COMMIT."""

from dataclasses import dataclass, field

from ingestor.domain.alert import Alert, AlertKey
from ingestor.domain.command_changes import CommandChanges
from ingestor.domain.dead_letter import DeadLetter
from ingestor.domain.facts import ReceivedFacts
from ingestor.domain.incidents import Incident
from ingestor.domain.machine import Machine, Stream
from ingestor.domain.presence import PresenceState
from schemas.contract.ack import Rejection
from schemas.contract.messages import Info, Sample


@dataclass(frozen=True, slots=True)
class Transition:
    """A change of a machine's presence."""

    machine: Machine
    at: int
    before: PresenceState
    after: PresenceState


@dataclass(slots=True)  # not frozen: creating one takes a quarter of the time
class Arrived:
    """A sample to store. `clock_offset`: milliseconds to add to its time."""

    machine: Machine
    stream: Stream
    sample: Sample
    received_at: int
    clock_offset: int


@dataclass(frozen=True, slots=True)
class PendingDecision:
    """A duration of a rule that has begun: the condition of a machine holds since then, or, while its alert is active,
    does not. `value` and `device`: as in `Timeline`.
    """

    machine: int
    rule: str
    since: int
    value: float | None
    device: str


@dataclass(slots=True)
class Batch:
    """Everything that one transaction stores."""

    samples: list[Arrived] = field(default_factory=list)
    machines: dict[int, Machine] = field(default_factory=dict)
    """Machines whose state changed, by id."""
    streams: dict[tuple[int, str], tuple[Machine, Stream]] = field(default_factory=dict)
    infos: dict[int, tuple[Machine, Info]] = field(default_factory=dict)
    facts: dict[tuple[int, str], ReceivedFacts] = field(default_factory=dict)
    """Lists of facts by machine id and kind."""
    transitions: list[Transition] = field(default_factory=list)
    dead_letters: list[DeadLetter] = field(default_factory=list)
    acks: list[tuple[Machine, Stream, tuple[int, ...], bool]] = field(default_factory=list)
    """Machine, stream, sequence numbers, and whether the machine waits for the acknowledgement."""
    rejections: list[tuple[Machine, Rejection]] = field(default_factory=list)
    """Answers to machines about rejected messages and samples."""
    duplicates: int = 0
    live_since: int | None = None
    """Time of the oldest live sample, in milliseconds of the server's clock."""
    clones: list[Machine] = field(default_factory=list)
    """Machines with two active outboxes (`ingestor.domain.incidents.Identity`)."""
    incidents: list[Incident] = field(default_factory=list)
    alerts: list[Alert] = field(default_factory=list)
    pending: dict[AlertKey, PendingDecision | None] = field(default_factory=dict)
    """Durations of alert rules that began; None: one is over."""
    changes: CommandChanges = field(default_factory=CommandChanges)
    retiring: list[tuple[Machine, int]] = field(default_factory=list)
    """Machines that asked to be retired, and when: their credentials are revoked."""

    def __bool__(self) -> bool:
        return bool(
            self.machines
            or self.facts
            or self.dead_letters
            or self.incidents
            or self.alerts
            or self.pending
            or self.changes
        )

    def change_presence(self, machine: Machine, after: PresenceState, now: int) -> None:
        """Set a machine's presence; record a transition if it is another one."""
        before, machine.state = machine.state, after
        self.machines[machine.id] = machine
        if after.presence is not before.presence:
            self.transitions.append(Transition(machine, now, before, after))
