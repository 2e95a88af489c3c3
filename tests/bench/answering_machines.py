"""Many machines in one process that answer each command at once, for the benchmark of commands.

    python answering_machines.py PORT MACHINES

Each says its birth and a sample every ten seconds, and answers a command with `running` and `succeeded`. Each is a real
connection; only what an agent would do beside is missing. Prints `ready: …` when all are there.
"""

import selectors
import socket
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parents[1] / "support"))

from brokers import RawClient, publish_packet
from faults.fleet import ORG, SECRET

from schemas.contract import topics
from schemas.contract.commands import CommandMessage, Order, Result
from schemas.contract.messages import Status, Telemetry, Vitals

INTERVAL_SECONDS = 10.0
STREAM = "00000000000000aa"


class AnsweringMachine:
    """One connection."""

    def __init__(self, port: int, name: str) -> None:
        self.client = RawClient(port)
        self.client.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # as the agent does
        assert self.client.connect(f"{ORG}.{name}", SECRET) == 0
        self.client.subscribe(topics.COMMAND.at(org=ORG, machine=name))
        self._name = name
        self._session = now()
        self._seq = 0
        self._buffer = bytearray()
        self._publish(topics.STATUS, Status(state="online", session=self._session, at=now()).encode())
        self.sample()

    def sample(self) -> None:
        """Publish the next sample."""
        self._seq += 1
        sample = Telemetry(
            seq=self._seq,
            sampled_at=now(),
            vitals=Vitals(cpu_percent=1.0, memory_percent=2.0, disk_percent=3.0),
            session=self._session,
            stream=STREAM,
            oldest_seq=self._seq,
        )
        self._publish(topics.TELEMETRY, sample.encode())

    def read(self) -> None:
        """Answer what has arrived."""
        self._buffer += self.client.socket.recv(1 << 16)
        while (packet := self._next()) is not None:
            first, body = packet
            if first >> 4 == 3:
                end = 2 + int.from_bytes(body[:2])
                self.client.send(b"\x40\x02" + body[end : end + 2])
                self._answer(CommandMessage.decode(body[end + 2 :]))

    def _answer(self, command: CommandMessage) -> None:
        id_ = Order.model_validate_json(command.order.statement).id
        running = Result(session=self._session, id=id_, state="running", at=now())
        self._publish(topics.RESULT, running.encode())
        self._publish(topics.RESULT, running.model_copy(update={"state": "succeeded"}).encode())

    def _publish(self, topic: topics.Topic, payload: bytes) -> None:
        level = topic.at(org=ORG, machine=self._name)
        self.client.send(publish_packet(level, payload, qos=topic.qos, retain=topic.retain))

    def _next(self) -> tuple[int, bytes] | None:
        """The next whole packet in the buffer."""
        length, shift, at = 0, 0, 1
        while at < len(self._buffer):
            digit = self._buffer[at]
            length |= (digit & 0x7F) << shift
            shift, at = shift + 7, at + 1
            if not digit & 0x80:
                if len(self._buffer) < at + length:
                    return None
                packet = self._buffer[0], bytes(self._buffer[at : at + length])
                del self._buffer[: at + length]
                return packet
        return None


def now() -> int:
    return time.time_ns() // 1_000_000


def main(port: int, count: int) -> None:
    """Answer until the process is ended."""
    machines = [AnsweringMachine(port, f"m{number}") for number in range(count)]
    selector = selectors.DefaultSelector()
    for machine in machines:
        selector.register(machine.client.socket, selectors.EVENT_READ, machine)
    print(f"ready: {count} machines", flush=True)
    turn, next_at = 0, time.monotonic()
    while True:
        for key, _ in selector.select(max(0.0, next_at - time.monotonic())):
            key.data.read()
        if time.monotonic() >= next_at:
            machines[turn % count].sample()
            turn, next_at = turn + 1, next_at + INTERVAL_SECONDS / count


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
