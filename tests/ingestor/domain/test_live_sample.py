"""The quick reader of live samples: what it reads is what the contract's model reads."""

import json
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ingestor.domain.live_sample import LiveSample, LiveVitals, read_live_sample
from schemas.contract.messages import EXTRA_MAX, INTEGER_MAX, SESSION_MAX, VITALS, Telemetry

FIELDS = ("seq", "sampled_at", "session", "stream", "oldest_seq", "dropped", "extra", "series", "v")
STREAM = "00000000000000aa"
WHOLE: dict[str, Any] = {
    "seq": 7,
    "sampled_at": 1_700_000_000_000,
    "vitals": {"cpu_percent": 12.5, "uptime_seconds": 86_400, "load_1m": 0.25, "temperature_celsius": None},
    "extra": {"fan_rpm": 900},
    "v": 1,
    "session": 1_700_000_000_000,
    "stream": STREAM,
    "oldest_seq": 3,
    "dropped": 0,
}

INTEGERS = st.sampled_from([0, 1, -1, 2**53 - 1, 2**53, SESSION_MAX, SESSION_MAX + 1, 2**63, 2**64, 10**400])
BOUNDS = st.sampled_from([0.0, -0.0, 100.0, 100.1, 1e6, 1_000_001.0, -273.15, -273.16, 1000.0, 1e300, 1.1e300, 5e-324])
NUMBERS = st.one_of(INTEGERS, BOUNDS, st.integers(), st.floats(allow_nan=False), st.floats(0, 100), st.integers(0, 100))
ODD = st.sampled_from([None, True, "30", "", [], {}, [1], {"a": 1}, float("nan"), float("inf")])
NAMES = st.one_of(st.sampled_from(["fan_rpm", "a", "a" * 63, "a" * 64, "a\n", "A", "1a", "é", ""]), st.text(max_size=3))
READINGS = st.dictionaries(st.one_of(st.sampled_from(VITALS), NAMES), st.one_of(NUMBERS, ODD), max_size=4)
CHANGES = st.dictionaries(
    st.sampled_from([*WHOLE, "series", "series_gzip", "other"]), st.one_of(NUMBERS, ODD, READINGS), max_size=2
)
TEXTS = st.one_of(
    st.sampled_from(
        ["1.0", "1e2", "01", "+1", "-0", "1.", ".5", "0x1", "NaN", '"\\ud800"', '"a\tb"', "1" * 400, "[" * 9]
    ),
    st.from_regex(r"\A-?[0-9]{1,25}(\.[0-9]{1,25})?([eE][+-]?[0-9]{1,3})?\Z"),
)


def compare(payload: bytes) -> None:
    """Assert that what is read quickly is what the model reads, to the types of the numbers."""
    found = read_live_sample(payload)
    if found is None:
        return
    whole = Telemetry.decode(payload if _has_stream(found) else payload.replace(found.stream.encode(), STREAM.encode()))
    names = FIELDS if _has_stream(found) else [name for name in FIELDS if name != "stream"]
    assert [repr(getattr(found, name)) for name in names] == [repr(getattr(whole, name)) for name in names]
    assert [repr(getattr(found.vitals, name)) for name in VITALS] == [
        repr(getattr(whole.vitals, name)) for name in VITALS
    ]


def _has_stream(found: Telemetry) -> bool:
    return len(found.stream) == 16 and set(found.stream) <= set("0123456789abcdef")


def encoded(changes: dict[str, Any]) -> bytes:
    vitals = changes.get("vitals")
    merged = {**WHOLE["vitals"], **vitals} if isinstance(vitals, dict) else vitals
    return json.dumps({**WHOLE, **changes, **({"vitals": merged} if "vitals" in changes else {})}).encode()


@settings(max_examples=150, deadline=None)
@example({"extra": {f"m{number}": 1.0 for number in range(EXTRA_MAX + 1)}})
@example({"vitals": {"process_count": INTEGER_MAX, "cpu_percent": 100}})
@example({"series": {"core_percent": {"0": 1.0}}})
@given(CHANGES)
def test_a_sample_that_is_read_quickly_is_the_models(changes: dict[str, Any]) -> None:
    compare(encoded({name: value for name, value in changes.items() if name != "stream"}))


@settings(max_examples=100, deadline=None)
@given(TEXTS, st.sampled_from(["seq", "sampled_at", "dropped", "v", "session", "cpu_percent", "load_1m", "fan_rpm"]))
def test_no_other_way_to_write_a_number_is_read(text: str, name: str) -> None:
    whole = json.dumps({**WHOLE, "vitals": {**WHOLE["vitals"], "cpu_percent": 12.5}})
    value = WHOLE.get(name, WHOLE["vitals"].get(name, WHOLE["extra"].get(name)))
    payload = whole.replace(f'"{name}": {json.dumps(value)}', f'"{name}": {text}')
    assert payload != whole or text == json.dumps(value)
    compare(payload.encode())


@settings(max_examples=100, deadline=None)
@given(st.integers(0, len(encoded({})) - 1), st.binary(max_size=3), st.integers(0, 3))
def test_damaged_bytes_are_read_as_the_model_reads_them(at: int, bytes_: bytes, removed: int) -> None:
    payload = encoded({})
    damaged = payload[:at] + bytes_ + payload[at + removed :]
    found = read_live_sample(damaged)
    if found is not None and _has_stream(found):
        compare(damaged)


@pytest.mark.parametrize(
    "payload",
    [
        encoded({})[:-1] + b',"seq":8}',
        encoded({})[:-1] + b',"extra":{"a":1,"a":2}}',
        encoded({})[:-1] + b',"extra":{' + b",".join(b'"m%d":1' % (number % EXTRA_MAX) for number in range(65)) + b"}}",
        b" \n" + encoded({}) + b"\t",
        b"\xef\xbb\xbf" + encoded({}),
        encoded({}).replace(b"fan_rpm", b"fan_\\u0072pm"),
    ],
)
def test_repeated_and_escaped_names_are_read_as_the_model_reads_them(payload: bytes) -> None:
    compare(payload)


def test_an_ordinary_sample_is_read_quickly() -> None:
    assert isinstance(read_live_sample(encoded({})), LiveSample)
    assert isinstance(read_live_sample(Telemetry.decode(encoded({})).encode()), LiveSample)


@pytest.mark.parametrize("changes", [{"other": 1}, {"series": {}}, {"series_gzip": ""}, {"seq": 0}, {"extra": None}])
def test_every_other_sample_is_left_to_the_model(changes: dict[str, Any]) -> None:
    assert read_live_sample(encoded(changes)) is None


def test_both_readers_know_the_same_fields() -> None:
    fields = set(LiveSample.__struct_fields__)
    assert fields == Telemetry.model_fields.keys() - {"series", "series_gzip"}
    assert LiveVitals.__struct_fields__ == VITALS
