"""Machines that only publish, as fast as the broker accepts: `publishers_process.py PORT NAME...`.

Each sample is made up and numbered from 1, at QoS 1. Lost samples are not sent again, unlike an agent's.
"""

import random
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))
sys.path.insert(0, str(Path(__file__).parents[2] / "support"))

from brokers import RawClient, publish_packet
from faults.fleet import ORG, SECRET
from ingestion import STREAM
from telemetry import telemetry

from schemas.contract import topics
from schemas.contract.messages import Status

AT_ONCE = 25


def now() -> int:
    return time.time_ns() // 1_000_000


def main(port: int, names: list[str]) -> None:
    """Publish until the process is ended."""
    chance = random.Random(1)  # noqa: S311 - made-up readings
    clients = {name: RawClient(port) for name in names}
    for name, client in clients.items():
        assert client.connect(f"{ORG}.{name}", SECRET) == 0
        status = Status(state="online", session=1, at=now()).encode()
        client.publish(topics.STATUS.at(org=ORG, machine=name), status, retain=True)
    print(f"ready: {len(names)} publishers", flush=True)
    seq = 0
    while True:
        for name, client in clients.items():
            topic = topics.TELEMETRY.at(org=ORG, machine=name)
            samples = (
                telemetry(seq + i, sampled_at=now(), stream=STREAM, chance=chance) for i in range(1, AT_ONCE + 1)
            )
            packets = [publish_packet(topic, each.encode(), qos=1, packet_id=each.seq % 60_000 + 1) for each in samples]
            client.send(b"".join(packets))
        for client in clients.values():
            for _ in range(AT_ONCE):
                client.reply(0x40)
        seq += AT_ONCE


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
