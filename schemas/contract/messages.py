"""Messages of machines, version 1 of the contract, as UTF-8 JSON.

Invariants:
- Readers ignore unknown fields; writers only add fields. A released payload decodes for ever
  (`tests/schemas/contract/golden`).
- Field names end in their unit; times are integer milliseconds UTC since 1970.
- A reading is a finite number or null. Null means "could not be read"; there are no default readings.
- Types are strict: `"30"` is not a number. NaN and infinities are rejected in both directions.
"""

from itertools import pairwise
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from schemas.contract.text import Code, Json, Line, SignedText, Text, Title
from schemas.contract.topics import ID_PATTERN

INTEGER_MAX = 2**53 - 1
"""The largest integer that every JSON reader keeps exactly (RFC 8259, section 6)."""

SESSION_MAX = INTEGER_MAX // 2
"""Far above any clock in milliseconds, and low enough that session + 1 never overflows."""

BACKFILL_MAX_SAMPLES = 500
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
StreamId = Annotated[str, Field(pattern=r"^[0-9a-f]{16}$")]
MetricName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,62}$")]
Identifier = Annotated[str, Field(pattern=ID_PATTERN, max_length=63)]
Labels = Annotated[dict[Identifier, Annotated[Line, Field(max_length=63)]], Field(max_length=32)]
RandomId = Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]
KeyId = Annotated[str, Field(pattern=r"^[0-9a-f]{16}$")]
SecretHash = Annotated[str, Field(max_length=200, pattern=r"^\$7\$101\$[A-Za-z0-9+/=]{16}\$[A-Za-z0-9+/=]{88}$")]
"""The hash of a secret in Mosquitto's `$7$` form (PBKDF2-SHA512), from `broker.access.credentials`."""

OfflineReason = Literal["lost", "stopped", "restarting", "rebooting", "asleep"]


class ContractModel(BaseModel):
    """Base of all messages and their parts: frozen, strict, without NaN, ignoring unknown fields."""

    model_config = ConfigDict(frozen=True, strict=True, extra="ignore", allow_inf_nan=False)


class Payload(ContractModel):
    """Base of all payloads. `v` is the version of the contract."""

    v: Literal[1] = 1

    def encode(self) -> bytes:
        """Return the payload as UTF-8 JSON."""
        return self.model_dump_json().encode()

    @classmethod
    def decode(cls, payload: bytes) -> Self:
        """Return the message in a payload. Raises ValidationError, and nothing else, for any other bytes."""
        return cls.model_validate_json(payload)


class Vitals(ContractModel):
    """The metrics of every machine; null: could not be read. Totals that do not change are in `Info`.

    The disk is the file system named in the agent's settings. `load_1m` is the load average over one minute, null where
    the system has none. Network counters cover the interfaces of real devices. The temperature is that of the hottest
    sensor of the processor, or of all where it has none.
    """

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
"""Names of the vitals, in the order of the contract."""

Extra = Annotated[dict[MetricName, Reading | None], Field(max_length=EXTRA_MAX)]


class Status(Payload):
    """Presence as the machine states it, retained on `up/status`: birth, goodbye and will.

    `session` increases with every connection; an offline status of an older session is ignored. `reason` is null when
    online. `at` is the machine's clock, in a will at the time of CONNECT. `interval_seconds` is the time between
    samples.
    """

    state: Literal["online", "offline"]
    reason: OfflineReason | None = None
    session: Session
    at: Milliseconds
    interval_seconds: Annotated[float, Field(gt=0, le=86_400)] = 10.0


class Metric(ContractModel):
    """Description of a metric for display. `unit` is a unit name of the contract, or free text."""

    name: MetricName
    unit: Code
    title: Title


class ActionDescription(ContractModel):
    """An action that the machine allows, with the JSON Schema (2020-12) of its arguments."""

    name: MetricName
    title: Title
    arguments_schema: dict[Line, Json]


class EarlierStream(ContractModel):
    """A former stream of an outbox. `oldest_seq` is its smallest number still to be sent; null: none."""

    stream: StreamId
    highest_seq: Sequence
    oldest_seq: Sequence | None = None
    dropped: Count = 0


class Info(Payload):
    """Inventory, retained on `up/info`. Null: could not be read.

    `hardware_id` identifies the device across reinstallations, `boot_id` the current boot. `stream` is the current
    stream of the outbox, `earlier_streams` those before it. `metrics` describes the metrics that the machine sends,
    `actions` the actions that it allows, `keys` are the ids of the keys whose orders it obeys. `config_version` is the
    version of the configuration in force (0: none). `disk_path`
    is where the disk is measured. `collectors` are active, `collectors_off` are disabled.
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
    disk_path: Text | None = None
    agent_version: Text
    python_version: Text | None = None
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
    """A sample: its number in the stream, the machine's clock, the vitals and extra metrics by name."""

    seq: Sequence
    sampled_at: Milliseconds
    vitals: Vitals
    extra: Extra = {}


class Telemetry(Payload, Sample):
    """A live sample on `up/telemetry`.

    `stream` is the id of the outbox's stream and `session` that of the connection. `oldest_seq` is the smallest number
    still in the outbox and `dropped` the number of samples that the outbox has ever dropped; with them a reader can
    tell late samples from lost ones.
    """

    session: Session
    stream: StreamId
    oldest_seq: Sequence
    dropped: Count = 0


def check_ascending(numbers: list[int]) -> None:
    """Raise ValueError unless each number is greater than the one before."""
    if any(later <= earlier for earlier, later in pairwise(numbers)):
        raise ValueError("seq does not ascend")


class VitalsColumns(ContractModel):
    """The vitals of a batch as columns; a column without any reading is null or missing."""

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
    """1 to 500 stored samples on `up/backfill`, as columns of equal length in ascending order of `seq`.

    `session`, `stream`, `oldest_seq` and `dropped` are as in `Telemetry`.
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
        check_ascending(self.seq)
        return self

    def samples(self) -> list[Sample]:
        """Return the batch as single samples, without extra metrics that are null."""
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
        """Return the batch of these samples: 1 to 500, ascending in `seq`."""
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
        """Return the payload as UTF-8 JSON, without columns that have no reading."""
        return self.model_dump_json(exclude_none=True).encode()


class Signed(ContractModel):
    """A signed statement: `signature` is Ed25519 (RFC 8032) over the UTF-8 bytes of `statement`, `key` the key's id.

    The statement travels as the text that was signed, so that its JSON needs no canonical form.
    """

    statement: Annotated[SignedText, Field(max_length=STATEMENT_MAX)]
    key: KeyId
    signature: Annotated[str, Field(pattern=r"^[0-9a-f]{128}$")]
