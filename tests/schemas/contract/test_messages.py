"""Messages: released payloads decode for ever, invalid ones are rejected."""

import base64
import gzip
import json
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from schemas.contract import (
    ack,
    alerts,
    backfill,
    commands,
    enrolment,
    facts,
    live,
    messages,
    org_config,
    presence,
)
from schemas.contract.ack import ACK_MAX_RANGES, Ack, Range
from schemas.contract.alerts import AlertMessage, IncidentMessage, ResolvedMessage
from schemas.contract.backfill import Backfill, VitalsColumns
from schemas.contract.commands import CommandMessage, Desired, Request, Result, Update
from schemas.contract.enrolment import EnrolAnswer, EnrolRequest
from schemas.contract.facts import FactsMessage
from schemas.contract.files import transfer
from schemas.contract.files.transfer import Chunk, Fetch, Receipt, Upload
from schemas.contract.live import LEASE_MAX_SECONDS, Live, LiveAnswer, LiveLease, LiveRequest
from schemas.contract.messages import (
    BACKFILL_MAX_SAMPLES,
    EXTRA_MAX,
    INTEGER_MAX,
    SERIES_TEXT_MAX,
    SESSION_MAX,
    VITALS,
    Extra,
    Info,
    Payload,
    Sample,
    Status,
    Telemetry,
    Vitals,
)
from schemas.contract.org_config import OrgConfig, Thresholds
from schemas.contract.presence import PresenceMessage

GOLDEN = Path(__file__).parent / "golden"
MODULES = (messages, backfill, facts, ack, alerts, org_config, enrolment, commands, presence, live, transfer)
KINDS: tuple[type[Payload], ...] = (
    *(Status, Info, Telemetry, Backfill, FactsMessage, Ack, OrgConfig),
    *(AlertMessage, ResolvedMessage, IncidentMessage, PresenceMessage),
    *(EnrolRequest, EnrolAnswer),
    *(CommandMessage, Result, Desired, Request, Update),
    *(LiveRequest, LiveAnswer, LiveLease, Live),
    *(Fetch, Chunk, Upload, Receipt),
)
STREAM = "3f9a1c0de2b45678"


def golden(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((GOLDEN / f"{name}.json").read_text())
    return found


def kind_of(path: Path) -> type[Payload]:
    name = path.stem.removeprefix("newer_").removeprefix("older_").replace("_", "")
    return next(kind for kind in KINDS if name.startswith(kind.__name__.removesuffix("Message").lower()))


def decode(kind: type[Payload], content: object) -> Payload:
    return kind.decode(json.dumps(content).encode())


def changed(name: str, field: str, value: object) -> dict[str, Any]:
    """Return a golden message with one value, named by a dotted path, replaced."""
    content = golden(name)
    *levels, last = field.split(".")
    place: Any = content
    for level in levels:
        place = place[int(level) if level.isdigit() else level]
    place[int(last) if last.isdigit() else last] = value
    return content


# Golden files.

FILES = sorted(GOLDEN.glob("*.json"))


def test_every_message_has_a_golden_file() -> None:
    kinds = {
        kind
        for module in MODULES
        for kind in vars(module).values()
        if isinstance(kind, type) and issubclass(kind, Payload) and kind is not Payload
    }

    assert {kind_of(path) for path in FILES} == kinds == set(KINDS)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_released_message_decodes(path: Path) -> None:
    message = kind_of(path).decode(path.read_bytes())

    assert kind_of(path).decode(message.encode()) == message


@pytest.mark.parametrize(
    "path", [path for path in FILES if not path.stem.startswith(("newer_", "older_"))], ids=lambda path: path.stem
)
def test_a_released_message_is_written_as_it_was(path: Path) -> None:
    released = expanded(json.loads(path.read_text()))
    written = expanded(json.loads(kind_of(path).decode(path.read_bytes()).encode()))

    assert {name: written[name] for name in released} == released


def expanded(content: dict[str, Any]) -> dict[str, Any]:
    """Return a message with its compressed series as JSON: compressed bytes differ between versions of zlib."""
    if "series_gzip" not in content:
        return content
    return {**content, "series_gzip": json.loads(gzip.decompress(base64.b64decode(content["series_gzip"])))}


def test_long_series_travel_compressed_and_short_ones_as_they_are() -> None:
    plain = Telemetry.decode((GOLDEN / "telemetry_series.json").read_bytes())
    assert b"series_gzip" not in plain.encode()
    path = GOLDEN / "telemetry_series_gzip.json"
    message = Telemetry.decode(path.read_bytes())
    assert message.series["disk_used_percent"] == {f"/mnt/volume{number}": 40.5 + number for number in range(20)}
    assert message.series["network_received_bytes"] == {f"eth{number}": 98_765_432_101 for number in range(20)}
    assert message.series_gzip is None
    assert json.loads(message.encode(compress=False))["series"] == message.series
    assert json.loads(message.encode()).keys() == json.loads(path.read_text()).keys()


def packed(text: bytes) -> str:
    return base64.b64encode(gzip.compress(text, mtime=0)).decode()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "%",
        base64.b64encode(b"not gzip").decode(),
        packed(b'{"a": {"b": 1}}')[:-8],
        packed(b"[]"),
        packed(b'{"a": {}}'),
        packed(b'{"a": {"b": "1"}}'),
        packed(b'{"a": {"b": NaN}}'),
        packed(b'{"A": {"b": 1}}'),
        packed(b" " * (SERIES_TEXT_MAX + 1) + b"{}"),
        packed(json.dumps({"a": {str(number): 1 for number in range(65)}}).encode()),
    ],
)
def test_compressed_series_are_refused_unless_they_are_valid_when_decompressed(text: str) -> None:
    with pytest.raises(ValidationError):
        decode(Telemetry, {**golden("telemetry"), "series_gzip": text})


def test_a_message_has_series_once() -> None:
    with pytest.raises(ValidationError):
        decode(Telemetry, {**golden("telemetry_series"), "series_gzip": packed(b'{"a": {"b": 1}}')})


@pytest.mark.parametrize("name", ["telemetry", "org_config", "ack"])
def test_what_a_newer_writer_added_is_ignored(name: str) -> None:
    newer = GOLDEN / f"newer_{name}.json"

    assert kind_of(newer).decode(newer.read_bytes()) == kind_of(newer).decode((GOLDEN / f"{name}.json").read_bytes())


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_message_says_its_version(path: Path) -> None:
    assert json.loads(kind_of(path).decode(path.read_bytes()).encode())["v"] == 1


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("version", [0, 2, "1", None, 1.5])
def test_another_version_is_refused(kind: type[Payload], version: object) -> None:
    path = next(path for path in FILES if kind_of(path) is kind)
    with pytest.raises(ValidationError, match="v\n"):
        decode(kind, {**json.loads(path.read_text()), "v": version})


# Rejected payloads.


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"\x00",
        b"\xff\xfe{}",
        b"null",
        b"7",
        b'"text"',
        b"[]",
        b"[" * 200_000,
        b'{"a":' * 100_000,
        b"{",
        b'{"v":1}x',
        b'{"v":' + b"9" * 10_000 + b"}",
        b'{"x":"\\ud800"}',
        b'{"v":1e999}',
    ],
)
def test_what_is_no_message_is_refused_in_one_way(kind: type[Payload], payload: bytes) -> None:
    with pytest.raises(ValidationError):
        kind.decode(payload)


@settings(max_examples=300)
@given(payload=st.binary(max_size=200), kind=st.sampled_from(KINDS))
def test_arbitrary_bytes_raise_nothing_but_a_validation_error(payload: bytes, kind: type[Payload]) -> None:
    try:
        kind.decode(payload)
    except ValidationError:
        return


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(codec="utf-8"), max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from([*VITALS, "first", "a"]), inner),
    max_leaves=8,
)


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_a_message_with_anything_in_a_field_is_refused_or_can_be_written_again(data: st.DataObject) -> None:
    path = data.draw(st.sampled_from(FILES))
    content = json.loads(path.read_text())
    content[data.draw(st.sampled_from(sorted(content)))] = data.draw(JSON)
    try:
        message = kind_of(path).decode(json.dumps(content).encode())
    except ValidationError:
        return
    assert kind_of(path).decode(message.encode()) == message
    assert b"NaN" not in message.encode()
    assert b"Infinity" not in message.encode()


WRONG_NUMBERS = [float("nan"), float("inf"), float("-inf"), "12.5", True, [], {}]


@pytest.mark.parametrize("value", [*WRONG_NUMBERS, -0.001, 100.001, 1e300, -1])
@pytest.mark.parametrize("name", [name for name in VITALS if name.endswith("_percent")])
def test_a_percentage_is_0_to_100_or_null(name: str, value: object) -> None:
    with pytest.raises(ValidationError):
        decode(Telemetry, changed("telemetry", f"vitals.{name}", value))
    with pytest.raises(ValidationError):
        Vitals.model_validate({name: value})
    for good in (0, 100, 55.5, None):
        decode(Telemetry, changed("telemetry", f"vitals.{name}", good))


@pytest.mark.parametrize("value", [*WRONG_NUMBERS, -1, 1.5, 2**53, 10**400])
@pytest.mark.parametrize(
    "field", ["vitals.memory_used_bytes", "vitals.uptime_seconds", "dropped", "sampled_at", "seq", "oldest_seq"]
)
def test_a_count_is_a_whole_number_that_every_reader_keeps(field: str, value: object) -> None:
    with pytest.raises(ValidationError):
        decode(Telemetry, changed("telemetry", field, value))
    decode(Telemetry, changed("telemetry", field, SESSION_MAX if field == "session" else INTEGER_MAX))


def test_a_session_beyond_any_clock_is_refused() -> None:
    with pytest.raises(ValidationError):
        decode(Telemetry, changed("telemetry", "session", SESSION_MAX + 1))


@pytest.mark.parametrize("value", [*WRONG_NUMBERS, -1, 1.5, SESSION_MAX + 1])
def test_a_session_stays_far_below_what_would_leave_no_next_one(value: object) -> None:
    for name, kind in (("telemetry", Telemetry), ("status_online", Status), ("info", Info), ("backfill", Backfill)):
        with pytest.raises(ValidationError):
            decode(kind, changed(name, "session", value))
        decode(kind, changed(name, "session", SESSION_MAX))


@pytest.mark.parametrize("value", [0, "x", None])
@pytest.mark.parametrize("field", ["seq", "session", "oldest_seq"])
def test_sequence_numbers_begin_at_one(field: str, value: object) -> None:
    with pytest.raises(ValidationError):
        decode(Telemetry, changed("telemetry", field, value))


@pytest.mark.parametrize("value", [*WRONG_NUMBERS, 1e301])
def test_an_extra_reading_is_a_finite_number_or_null(value: object) -> None:
    with pytest.raises(ValidationError):
        decode(Telemetry, changed("telemetry", "extra", {"fan_rpm": value}))


@pytest.mark.parametrize("name", ["", "Fan", "1fan", "_fan", "fan-rpm", "fan rpm", "f" * 64, "fän"])
def test_a_metrics_name_is_lower_case_and_short(name: str) -> None:
    with pytest.raises(ValidationError):
        decode(Telemetry, changed("telemetry", "extra", {name: 1.0}))


def test_a_sample_carries_no_more_extras_than_allowed() -> None:
    decode(Telemetry, changed("telemetry", "extra", {f"m{i}": 1.0 for i in range(EXTRA_MAX)}))
    with pytest.raises(ValidationError):
        decode(Telemetry, changed("telemetry", "extra", {f"m{i}": 1.0 for i in range(EXTRA_MAX + 1)}))


@pytest.mark.parametrize(
    ("name", "field", "value"),
    [
        ("status_online", "state", "maybe"),
        ("status_online", "reason", "bored"),
        ("status_online", "interval_seconds", 0),
        ("status_online", "session", 0),
        ("telemetry", "stream", "ABCDEF0123456789"),
        ("telemetry", "stream", STREAM + "0"),
        ("info", "hostname", "x" * 257),
        ("info", "hardware_id", "no-hex"),
        ("info", "labels", {"Not An Id": "x"}),
        ("info", "labels", {"rack": "x" * 64}),
        ("info", "labels", {f"l{i}": "" for i in range(33)}),
        ("info", "metrics", [{"name": "a", "unit": "", "title": ""}] * 257),
        ("ack", "ranges", []),
        ("ack", "ranges", [{"first": 1, "last": 1}] * (ACK_MAX_RANGES + 1)),
        ("ack", "ranges.0.first", 0),
        ("ack", "ranges.0.first", 4702),
        ("org_config", "time_to_live_seconds", 59),
        ("org_config", "reconnect_spread_seconds", 0),
        ("org_config", "thresholds.cpu.weight", 0.6),
        ("org_config", "thresholds.cpu.knee_percent", 100),
    ],
)
def test_a_field_outside_the_contract_is_refused(name: str, field: str, value: object) -> None:
    kind = kind_of(GOLDEN / f"{name}.json")
    decode(kind, golden(name))
    with pytest.raises(ValidationError):
        decode(kind, changed(name, field, value))


def test_a_message_cannot_be_changed() -> None:
    message = Status.decode((GOLDEN / "status_online.json").read_bytes())

    with pytest.raises(ValidationError, match="frozen"):
        message.session = 7  # type: ignore[misc]


def test_the_weights_of_health_sum_to_one() -> None:
    with pytest.raises(ValidationError, match="sum to 1"):
        Thresholds.model_validate({"cpu": {"weight": 0.4, "knee_percent": 50.0}})


# Backfill.

COUNTS = st.integers(0, INTEGER_MAX)


def as_reading(value: float) -> float | None:
    return value


VALUES: dict[str, st.SearchStrategy[Any]] = {
    name: st.none()
    | (
        st.floats(0, 100)
        if name.endswith("_percent")
        else {"load_1m": st.floats(0, 1e6), "temperature_celsius": st.floats(-273.15, 1000)}.get(name, COUNTS)
    )
    for name in VITALS
}
EXTRAS: st.SearchStrategy[Extra] = st.dictionaries(
    st.sampled_from(["fan_rpm", "gpu_percent", "a", "b"]), st.floats(-1e300, 1e300).map(as_reading)
)


@st.composite
def batches(draw: st.DrawFn) -> list[Sample]:
    numbers = sorted(draw(st.sets(st.integers(1, INTEGER_MAX), min_size=1, max_size=20)))
    return [
        Sample(
            seq=seq,
            sampled_at=draw(COUNTS),
            vitals=Vitals(**draw(st.fixed_dictionaries(VALUES))),
            extra=draw(EXTRAS),
        )
        for seq in numbers
    ]


@settings(max_examples=100, deadline=None)
@given(samples=batches())
def test_a_batch_comes_back_as_the_samples_it_was_made_of(samples: list[Sample]) -> None:
    sent = Backfill.of(samples, session=7, stream=STREAM, oldest_seq=samples[0].seq, dropped=3)
    arrived = Backfill.decode(sent.encode())

    assert arrived == sent
    assert arrived.samples() == samples
    assert (arrived.session, arrived.stream, arrived.oldest_seq, arrived.dropped) == (7, STREAM, samples[0].seq, 3)


def test_a_column_that_is_null_throughout_is_left_out() -> None:
    samples = [Sample(seq=seq, sampled_at=seq, vitals=Vitals(cpu_percent=None, load_1m=1.5)) for seq in (1, 2)]
    payload = Backfill.of(samples, session=1, stream=STREAM, oldest_seq=1, dropped=0).encode()

    assert json.loads(payload)["vitals"] == {"load_1m": [1.5, 1.5]}


def test_the_columns_are_those_of_the_vitals_in_their_order() -> None:
    assert tuple(VitalsColumns.model_fields) == VITALS


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("seq", [4700, 4701]),
        ("seq", []),
        ("seq", [4700, 4700, 4705]),
        ("seq", [4705, 4701, 4700]),
        ("seq", [0, 1, 2]),
        ("sampled_at", [1, 2, 3, 4]),
        ("vitals.cpu_percent", [1.0, 2.0]),
        ("vitals.cpu_percent", []),
        ("vitals.cpu_percent", [1.0, 2.0, 101.0]),
        ("vitals.cpu_percent", [1.0, 2.0, "3"]),
        ("vitals.process_count", [1, 2, -3]),
        ("extra", {"fan_rpm": [1.0]}),
        ("extra", {"fan_rpm": [1.0, 2.0, float("nan")]}),
        ("extra", {f"m{i}": [None] * 3 for i in range(EXTRA_MAX + 1)}),
    ],
)
def test_columns_that_do_not_fit_together_are_refused(field: str, value: object) -> None:
    with pytest.raises(ValidationError):
        decode(Backfill, changed("backfill", field, value))


def test_a_batch_has_500_samples_at_most() -> None:
    numbers = list(range(1, BACKFILL_MAX_SAMPLES + 2))
    content = {**golden("backfill"), "vitals": {}, "extra": {}}
    decode(Backfill, {**content, "seq": numbers[:-1], "sampled_at": numbers[:-1]})
    with pytest.raises(ValidationError):
        decode(Backfill, {**content, "seq": numbers, "sampled_at": numbers})


def test_nan_is_refused_when_writing_too() -> None:
    with pytest.raises(ValidationError):
        Sample(seq=1, sampled_at=1, vitals=Vitals(), extra={"fan_rpm": math.nan})


@given(st.lists(st.tuples(st.integers(1, 2**53 - 1), st.integers(1, 2**53 - 1)).map(sorted), min_size=1, max_size=5))
def test_an_ack_of_ranges_is_written_as_its_model_is(ranges: list[list[int]]) -> None:
    stream = "00000000000000aa"
    model = Ack(stream=stream, ranges=tuple(Range(first=first, last=last) for first, last in ranges))
    assert Ack.encode_ranges(stream, [(first, last) for first, last in ranges]) == model.encode()


# Live readings.


@pytest.mark.parametrize("seconds", [0, -1, LEASE_MAX_SECONDS + 0.1, 1e300, None, "8", True])
def test_a_lease_is_never_longer_than_the_longest(seconds: object) -> None:
    assert LiveLease.decode(json.dumps(changed("live_lease", "seconds", LEASE_MAX_SECONDS)).encode())
    with pytest.raises(ValidationError):
        decode(LiveLease, changed("live_lease", "seconds", seconds))


@pytest.mark.parametrize(
    ("field", "value"),
    [("vitals.cpu_percent", 101), ("vitals.memory_used_bytes", -1), ("extra", {"a b": 1}), ("session", 0), ("at", -1)],
)
def test_live_readings_are_valid_like_those_of_a_sample(field: str, value: object) -> None:
    with pytest.raises(ValidationError):
        decode(Live, changed("live", field, value))
