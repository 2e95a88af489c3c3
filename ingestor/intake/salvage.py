"""The readable part of an invalid message: the id that an answer names, the numbers and valid samples of a backfill.

Invariant: a sample is taken only if it is valid by itself, as strictly as in a valid message.
"""

import json
import re
from dataclasses import dataclass, field
from typing import Annotated, Any, Self

from pydantic import Field, ValidationError, model_validator
from pydantic_core import from_json

from runtime.sentences.validation_errors import first_sentence
from schemas.contract import topics
from schemas.contract.ack import WRONG_VERSION
from schemas.contract.backfill import Backfill
from schemas.contract.messages import (
    BACKFILL_MAX_SAMPLES,
    VITALS,
    Count,
    Payload,
    Sample,
    Sequence,
    Session,
    StreamId,
    check_ascending,
)
from schemas.contract.topics import Topic

MISALIGNED = "columns differ in length"

_VERSION_SHOWN_MAX = 1_000_000

_RANDOM_ID = re.compile("[0-9a-f]{32}")


class TelemetryFigures(Payload):
    """The part of `Telemetry` that names its sample."""

    session: Session
    stream: StreamId
    seq: Sequence


class BackfillFigures(Payload):
    """The part of `Backfill` that names its samples."""

    session: Session
    stream: StreamId
    oldest_seq: Sequence
    dropped: Count = 0
    seq: Annotated[list[Sequence], Field(min_length=1, max_length=BACKFILL_MAX_SAMPLES)]

    @model_validator(mode="after")
    def _seq_ascends(self) -> Self:
        check_ascending(self.seq)
        return self


@dataclass(slots=True)
class Salvaged:
    """A backfill of which some samples are invalid: by number, the detail and the sample as received."""

    figures: Backfill | BackfillFigures
    samples: list[Sample] = field(default_factory=list)
    invalid: dict[int, str] = field(default_factory=dict)
    rows: list[dict[str, Any]] = field(default_factory=list)

    @property
    def excerpt(self) -> bytes:
        """The invalid samples as JSON."""
        return json.dumps(self.rows).encode()


def read_id(payload: bytes, field_name: str) -> str | None:
    """Return the 32 hex digits in a field of an invalid message, also of another version; None if they are not there.

    A UUID in its usual form is returned without its hyphens, in lower case.
    """
    try:
        value = from_json(payload)[field_name]
    except (ValueError, TypeError, KeyError):  # TypeError: not an object
        return None
    id_ = value.replace("-", "").lower() if isinstance(value, str) else ""
    return id_ if _RANDOM_ID.fullmatch(id_) else None


def read_figures(topic: Topic, payload: bytes) -> TelemetryFigures | BackfillFigures | None:
    """Return session, stream and numbers of an invalid message of samples; None if they cannot be read."""
    try:
        if topic is topics.TELEMETRY:
            return TelemetryFigures.decode(payload)
        return BackfillFigures.decode(payload) if topic is topics.BACKFILL else None
    except ValidationError:
        return None


def read_backfill(payload: bytes) -> Salvaged:
    """Return the samples of a backfill, valid and invalid ones. Raises ValidationError if its figures are invalid."""
    try:
        backfill = Backfill.decode(payload)
    except ValidationError:
        salvaged = salvage(payload)
        if salvaged is None:
            raise
        return salvaged
    return Salvaged(backfill, backfill.samples())


def salvage(payload: bytes) -> Salvaged | None:
    """Return the valid samples of an invalid backfill; None if its figures cannot be read."""
    figures = read_figures(topics.BACKFILL, payload)
    if not isinstance(figures, BackfillFigures):
        return None
    found, columns = Salvaged(figures), _columns(from_json(payload), len(figures.seq))
    for at, seq in enumerate(figures.seq):
        if columns is None:
            found.invalid[seq] = MISALIGNED
            continue
        sampled_at, vitals, extra, series = columns
        row = {
            "seq": seq,
            "sampled_at": sampled_at[at],
            "vitals": {name: column[at] for name, column in vitals.items()},
            "extra": {name: column[at] for name, column in extra.items() if column[at] is not None},
            "series": _series_of(series, seq),
        }
        try:
            found.samples.append(Sample.model_validate(row))
        except ValidationError as error:
            found.invalid[seq] = explain(error)[1]
            found.rows.append(row)
    return found


def explain(error: ValidationError) -> tuple[str, str]:
    """Return the reason's code and a sentence for an invalid message."""
    problems = error.errors(include_url=False)
    for version in (problem["input"] for problem in problems if problem["loc"] == ("v",)):
        other = f"version {version}" if type(version) is int and abs(version) <= _VERSION_SHOWN_MAX else "another"
        return WRONG_VERSION, f"this server reads version 1 of the contract, not {other}: update the older of the two"
    return "not-json" if problems[0]["type"] == "json_invalid" else "invalid", first_sentence(error)


def _columns(message: Any, length: int) -> tuple[Any, dict[str, Any], dict[str, Any], dict[str, Any]] | None:  # noqa: ANN401 - any JSON
    """Return times, vitals, extra metrics and series as columns; None unless their lengths agree."""
    sampled_at, vitals, extra = message.get("sampled_at"), message.get("vitals"), message.get("extra", {})
    if not isinstance(vitals, dict) or not isinstance(extra, dict):
        return None
    vitals = {name: column for name in VITALS if (column := vitals.get(name)) is not None}
    columns = [sampled_at, *vitals.values(), *extra.values()]
    if any(not isinstance(column, list) or len(column) != length for column in columns):
        return None
    series = {} if message.get("series") is None else message["series"]
    return (sampled_at, vitals, extra, series) if _is_aligned(series) else None


def _is_aligned(series: Any) -> bool:  # noqa: ANN401 - any JSON
    """Return whether each device has a column as long as the list of the samples that have series."""
    if not isinstance(series, dict):
        return False
    numbers, readings = series.get("seq", []), series.get("readings", {})
    if not isinstance(numbers, list) or not isinstance(readings, dict):
        return False
    if not all(isinstance(devices, dict) for devices in readings.values()):
        return False
    columns = [column for devices in readings.values() for column in devices.values()]
    return all(isinstance(column, list) and len(column) == len(numbers) for column in columns)


def _series_of(series: dict[str, Any], seq: int) -> dict[str, dict[str, Any]]:
    """Return the readings of one sample in aligned columns; none if it has no series."""
    numbers = series.get("seq", [])
    if seq not in numbers:
        return {}
    at, found = numbers.index(seq), dict[str, dict[str, Any]]()
    for metric, devices in series.get("readings", {}).items():
        for device, column in devices.items():
            if column[at] is not None:
                found.setdefault(metric, {})[device] = column[at]
    return found
