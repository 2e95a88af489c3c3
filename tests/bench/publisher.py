"""Many machines' telemetry over one connection, for the benchmarks of the ingestor.

    python publisher.py PORT MACHINES

Reads lines of `RATE COUNT` from its standard input; for each it publishes COUNT samples, the machines in turns, at RATE
a second and QoS 1, says `sent SECONDS` when the broker has acknowledged all of them, and goes on. The samples are valid
and of a real machine's size; of each machine most readings stay, and the numbers and times go on.
"""

import random
import selectors
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parents[1] / "support"))

from brokers import RawClient, publish_packet
from telemetry import telemetry

from schemas.contract import topics

ORGS = 10
TICK_SECONDS = 0.01
UNACKED_MAX = 20_000
SESSION = 1_700_000_000_000
STREAM = "00000000000000aa"
FIRST_SEQ = 1_000_001
BOOTED_BEFORE_SECONDS = 2_000_000
"""Numbers of one length, as they are written over each other."""

_SEQ, _AT, _UPTIME = 9_111_111, 1_711_111_111_111, 2_222_222


def place(number: int) -> tuple[str, str]:
    """The organisation and the id of a machine."""
    return f"org{number % ORGS}", f"m{number:05}"


class Publisher:
    """One connection. Each packet is made once, and only its numbers and times are written anew."""

    def __init__(self, port: int, machines: int) -> None:
        self.client = RawClient(port)
        self.client.connect("publisher")
        chance = random.Random(1)  # noqa: S311 - made-up readings
        self.templates = [_template(number, chance) for number in range(machines)]
        self.selector = selectors.DefaultSelector()
        self.selector.register(self.client.socket, selectors.EVENT_READ)
        self.booted = int(time.time()) - BOOTED_BEFORE_SECONDS
        self.sent = 0
        self.heard_bytes = 0

    @property
    def acknowledged(self) -> int:
        """How many the broker has acknowledged, with four bytes each."""
        return self.heard_bytes // 4

    def send(self, rate: float, count: int) -> None:
        """Publish so many, and wait until the broker has them."""
        began, upto = time.monotonic(), self.sent + count
        first = self.sent
        while self.sent < upto:
            due = min(upto, first + int((time.monotonic() - began) * rate) + 1)
            room = UNACKED_MAX - (self.sent - self.acknowledged)
            chunk = range(self.sent, min(due, self.sent + max(0, room)))
            if chunk:
                self.client.send(b"".join(self._packet(number) for number in chunk))
                self.sent = chunk.stop
            self._hear(TICK_SECONDS if self.sent >= due or not room else 0)
        while self.acknowledged < self.sent:
            self._hear(1)
        print(f"sent {time.monotonic() - began:.3f}", flush=True)

    def _packet(self, number: int) -> bytes:
        turn, machine = divmod(number, len(self.templates))
        seq, at = FIRST_SEQ + turn, time.time_ns() // 1_000_000
        packet_id = (number % 65_535 + 1).to_bytes(2)
        return self.templates[machine] % (packet_id, seq, at, at // 1000 - self.booted, seq)

    def _hear(self, wait: float) -> None:
        if self.selector.select(wait):
            self.heard_bytes += len(self.client.socket.recv(1 << 16))


def _template(number: int, chance: random.Random) -> bytes:
    """A machine's packet, with places for packet id, number, time, uptime and number."""
    org, name = place(number)
    made = telemetry(_SEQ, sampled_at=_AT, stream=STREAM, chance=chance)
    vitals = made.vitals.model_copy(update={"uptime_seconds": _UPTIME})
    made = made.model_copy(update={"session": SESSION, "vitals": vitals})
    packet = publish_packet(topics.TELEMETRY.at(org=org, machine=name), made.encode(), qos=1, packet_id=0x2A2A)
    template = packet.replace(b"%", b"%%").replace(b"**", b"%b", 1)
    for placeholder in (_SEQ, _AT, _UPTIME):
        template = template.replace(str(placeholder).encode(), b"%d")
    assert len(template % (b"**", _SEQ, _AT, _UPTIME, _SEQ)) == len(packet)
    return template


if __name__ == "__main__":
    publisher = Publisher(int(sys.argv[1]), int(sys.argv[2]))
    print("ready", flush=True)
    for line in sys.stdin:
        rate, count = line.split()
        publisher.send(float(rate), int(count))
