"""What one machine's credential permits, misused at random: acts with a seed, each of at most about half a second."""

import random
import time
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

from brokers import Gone, RawClient, connect_packet, packed, publish_packet, text
from faults.fleet import ORG, SECRET
from faults.fuzz import messages
from hypothesis import strategies as st

from schemas.contract import topics
from schemas.contract.backfill import Backfill
from schemas.contract.messages import INTEGER_MAX, Info, Metric, Sample, Status, Telemetry, Vitals

ACT_SECONDS = 0.5
TIMES = (0, 1, 10**12, INTEGER_MAX - 1, INTEGER_MAX)


class Act(NamedTuple):
    """A kind of misuse, how often, and the seed of its content."""

    kind: str
    times: int
    seed: int


Packets = Callable[[str, int, random.Random], Iterator[bytes]]
"""Makes the packets of one act: of this machine, this many, at random."""


def misuse(port: int, machine: str, act: Act) -> None:
    """Do one act over a connection of its own; what the broker does not read in time is not sent."""
    chance, until = random.Random(act.seed), time.monotonic() + ACT_SECONDS  # noqa: S311 - a repeatable one
    try:
        with RawClient(port) as client:
            client.socket.settimeout(ACT_SECONDS)
            will = (topics.STATUS.at(org=ORG, machine=machine), _status(chance, "offline"), 1, True)
            client.send(connect_packet(f"{ORG}.{machine}", SECRET, will=will))
            for packet in KINDS[act.kind](machine, act.times, chance):
                client.send(packet)
                if time.monotonic() > until:
                    break
    except (Gone, OSError):  # the broker ended the connection, or read too slowly
        return


def _live(machine: str, times: int, chance: random.Random) -> Iterator[bytes]:
    """Samples of ever new streams, with gaps, and of any time and uptime."""
    topic = topics.TELEMETRY.at(org=ORG, machine=machine)
    for _ in range(times):
        seq = chance.randint(1, 10_000)
        sample = Telemetry(
            seq=seq,
            sampled_at=_time(chance),
            vitals=Vitals(uptime_seconds=chance.choice((None, 0, INTEGER_MAX, chance.randint(0, 10**9)))),
            extra={f"m{n}": chance.uniform(-1e300, 1e300) for n in range(chance.choice((0, 0, 64)))},
            session=chance.randint(1, 2**40),
            stream=f"{chance.choice((1, chance.randint(0, 2**63))):016x}",
            oldest_seq=chance.randint(1, seq),
            dropped=chance.choice((0, INTEGER_MAX)),
        )
        yield publish_packet(topic, sample.encode(), qos=chance.choice((0, 1)), retain=chance.random() < 0.1)


def _backfills(machine: str, times: int, chance: random.Random) -> Iterator[bytes]:
    topic = topics.BACKFILL.at(org=ORG, machine=machine)
    for _ in range(times):
        first, count = chance.randint(1, 10**9), chance.choice((1, 10, 500))
        samples = [
            Sample(seq=first + 2 * n, sampled_at=_time(chance), vitals=Vitals(cpu_percent=1.0)) for n in range(count)
        ]
        stream = f"{chance.choice((2, chance.randint(0, 2**63))):016x}"
        message = Backfill.of(samples, session=chance.randint(1, 2**40), stream=stream, oldest_seq=first, dropped=0)
        yield publish_packet(topic, message.encode(), qos=chance.choice((0, 1)))


def _statuses(machine: str, times: int, chance: random.Random) -> Iterator[bytes]:
    topic = topics.STATUS.at(org=ORG, machine=machine)
    for _ in range(times):
        payload = _status(chance, chance.choice(("online", "offline")))
        yield publish_packet(topic, payload, qos=1, retain=chance.random() < 0.5)


def _infos(machine: str, times: int, chance: random.Random) -> Iterator[bytes]:
    topic = topics.INFO.at(org=ORG, machine=machine)
    word = "".join(chr(chance.choice((0, 7, 65, 0x202E, 0x1F600))) for _ in range(60))
    for _ in range(times):
        info = Info(
            session=chance.randint(1, 2**40),
            at=_time(chance),
            hostname=word,
            agent_version=word,
            interval_seconds=chance.choice((0.001, 86_400.0)),
            labels={f"l{n}": word for n in range(32)},
            metrics=tuple(Metric(name=f"m{n}", unit=word[:32], title=word) for n in range(256)),
            stream=f"{chance.randint(0, 2**63):016x}",
        )
        yield publish_packet(topic, info.encode(), qos=1, retain=True)


def _damaged(machine: str, times: int, chance: random.Random) -> Iterator[bytes]:
    for message in messages(chance.randrange(2**32), times, reporting=machine, living=machine):
        yield publish_packet(message.topic, message.payload, qos=message.qos, retain=message.retain)


def _large(machine: str, times: int, _: random.Random) -> Iterator[bytes]:
    packet = publish_packet(topics.TELEMETRY.at(org=ORG, machine=machine), b"[" * 250_000, qos=0)
    yield from (packet for _ in range(times))


def _subscriptions(machine: str, times: int, chance: random.Random) -> Iterator[bytes]:
    filters = (
        "#",
        "+/+/+/+/#",
        "$SYS/#",
        topics.COMMAND.at(org=ORG, machine=machine),
        "x/" * 500,
        "dashfleet/v1/+/+/up/+",
    )
    for _ in range(times):
        some = [text(chance.choice(filters)) for _ in range(chance.choice((1, 100)))]
        yield packed(0x82, b"\x00\x07" + b"".join(name + b"\x01" for name in some))
        yield packed(0xA2, b"\x00\x08" + b"".join(some))


def _packets(_machine: str, times: int, chance: random.Random) -> Iterator[bytes]:
    """Pings, acknowledgements of nothing, and at last bytes that are no packet."""
    for _ in range(times):
        yield chance.choice((b"\xc0\x00", b"\x40\x02\x12\x34"))
    yield chance.randbytes(100)


KINDS: Mapping[str, Packets] = {
    "live": _live,
    "backfills": _backfills,
    "statuses": _statuses,
    "infos": _infos,
    "damaged": _damaged,
    "large": _large,
    "subscriptions": _subscriptions,
    "packets": _packets,
}

ACTS = st.lists(
    st.builds(Act, st.sampled_from(sorted(KINDS)), st.sampled_from((1, 20, 400)), st.integers(0, 2**32)),
    min_size=1,
    max_size=4,
)


def _time(chance: random.Random) -> int:
    now = time.time_ns() // 1_000_000
    return chance.choice((*TIMES, now, now - chance.randint(0, 10**10), now + chance.randint(0, 10**10)))


def _status(chance: random.Random, state: str) -> bytes:
    reason = None if state == "online" else chance.choice(("lost", "stopped", "asleep"))
    values = {"state": state, "reason": reason, "session": chance.randint(1, 2**40), "at": _time(chance)}
    return Status.model_validate(values).encode()
