"""Backfill: samples that waited in an outbox, sent as columns.

Columns name each metric once, which makes a batch smaller than as many single messages.
"""

from typing import Annotated, Self

from pydantic import Field, model_validator

from schemas.contract.messages import (
    BACKFILL_MAX_SAMPLES,
    EXTRA_MAX,
    SERIES_MAX,
    SERIES_READINGS_MAX,
    VITALS,
    ContractModel,
    Count,
    Device,
    DeviceReading,
    MetricName,
    Milliseconds,
    Payload,
    Percent,
    Reading,
    Sample,
    Sequence,
    Session,
    StreamId,
    Vitals,
    check_ascending,
)

BATCH_COLUMNS_MAX = 4 * SERIES_READINGS_MAX
"""Columns of series in a batch: devices may come and go between its samples."""


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


class SeriesColumns(ContractModel):
    """The series of a batch: `seq` are the samples that have any, and each device has as many readings as `seq`.

    A reading is null where the sample does not have the device, or could not read it.
    """

    seq: Annotated[list[Sequence], Field(max_length=BACKFILL_MAX_SAMPLES)] = Field(default=[])
    readings: Annotated[
        dict[MetricName, Annotated[dict[Device, list[DeviceReading]], Field(min_length=1)]],
        Field(max_length=SERIES_MAX),
    ] = Field(default={})

    @model_validator(mode="after")
    def _columns_are_aligned(self) -> Self:
        check_ascending(self.seq)
        columns = [column for devices in self.readings.values() for column in devices.values()]
        if any(len(column) != len(self.seq) for column in columns):
            raise ValueError("columns of series differ in length")
        if len(columns) > BATCH_COLUMNS_MAX:
            raise ValueError(f"series have more than {BATCH_COLUMNS_MAX} columns")
        return self

    def by_seq(self) -> dict[int, dict[str, dict[str, float | None]]]:
        """Return the series of each sample, without readings that are null."""
        found: dict[int, dict[str, dict[str, float | None]]] = {seq: {} for seq in self.seq}
        for metric, devices in self.readings.items():
            for device, column in devices.items():
                for seq, reading in zip(self.seq, column, strict=True):
                    if reading is not None:
                        found[seq].setdefault(metric, {})[device] = reading
        return found

    @classmethod
    def of(cls, samples: list[Sample]) -> Self:
        """Return the series of these samples."""
        some = [sample for sample in samples if sample.series]
        places = dict.fromkeys(
            (metric, device) for sample in some for metric, devices in sample.series.items() for device in devices
        )
        readings: dict[str, dict[str, list[float | None]]] = {}
        for metric, device in places:
            column = [sample.series.get(metric, {}).get(device) for sample in some]
            readings.setdefault(metric, {})[device] = column
        return cls(seq=[sample.seq for sample in some], readings=readings)


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
    extra: Annotated[dict[MetricName, list[Reading | None]], Field(max_length=EXTRA_MAX)] = Field(default={})
    series: SeriesColumns | None = None

    @model_validator(mode="after")
    def _columns_are_aligned(self) -> Self:
        lengths = {len(self.sampled_at), *(len(column) for column in self.extra.values())}
        lengths |= {len(column) for name in VITALS if (column := getattr(self.vitals, name)) is not None}
        if lengths != {len(self.seq)}:
            raise ValueError("columns differ in length")
        check_ascending(self.seq)
        if self.series is not None and not set(self.series.seq) <= set(self.seq):
            raise ValueError("series of samples that the batch does not have")
        return self

    def samples(self) -> list[Sample]:
        """Return the batch as single samples, without extra metrics and series that are null."""
        series = self.series.by_seq() if self.series is not None else {}
        columns = {name: column for name in VITALS if (column := getattr(self.vitals, name)) is not None}
        return [
            Sample.model_construct(
                seq=seq,
                sampled_at=sampled_at,
                vitals=Vitals.model_construct(**{name: column[i] for name, column in columns.items()}),
                extra={name: column[i] for name, column in self.extra.items() if column[i] is not None},
                series=series.get(seq, {}),
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
            series=SeriesColumns.of(samples) if any(sample.series for sample in samples) else None,
        )

    def encode(self) -> bytes:
        """Return the payload as UTF-8 JSON, without columns that have no reading."""
        return self.model_dump_json(exclude_none=True).encode()
