"""What travels: every payload of the contract, version 1, as UTF-8 JSON.

Invariants:
- Readers ignore unknown fields; writers only ever add. A released payload decodes for ever (`tests/schemas/golden`).
- Units stand in the field's name; times are integer milliseconds UTC since 1970.
- A reading is a finite number or null. Null means "could not be read", never a default dressed as a measurement.
- Types are strict: `"30"` is not a number. NaN and infinities are refused in both directions.
"""

from collections.abc import Iterable
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic_core import to_json

from schemas.contract.topics import ID_PATTERN

INTEGER_MAX = 2**53 - 1
"""The largest integer that every JSON reader keeps exactly (RFC 8259, section 6)."""

SESSION_MAX = INTEGER_MAX // 2
"""Far beyond any clock, with as much room above it: a higher session is damage or malice."""

BACKFILL_MAX_SAMPLES = 500
ACK_MAX_RANGES = 1000
ACK_MAX_RESULTS = 1000
ACTIONS_MAX = 64
KEY_CHANGES_MAX = 256
STATEMENT_MAX = 16 << 10
EXTRA_MAX = 64
EARLIER_STREAMS_MAX = 32
METRICS_MAX = 256

Milliseconds = Annotated[int, Field(ge=0, le=INTEGER_MAX)]
Count = Annotated[int, Field(ge=0, le=INTEGER_MAX)]
Sequence = Annotated[int, Field(ge=1, le=INTEGER_MAX)]
Session = Annotated[int, Field(ge=1, le=SESSION_MAX)]
Percent = Annotated[float, Field(ge=0, le=100)]
Reading = Annotated[float, Field(ge=-1e300, le=1e300)]
Text = Annotated[str, Field(max_length=256)]
StreamId = Annotated[str, Field(pattern=r"^[0-9a-f]{16}$")]
MetricName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,62}$")]
Identifier = Annotated[str, Field(pattern=ID_PATTERN, max_length=63)]
Labels = Annotated[dict[Identifier, Annotated[str, Field(max_length=63)]], Field(max_length=32)]
RandomId = Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]
KeyId = Annotated[str, Field(pattern=r"^[0-9a-f]{16}$")]
SecretHash = Annotated[str, Field(max_length=200, pattern=r"^\$7\$101\$[A-Za-z0-9+/=]{16}\$[A-Za-z0-9+/=]{88}$")]
"""The record of a secret, as `broker.access.credentials` makes it."""

OfflineReason = Literal["lost", "stopped", "restarting", "rebooting", "asleep"]


class ContractModel(BaseModel):
    """A part of a message: frozen, strict, without NaN, ignoring fields that a later version added."""

    model_config = ConfigDict(frozen=True, strict=True, extra="ignore", allow_inf_nan=False)


class Payload(ContractModel):
    """A whole payload. Decoding raises pydantic's ValidationError, and nothing else, for whatever bytes arrive."""

    v: Literal[1] = 1

    def encode(self) -> bytes:
        """The payload to publish."""
        return self.model_dump_json().encode()

    @classmethod
    def decode(cls, payload: bytes) -> Self:
        """The message in a payload. Raises ValidationError when it is not one."""
        return cls.model_validate_json(payload)


class Vitals(ContractModel):
    """What every machine measures. Totals that do not change (memory, disk) are in `Info`."""

    cpu_percent: Percent | None = None
    memory_percent: Percent | None = None
    memory_used_bytes: Count | None = None
    disk_percent: Percent | None = None
    disk_used_bytes: Count | None = None
    swap_percent: Percent | None = None
    uptime_seconds: Count | None = None
    load_1m: Annotated[float, Field(ge=0, le=1e6)] | None = None
    network_received_bytes: Count | None = None
    network_sent_bytes: Count | None = None
    process_count: Count | None = None
    temperature_celsius: Annotated[float, Field(ge=-273.15, le=1000)] | None = None


VITALS = tuple(Vitals.model_fields)
"""The names of the vitals, in the order of the contract."""

Extra = Annotated[dict[MetricName, Reading | None], Field(max_length=EXTRA_MAX)]


class Status(Payload):
    """Presence, retained on `up/status`: the birth, the goodbye, and (published by the broker) the will.

    `session` grows with every connection; a death counts only for the current one. `reason` is set when offline.
    `at` is the machine's clock, for a will the time of its CONNECT.
    """

    state: Literal["online", "offline"]
    reason: OfflineReason | None = None
    session: Session
    at: Milliseconds
    interval_seconds: Annotated[float, Field(gt=0, le=86_400)] = 10.0


class Metric(ContractModel):
    """What a reading is called and how to show it. `unit` is one of the contract's unit names, or free text."""

    name: MetricName
    unit: Annotated[str, Field(max_length=32)]
    title: Annotated[str, Field(max_length=64)]


class ActionDescription(ContractModel):
    """An action that a machine allows. `arguments_schema` is the JSON Schema (2020-12) of its arguments."""

    name: MetricName
    title: Annotated[str, Field(max_length=64)]
    arguments_schema: dict[str, Any]


class EarlierStream(ContractModel):
    """What an outbox still knows of a stream before its current one. `oldest_seq` is null when none of it waits."""

    stream: StreamId
    highest_seq: Sequence
    oldest_seq: Sequence | None = None
    dropped: Count = 0


class Info(Payload):
    """Inventory, retained on `up/info`: what changes seldom. Null means "could not be read".

    `stream` names the outbox that this machine numbers its samples with, as in `Telemetry`. `keys` are those whose
    orders it obeys, `config_version` is that of the last `configure` in force (0: none), and `collectors` and
    `collectors_off` name what measures and what was switched off.
    """

    session: Session
    stream: StreamId | None = None
    at: Milliseconds
    hostname: Text
    hardware_id: Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")] | None = None
    boot_id: Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")] | None = None
    os: Text | None = None
    os_version: Text | None = None
    architecture: Text | None = None
    cpu_model: Text | None = None
    cpu_count: Count | None = None
    memory_total_bytes: Count | None = None
    swap_total_bytes: Count | None = None
    disk_total_bytes: Count | None = None
    agent_version: Text
    python_version: Text
    interval_seconds: Annotated[float, Field(gt=0, le=86_400)]
    labels: Labels = {}
    metrics: Annotated[tuple[Metric, ...], Field(max_length=METRICS_MAX, strict=False)] = ()
    earlier_streams: Annotated[tuple[EarlierStream, ...], Field(max_length=EARLIER_STREAMS_MAX, strict=False)] = ()
    actions: Annotated[tuple[ActionDescription, ...], Field(max_length=ACTIONS_MAX, strict=False)] = ()
    keys: Annotated[tuple[KeyId, ...], Field(max_length=KEY_CHANGES_MAX, strict=False)] = ()
    config_version: Count = 0
    collectors: Annotated[tuple[MetricName, ...], Field(max_length=METRICS_MAX, strict=False)] = ()
    collectors_off: Annotated[tuple[MetricName, ...], Field(max_length=METRICS_MAX, strict=False)] = ()


class Sample(ContractModel):
    """One measurement: its place in the stream, the machine's clock, and the readings."""

    seq: Sequence
    sampled_at: Milliseconds
    vitals: Vitals
    extra: Extra = {}


class Telemetry(Payload, Sample):
    """One live sample on `up/telemetry`.

    `stream` names the outbox that numbered it and `session` the connection it came over. `oldest_seq` is the smallest
    number still waiting in the outbox and `dropped` how many the outbox had to drop, ever: with them a reader can tell
    what is late from what will never come.
    """

    session: Session
    stream: StreamId
    oldest_seq: Sequence
    dropped: Count = 0


class VitalsColumns(ContractModel):
    """The vitals of a batch, a column each; a column that is null throughout may be left out."""

    cpu_percent: list[Percent | None] | None = None
    memory_percent: list[Percent | None] | None = None
    memory_used_bytes: list[Count | None] | None = None
    disk_percent: list[Percent | None] | None = None
    disk_used_bytes: list[Count | None] | None = None
    swap_percent: list[Percent | None] | None = None
    uptime_seconds: list[Count | None] | None = None
    load_1m: list[Annotated[float, Field(ge=0, le=1e6)] | None] | None = None
    network_received_bytes: list[Count | None] | None = None
    network_sent_bytes: list[Count | None] | None = None
    process_count: list[Count | None] | None = None
    temperature_celsius: list[Annotated[float, Field(ge=-273.15, le=1000)] | None] | None = None


class Backfill(Payload):
    """A batch of stored samples on `up/backfill`, columnar: the i-th value of each list belongs to the i-th sample.

    1 to 500 samples, ascending in `seq`. All columns have the same length.
    """

    session: Session
    stream: StreamId
    oldest_seq: Sequence
    dropped: Count = 0
    seq: Annotated[list[Sequence], Field(min_length=1, max_length=BACKFILL_MAX_SAMPLES)]
    sampled_at: list[Milliseconds]
    vitals: VitalsColumns
    extra: Annotated[dict[MetricName, list[Reading | None]], Field(max_length=EXTRA_MAX)] = {}

    @model_validator(mode="after")
    def _columns_are_aligned(self) -> Self:
        lengths = {len(self.sampled_at), *(len(column) for column in self.extra.values())}
        lengths |= {len(column) for name in VITALS if (column := getattr(self.vitals, name)) is not None}
        if lengths != {len(self.seq)}:
            raise ValueError("columns differ in length")
        if any(later <= earlier for earlier, later in zip(self.seq, self.seq[1:], strict=False)):
            raise ValueError("seq does not ascend")
        return self

    def samples(self) -> list[Sample]:
        """The batch as single samples."""
        columns = {name: column for name in VITALS if (column := getattr(self.vitals, name)) is not None}
        return [
            Sample.model_construct(
                seq=seq,
                sampled_at=sampled_at,
                vitals=Vitals.model_construct(**{name: column[i] for name, column in columns.items()}),
                extra={name: column[i] for name, column in self.extra.items() if column[i] is not None},
            )
            for i, (seq, sampled_at) in enumerate(zip(self.seq, self.sampled_at, strict=True))
        ]

    @classmethod
    def of(cls, samples: list[Sample], *, session: int, stream: str, oldest_seq: int, dropped: int) -> Self:
        """The batch that carries these samples (1 to 500, ascending in seq)."""
        names = sorted({name for sample in samples for name in sample.extra})
        columns = {name: [getattr(sample.vitals, name) for sample in samples] for name in VITALS}
        return cls(
            session=session,
            stream=stream,
            oldest_seq=oldest_seq,
            dropped=dropped,
            seq=[sample.seq for sample in samples],
            sampled_at=[sample.sampled_at for sample in samples],
            vitals=VitalsColumns(
                **{name: column for name, column in columns.items() if any(x is not None for x in column)}
            ),
            extra={name: [sample.extra.get(name) for sample in samples] for name in names},
        )

    def encode(self) -> bytes:
        """The payload to publish, without the columns that are null throughout."""
        return self.model_dump_json(exclude_none=True).encode()


class Range(ContractModel):
    """Sequence numbers from `first` to `last`, both included."""

    first: Sequence
    last: Sequence

    @model_validator(mode="after")
    def _ascends(self) -> Self:
        if self.last < self.first:
            raise ValueError("last is before first")
        return self


class Ack(Payload):
    """What has been committed to the database, on `down/ack`.

    The agent may delete these samples of `stream`, and need not send the final results of these commands again.
    """

    stream: StreamId | None = None
    ranges: Annotated[tuple[Range, ...], Field(max_length=ACK_MAX_RANGES, strict=False)] = ()
    results: Annotated[tuple[RandomId, ...], Field(max_length=ACK_MAX_RESULTS, strict=False)] = ()

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if (self.stream is None) != (not self.ranges) or not (self.ranges or self.results):
            raise ValueError("an ack has a stream with ranges, or results, or both")
        return self

    @classmethod
    def encode_ranges(cls, stream: str, ranges: Iterable[tuple[int, int]]) -> bytes:
        """The payload of an ack of these ranges, first and last of each, of what is known to be sound.

        Written for nearly every sample, so without the model, which takes four times as long.
        """
        pieces = [{"first": first, "last": last} for first, last in ranges]
        return to_json({"v": 1, "stream": stream, "ranges": pieces, "results": ()})


class Signed(ContractModel):
    """A statement with its signature: `signature` is Ed25519 (RFC 8032) over the UTF-8 bytes of `statement`, by `key`.

    What is signed travels as the text that was signed, so that nobody has to agree on how JSON is written.
    """

    statement: Annotated[str, Field(max_length=STATEMENT_MAX)]
    key: KeyId
    signature: Annotated[str, Field(pattern=r"^[0-9a-f]{128}$")]


class Component(ContractModel):
    """How one vital counts for health: its share of the score, and the percent up to which it is worth all of it."""

    weight: Annotated[float, Field(ge=0, le=1)]
    knee_percent: Annotated[float, Field(ge=0, lt=100)]


class Thresholds(ContractModel):
    """The parameters of `schemas.fleet.health.health`. The weights sum to 1."""

    cpu: Component = Component(weight=0.35, knee_percent=50)
    memory: Component = Component(weight=0.35, knee_percent=60)
    disk: Component = Component(weight=0.30, knee_percent=70)
    ok_score: Annotated[int, Field(ge=0, le=100)] = 80
    warn_score: Annotated[int, Field(ge=0, le=100)] = 60
    component_warn: Annotated[float, Field(ge=0, le=1)] = 0.5
    component_critical: Annotated[float, Field(ge=0, le=1)] = 0.1

    @model_validator(mode="after")
    def _weights_sum_to_one(self) -> Self:
        if abs(self.cpu.weight + self.memory.weight + self.disk.weight - 1) > 1e-6:
            raise ValueError("the weights of cpu, memory and disk must sum to 1")
        return self


class OrgConfig(Payload):
    """What every reader of an organisation needs, retained on `{org}/_config`.

    `time_to_live_seconds`: a machine not heard for so long is expired. `stale_*` and `offline_*`: silent for
    max(factor × the machine's interval, seconds), a machine is stale, then offline. `reconnect_spread_seconds`: after a
    lost connection an agent waits up to so long before its first attempt; it grows with the number of machines.
    `key_changes`: who may sign orders, as signed `schemas.contract.signing.KeyChange`s in their order.
    """

    time_to_live_seconds: Annotated[int, Field(ge=60, le=INTEGER_MAX)] = 86_400
    stale_intervals: Annotated[float, Field(ge=1, le=1000)] = 2.5
    stale_seconds: Annotated[float, Field(gt=0, le=86_400)] = 45.0
    offline_intervals: Annotated[float, Field(ge=1, le=1000)] = 6.0
    offline_seconds: Annotated[float, Field(gt=0, le=86_400)] = 180.0
    reconnect_spread_seconds: Annotated[float, Field(gt=0, le=3600)] = 1.0
    thresholds: Thresholds = Thresholds()
    key_changes: Annotated[tuple[Signed, ...], Field(max_length=KEY_CHANGES_MAX, strict=False)] = ()


class AlertMessage(Payload):
    """An alert about a machine, retained on `_alerts/{machine}/{rule}` while it lasts; an empty payload ends it.

    `since` is the server's clock: from when on what the rule looks for was so. `title` and `detail` are for people.
    """

    rule: Identifier
    title: Annotated[str, Field(max_length=64)]
    severity: Literal["warning", "critical"]
    since: Milliseconds
    detail: Text = ""
