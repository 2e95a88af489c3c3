"""Messages of machines, version 1 of the contract, as UTF-8 JSON.

Invariants:
- Readers ignore unknown fields; writers only add fields. A released payload decodes for ever
  (`tests/schemas/contract/golden`).
- Field names end in their unit; times are integer milliseconds UTC since 1970.
- A reading is a finite number or null. Null means "could not be read"; there are no default readings.
- Types are strict: `"30"` is not a number. NaN and infinities are rejected in both directions.
"""

import base64
import gzip
import zlib
from collections.abc import Mapping
from itertools import pairwise
from typing import Annotated, Final, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, TypeAdapter, model_validator

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
SERIES_MAX = 64
DEVICES_MAX = 64
SERIES_READINGS_MAX = 512
EARLIER_STREAMS_MAX = 32
METRICS_MAX = 256
SERIES_PLAIN_MAX = 512
"""Bytes of JSON above which series travel compressed."""

SERIES_TEXT_MAX = 256 << 10
"""Bytes of JSON that compressed series may have."""

SERIES_GZIP_MAX = 64 << 10

UNITS: Mapping[str, str] = {
    "percent": "%",
    "bytes": "By",
    "bytes/s": "By/s",
    "seconds": "s",
    "milliseconds": "ms",
    "celsius": "Cel",
    "hertz": "Hz",
    "watts": "W",
    "volts": "V",
    "amperes": "A",
    "rpm": "{rotation}/min",
    "processes": "{process}",
    "count": "{count}",
}
"""The names of units in the contract, with their codes in UCUM; a metric may have any other unit."""

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


def _check_readings(series: dict[str, dict[str, float | None]]) -> dict[str, dict[str, float | None]]:
    if sum(len(devices) for devices in series.values()) > SERIES_READINGS_MAX:
        raise ValueError(f"series have more than {SERIES_READINGS_MAX} readings")
    return series


Device = Annotated[Line, Field(min_length=1, max_length=128)]
"""Name of a device of a machine: a mount point, an interface, a core, a container, a service, a check, a target."""

DeviceReading = Annotated[int, Field(ge=-INTEGER_MAX, le=INTEGER_MAX)] | Reading | None
"""A reading of a device: an integer stays one, which makes counters two bytes shorter; null: could not be read."""

Series = Annotated[
    dict[MetricName, Annotated[dict[Device, DeviceReading], Field(min_length=1, max_length=DEVICES_MAX)]],
    Field(max_length=SERIES_MAX),
    AfterValidator(_check_readings),
]
"""Readings per device: metric, then device, then the reading. At most 512 readings."""


_SERIES: Final[TypeAdapter[dict[str, dict[str, float | None]]]] = TypeAdapter(Series)


def compress_series(series: dict[str, dict[str, float | None]]) -> str:
    """Return series as JSON that is compressed with gzip, in Base64."""
    text = _SERIES.dump_json(series)
    return base64.b64encode(gzip.compress(text, mtime=0)).decode()


def decompress_series(text: str) -> dict[str, dict[str, float | None]]:
    """Return the series that `compress_series` was given. Raises ValueError if they are invalid or too long."""
    reader = zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)
    try:
        found = reader.decompress(base64.b64decode(text, validate=True), SERIES_TEXT_MAX)
    except zlib.error:
        raise ValueError("not compressed with gzip") from None
    if not reader.eof:
        raise ValueError(f"incomplete, or more than {SERIES_TEXT_MAX} bytes")
    return _SERIES.validate_json(found, strict=True)


class Status(Payload):
    """Presence as the machine states it, retained on `up/status`: birth, goodbye and will.

    `session` increases with every connection; an offline status of an older session is ignored. `reason` is null when
    online. `at` is the machine's clock, in a will at the time of CONNECT. `interval_seconds` is the time between
    samples. A goodbye with `retiring` asks the server to retire the machine and to revoke its credential.
    """

    state: Literal["online", "offline"]
    reason: OfflineReason | None = None
    session: Session
    at: Milliseconds
    interval_seconds: Annotated[float, Field(gt=0, le=86_400)] = 10.0
    retiring: bool = Field(default=False, exclude_if=lambda value: not value)


class Metric(ContractModel):
    """Description of a metric for display. `unit` is a unit name of the contract, or free text.

    `location` is the field of a sample that holds it; null: `vitals` if it is the name of a vital, otherwise `extra`.
    A counter only grows, except when it starts again at 0. `device` is the kind of device of a series (`mount`,
    `interface`, `core`, `container`, ...).
    """

    name: MetricName
    unit: Code
    title: Title
    location: Literal["vitals", "extra", "series"] | None = Field(default=None, exclude_if=lambda value: value is None)
    kind: Literal["gauge", "counter"] = Field(default="gauge", exclude_if=lambda value: value == "gauge")
    device: Code | None = Field(default=None, exclude_if=lambda value: value is None)


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
    is where the disk is measured. `collectors` are active, `collectors_off` are disabled. `truncated` is the number of
    devices or items that a collector left out because there were more than it reports. `detail_interval_seconds` is
    the time between samples with series, null if no sample has any. `live_interval_seconds` is the time between live
    readings while somebody looks, null if the machine has none.
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
    truncated: Annotated[dict[MetricName, Count], Field(max_length=METRICS_MAX)] = {}
    detail_interval_seconds: Annotated[float, Field(gt=0, le=86_400)] | None = None
    live_interval_seconds: Annotated[float, Field(gt=0, le=86_400)] | None = None


class Sample(ContractModel):
    """A sample: its number in the stream, the machine's clock, the vitals, extra metrics by name, and series.

    Most samples have no series: they travel with the first sample of each `detail_interval_seconds`. A device that is
    missing did not exist or was not measured.
    """

    seq: Sequence
    sampled_at: Milliseconds
    vitals: Vitals
    extra: Extra = {}
    series: Series = Field(default={}, exclude_if=lambda series: not series)


class Telemetry(Payload, Sample):
    """A live sample on `up/telemetry`.

    `stream` is the id of the outbox's stream and `session` that of the connection. `oldest_seq` is the smallest number
    still in the outbox and `dropped` the number of samples that the outbox has ever dropped; with them a reader can
    tell late samples from lost ones. `series_gzip` takes the place of `series` where those are long: their JSON,
    compressed with gzip, in Base64. A message that was decoded has them in `series`.
    """

    session: Session
    stream: StreamId
    oldest_seq: Sequence
    dropped: Count = 0
    series_gzip: Annotated[str, Field(max_length=SERIES_GZIP_MAX, pattern=r"^[A-Za-z0-9+/]*={0,2}$")] | None = Field(
        default=None, exclude_if=lambda value: value is None
    )

    @model_validator(mode="after")
    def _decompress(self) -> Self:
        if self.series_gzip is not None:
            if self.series:
                raise ValueError("series and series_gzip")
            # a frozen model: nobody else has it yet
            self.__dict__.update(series=decompress_series(self.series_gzip), series_gzip=None)
        return self

    def encode(self, *, compress: bool = True) -> bytes:
        """Return the payload as UTF-8 JSON. `compress`: with long series compressed."""
        plain = super().encode()
        if not compress or not self.series or len(_SERIES.dump_json(self.series)) <= SERIES_PLAIN_MAX:
            return plain
        update = {"series": {}, "series_gzip": compress_series(self.series)}
        return Payload.encode(self.model_copy(update=update))


def check_ascending(numbers: list[int]) -> None:
    """Raise ValueError unless each number is greater than the one before."""
    if any(later <= earlier for earlier, later in pairwise(numbers)):
        raise ValueError("seq does not ascend")


class Signed(ContractModel):
    """A signed statement: `signature` is Ed25519 (RFC 8032) over the UTF-8 bytes of `statement`, `key` the key's id.

    The statement travels as the text that was signed, so that its JSON needs no canonical form.
    """

    statement: Annotated[SignedText, Field(max_length=STATEMENT_MAX)]
    key: KeyId
    signature: Annotated[str, Field(pattern=r"^[0-9a-f]{128}$")]
