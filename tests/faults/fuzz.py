"""Payloads that no well-behaved writer sends: valid messages of every kind, damaged in many ways, from a seed."""

import json
import random
from collections.abc import Callable, Iterator
from typing import Any

from faults.fleet import ORG

from broker.client.transport import Message
from schemas.contract import topics
from schemas.contract.ack import Ack, Range
from schemas.contract.backfill import Backfill
from schemas.contract.messages import Info, Sample, Status, Telemetry, Vitals
from schemas.contract.org_config import OrgConfig

STREAM = "0123456789abcdef"
VALUES: tuple[Any, ...] = (
    None, True, False, 0, -1, 2**53, 2**63, 2**64, -(2**63), 1e308, -1e308, 0.1,
    "", "0", "\x00", "\ud800", "é" * 300, "a" * 70_000, [], {}, [[]], [None] * 600, {"a": {"b": {}}}, "NaN", "1e400",
)  # fmt: skip


def messages(seed: int, count: int, *, reporting: str, living: str) -> Iterator[Message]:
    """So many messages: as from the machine `reporting` on what the ingestor reads, and on what `living` reads."""
    chance = random.Random(seed)  # noqa: S311 - a repeatable one
    damages: tuple[Callable[[random.Random, bytes], bytes], ...] = (
        _same, _flipped, _cut, _doubled, _noise, _deep, _changed, _changed, _changed, _changed, _empty,
    )  # fmt: skip
    for _ in range(count):
        topic, payload = chance.choice(_valid(chance))
        machine = reporting if topic in _UP else living
        payload = chance.choice(damages)(chance, payload)
        address = topic.at(org=ORG, machine=machine, principal="_fuzz", rule="cpu")
        if chance.random() < 0.05:
            address = _astray(chance, address)
        yield Message(address, payload, chance.choice((0, 1)), retain=topic.retain and chance.random() < 0.1)


_UP = (topics.STATUS, topics.INFO, topics.TELEMETRY, topics.BACKFILL, topics.RESULT)


def _valid(chance: random.Random) -> list[tuple[topics.Topic, bytes]]:
    session, seq = chance.randint(1, 2**40), chance.randint(1, 2**40)
    vitals = Vitals(cpu_percent=chance.uniform(0, 100), disk_used_bytes=chance.randint(0, 2**50))
    samples = [Sample(seq=seq + number, sampled_at=number, vitals=vitals, extra={"x": 1.0}) for number in range(3)]
    place: dict[str, Any] = {"session": session, "stream": STREAM, "oldest_seq": seq}
    known = [
        (topics.STATUS, Status(state="offline", reason="lost", session=session, at=1).encode()),
        (topics.STATUS, Status(state="online", session=session, at=1).encode()),
        (topics.INFO, Info(session=session, at=1, hostname="h", agent_version="1", python_version="3", interval_seconds=1.0).encode()),  # noqa: E501
        (topics.TELEMETRY, Telemetry(seq=seq, sampled_at=1, vitals=vitals, extra={"x": 2.0}, **place).encode()),
        (topics.BACKFILL, Backfill.of(samples, dropped=0, **place).encode()),
        (topics.ACK, Ack(stream=STREAM, ranges=(Range(first=1, last=seq),)).encode()),
        (topics.ORG_CONFIG, OrgConfig().encode()),
    ]  # fmt: skip
    others = (topics.RESULT, topics.COMMAND, topics.CONFIG, topics.REQUEST, topics.UPDATE, topics.ALERT)
    return known + [(topic, chance.choice(known)[1]) for topic in others]


def _same(_: random.Random, payload: bytes) -> bytes:
    return payload


def _empty(_: random.Random, __: bytes) -> bytes:
    return b""


def _flipped(chance: random.Random, payload: bytes) -> bytes:
    damaged = bytearray(payload)
    for _ in range(chance.randint(1, 8)):
        damaged[chance.randrange(len(damaged))] ^= 1 << chance.randrange(8)
    return bytes(damaged)


def _cut(chance: random.Random, payload: bytes) -> bytes:
    return payload[: chance.randrange(len(payload))]


def _doubled(chance: random.Random, payload: bytes) -> bytes:
    return payload * chance.choice((2, 3, 200))


def _noise(chance: random.Random, _: bytes) -> bytes:
    return chance.randbytes(chance.choice((1, 10, 1000, 100_000)))


def _deep(chance: random.Random, _: bytes) -> bytes:
    depth = chance.choice((10, 1000, 50_000))
    return chance.choice((b"[" * depth, b'{"a":' * depth, b"[" * depth + b"]" * depth))


def _changed(chance: random.Random, payload: bytes) -> bytes:
    """Some field, at some depth, becomes something else, or goes, or is called otherwise."""
    whole = json.loads(payload)
    part = whole
    while True:
        keys = list(part) if isinstance(part, dict) else list(range(len(part)))
        if not keys:
            break
        key = chance.choice(keys)
        if isinstance(part[key], (dict, list)) and part[key] and chance.random() < 0.5:
            part = part[key]
            continue
        if chance.random() < 0.2:
            del part[key]
        elif chance.random() < 0.2 and isinstance(part, dict):
            part[str(chance.choice(VALUES))[:50]] = part.pop(key)
        else:
            part[key] = chance.choice((*VALUES, float("nan"), float("inf")))
        break
    return json.dumps(whole).encode("utf-8", "surrogatepass")


def _astray(chance: random.Random, address: str) -> str:
    """A topic that is not, or hardly, of the contract."""
    levels = address.split("/")
    at = chance.randrange(len(levels))
    levels[at] = chance.choice(("", "x" * 300, "é", "_", "-", "nobody", "UP", "a b", "ü" * 100))
    return "/".join(levels)
