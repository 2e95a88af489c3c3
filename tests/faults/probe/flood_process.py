"""One machine that misuses its credential: `flood_process.py PORT NAME KIND`, until the process is ended.

`backfills`: 50 a second (its default rate limit) of 500 samples with one column, at QoS 0.
`bytes`: messages of 250 KB as fast as the broker reads them, at QoS 0.
A connection that the broker ends is made again.
"""

import sys
import time
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))
sys.path.insert(0, str(Path(__file__).parents[2] / "support"))

from brokers import Gone, RawClient, publish_packet
from faults.fleet import ORG, SECRET

from schemas.contract import topics
from schemas.contract.backfill import Backfill
from schemas.contract.messages import Sample, Vitals

PER_SECOND = 50
SAMPLES = 500
BYTES = 250_000


def backfills(name: str) -> Iterator[bytes]:
    """The packets of a flood of samples, each at its time."""
    topic, seq, due = topics.BACKFILL.at(org=ORG, machine=name), 1, time.monotonic()
    while True:
        now = time.time_ns() // 1_000_000
        samples = [
            Sample(seq=seq + i, sampled_at=now - SAMPLES + i, vitals=Vitals(cpu_percent=1.0)) for i in range(SAMPLES)
        ]
        message = Backfill.of(samples, session=1, stream="00000000000000f1", oldest_seq=seq, dropped=0)
        yield publish_packet(topic, message.encode(), qos=0)
        seq, due = seq + SAMPLES, due + 1 / PER_SECOND
        time.sleep(max(0.0, due - time.monotonic()))


def too_much(name: str) -> Iterator[bytes]:
    """The packets of a flood of bytes."""
    packet = publish_packet(topics.TELEMETRY.at(org=ORG, machine=name), b"x" * BYTES, qos=0)
    while True:
        yield packet


def main(port: int, name: str, kind: str) -> None:
    """Connect, and send."""
    packets = (backfills if kind == "backfills" else too_much)(name)
    ready = False
    while True:
        try:
            with RawClient(port) as client:
                client.socket.settimeout(60)
                assert client.connect(f"{ORG}.{name}", SECRET) == 0
                if not ready:
                    print("ready: flooding", flush=True)
                ready = True
                for packet in packets:
                    client.send(packet)
        except (Gone, OSError):
            time.sleep(0.2)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2], sys.argv[3])
