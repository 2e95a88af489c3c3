"""The common sample in one pass: whatever happened before, its result is that of the careful path."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from broker.client.transport import Message
from ingestor.domain.batch import Batch
from ingestor.domain.machine import Machine
from ingestor.domain.presence import on_behind, on_blind, on_tick
from ingestor.intake import message_handlers
from ingestor.intake.message_handlers import MessageHandlers
from ingestor.intake.next_sample import add_next_sample
from ingestor.storage.row_encoding import sample_rows, state_rows, stream_rows
from schemas.contract import topics
from schemas.contract.messages import VITALS, Status, Telemetry, Vitals
from schemas.contract.org_config import OrgConfig

START = 1_700_000_000_000
STREAMS = ("00000000000000aa", "00000000000000bb")
PLACE = {"org": "home", "machine": "attic"}


@dataclass
class OneMachine:
    """Stands for the cached machines and the configurations."""

    machine: Machine = field(default_factory=lambda: Machine(7, "home", "attic"))

    def get(self, _org: str, _name: str) -> Machine:
        return self.machine

    find = get

    def of(self, _org: str) -> OrgConfig:
        return OrgConfig()


Event = Mapping[str, Any]

COMMON = st.fixed_dictionaries({"kind": st.just("sample"), "late": st.integers(0, 50)})
ANY = st.fixed_dictionaries(
    {
        "kind": st.just("sample"),
        "late": st.sampled_from([0, 30, 2_000, 2_001, 60_000, -3_000, -90_000_000]),
        "seq": st.sampled_from([0, 0, 1, 2, 5, -1, -2]),
        "session": st.sampled_from([0, 0, 0, 1, -1]),
        "stream": st.sampled_from([0, 0, 1]),
        "uptime": st.sampled_from([None, 0, 7]),
        "dropped": st.integers(0, 2),
        "series": st.sampled_from([{}, {}, {"core_percent": {"0": 1.5}}]),
    }
)
OTHER = st.fixed_dictionaries(
    {
        "kind": st.sampled_from(
            ["birth", "goodbye", "will", "silence", "blind", "behind", "clockless", "invalid", "commit"]
        )
    }
)


def play(events: Sequence[Event], *, careful: bool) -> list[object]:
    """Handle these events on a new machine; return what is stored and acknowledged, batch by batch."""
    world, results = OneMachine(), list[object]()
    nothing: Any = lambda *_: None  # noqa: E731
    cache: Any = world
    handlers = MessageHandlers(cache, cache, on_result=nothing, on_facts=nothing, org_handlers={})
    batch, now, session, seqs = Batch(), START, 5, dict.fromkeys(STREAMS, 1)
    with pytest.MonkeyPatch.context() as patch:
        if careful:
            patch.setattr(message_handlers, "add_next_sample", lambda *_: False)
        for event in events:
            now += 1_000
            machine, kind = world.machine, event["kind"]
            if kind == "commit":
                results.append(outcome(batch, machine))
                batch = Batch()
            elif kind == "silence":
                ticked = on_tick(machine.state, OrgConfig(), now + 60_000, hearing_since=START - 10_000_000)
                batch.change_presence(machine, ticked, now)
            elif kind == "clockless":
                machine.clock.adopt(None)  # as after a start, if it had sent backfills only
            elif kind in ("blind", "behind"):
                after = on_blind(machine.state) if kind == "blind" else on_behind(machine.state, now)
                batch.change_presence(machine, after, now)
            elif kind in ("birth", "goodbye", "will"):
                session += kind == "birth"
                handlers.handle(batch, status(kind, session, now), topics.parse(topics.STATUS.at(**PLACE)), now)
            else:
                payload = sample(event, seqs, session, now)
                message = Message(topics.TELEMETRY.at(**PLACE), payload)
                handlers.handle(batch, message, topics.parse(message.topic), now)
    return [*results, outcome(batch, world.machine)]


def sample(event: Event, seqs: dict[str, int], session: int, now: int) -> bytes:
    """Return a sample as the event says, and count its stream on."""
    stream = STREAMS[event.get("stream", 0)]
    seq = max(1, seqs[stream] + event.get("seq", 0))
    seqs[stream] = max(seqs[stream], seq + 1)
    uptime = event.get("uptime", 0)
    vitals = Vitals(
        cpu_percent=1 + seq * 7 % 99,
        memory_percent=60.0,
        disk_percent=50.0,
        uptime_seconds=None if uptime is None else (now - START) // 1000 + uptime,
    )
    telemetry = Telemetry(
        seq=seq,
        oldest_seq=max(1, seq - 1),
        dropped=event.get("dropped", 0),
        sampled_at=now - event.get("late", 0),
        vitals=vitals,
        session=session + event.get("session", 0),
        stream=stream,
        extra={"fan_rpm": float(seq)},
        series=event.get("series", {}),
    )
    payload = telemetry.encode()
    return payload.replace(b'"cpu_percent":', b'"cpu_percent":-') if event["kind"] == "invalid" else payload


def status(kind: str, session: int, now: int) -> Message:
    reasons = {"goodbye": "stopped", "will": "lost"}
    state = {"state": "offline", "reason": reasons[kind]} if kind in reasons else {"state": "online"}
    payload = Status.model_validate({**state, "session": session, "at": now}).encode()
    return Message(topics.STATUS.at(**PLACE), payload)


def outcome(batch: Batch, machine: Machine) -> object:
    """Return the rows and answers of a batch, and everything else that is known of the machine."""
    latest = machine.latest
    return (
        sample_rows(batch.samples),
        state_rows(batch.machines.values(), 1, bool),
        stream_rows(batch.streams.values()),
        [(change.at, change.before, change.after) for change in batch.transitions],
        [arrived.sample.series for arrived in batch.samples],
        [(stream.name, numbers, awaited) for _, stream, numbers, awaited in batch.acks],
        [answer for _, answer in batch.rejections],
        batch.dead_letters,
        (batch.duplicates, batch.live_since, len(batch.clones)),
        (machine.state, machine.clock, machine.identity, machine.behind),
        (latest.sampled_at, [getattr(latest.vitals, name) for name in VITALS], latest.extra, latest.health),
        [(stream.boot, str(stream.stored)) for stream in machine.streams.values()],
    )


SAMPLE: Event = {"kind": "sample"}
BIRTH: Event = {"kind": "birth"}
BEGUN = [BIRTH, SAMPLE, SAMPLE]


@example([*BEGUN, BIRTH, {"kind": "sample", "session": -1}])
@example([*BEGUN, BIRTH, SAMPLE])
@example([*BEGUN, {"kind": "invalid"}, {"kind": "sample", "seq": -1}])
@example([*BEGUN, {"kind": "clockless"}, SAMPLE])
@example([*BEGUN, {"kind": "sample", "stream": 1}, SAMPLE])
@settings(max_examples=100, deadline=None)
@given(st.lists(st.one_of(COMMON, COMMON, ANY, OTHER), max_size=25))
def test_both_paths_store_and_acknowledge_the_same(events: list[Event]) -> None:
    assert play(events, careful=False) == play(events, careful=True)


def test_an_ordinary_history_takes_the_short_path(monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[bool] = []

    def counted(*arguments: Any) -> bool:  # noqa: ANN401 - those of the function
        taken.append(short(*arguments))
        return taken[-1]

    short = add_next_sample
    monkeypatch.setattr(message_handlers, "add_next_sample", counted)
    play([{"kind": "birth"}, *[{"kind": "sample", "late": 20}] * 10], careful=False)
    assert taken == [False, False, *[True] * 9], "the first one is also tried after the careful reading"


def test_a_sample_with_series_is_common_too(monkeypatch: pytest.MonkeyPatch) -> None:
    def unread(_payload: bytes) -> None:
        return None

    events = [*BEGUN, {"kind": "sample", "series": {"core_percent": {"0": 1.5}}}, SAMPLE]
    results = play(events, careful=False)
    monkeypatch.setattr(message_handlers, "read_live_sample", unread)
    assert play(events, careful=False) == results
