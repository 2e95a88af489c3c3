"""What the guard costs: the embedded broker beside amqtt as it comes, in one run, as a ratio.

Both serve in a process of their own; the same bytes go through both in turns, so that whatever else the machine does
meets both alike. `make bench` takes more turns.
"""

import os
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from brokers import PASSWORD, RawClient, publish_packet
from servers import free_port, listens, stop
from waiting import wait_until

from schemas.contract import topics

ROOT = Path(__file__).parents[2]
SECONDS = float(os.environ.get("DASHFLEET_BENCH_SECONDS", "3"))
TURNS = 5 if SECONDS < 60 else 25
MESSAGES = {0: 4000, 1: 2000}
LEAST_RATIO = 0.9
TELEMETRY = topics.TELEMETRY.at(org="home", machine="attic")
PAYLOAD = b"x" * 400

STOCK = """
import asyncio, logging, sys
from amqtt.broker import Broker

async def serve():
    broker = Broker({
        "listeners": {"default": {"type": "tcp", "bind": f"127.0.0.1:{sys.argv[1]}"}},
        "plugins": {"amqtt.plugins.authentication.AnonymousAuthPlugin": {"allow_anonymous": True}},
    })
    await broker.start()
    await asyncio.Event().wait()

logging.disable(logging.CRITICAL)
asyncio.run(serve())
"""
GUARDED = f"""
import sys
from pathlib import Path
from broker.access.policy import Principal, Role
from broker.embedded.server import run
from broker.access.principals import MemoryDirectory
from runtime.settings.broker import BrokerSettings

clients = (Principal(Role.MACHINE, "home", "attic"), Principal(Role.READER, "home", "reader"))
settings = BrokerSettings(
    data=Path(sys.argv[2]), database="sqlite://", port=int(sys.argv[1]),
    client_messages_per_second=1e6, client_bytes_per_second=1e9,  # what is measured is the guard, not its rate limit
)
run(settings, MemoryDirectory(dict.fromkeys(clients, {PASSWORD!r})), lambda: None)
"""


@contextmanager
def serving(program: str) -> Iterator[int]:
    """A broker in a process of its own."""
    port = free_port()
    directory = TemporaryDirectory()
    argv = [sys.executable, "-c", program, str(port), directory.name]
    process = subprocess.Popen(argv, cwd=ROOT, stderr=subprocess.PIPE)
    try:
        wait_until(lambda: listens(port) or process.poll() is not None, what="the broker listens")
        assert process.poll() is None, process.communicate()[1].decode()
        yield port
    finally:
        stop(process)
        process.communicate()
        directory.cleanup()


def messages_per_second(port: int, qos: int) -> float:
    """How fast one publisher's messages reach one subscriber."""
    count = MESSAGES[qos]
    with RawClient(port) as reader, RawClient(port) as machine:
        assert reader.connect("home._reader") == 0
        assert reader.subscribe(TELEMETRY, qos=qos) == [qos]
        assert machine.connect("home.attic") == 0
        packets = [publish_packet(TELEMETRY, PAYLOAD, qos=qos, packet_id=number + 1) for number in range(count)]
        sending = threading.Thread(target=send, args=(machine, packets, qos))
        started = time.perf_counter()
        sending.start()
        for _ in range(count):
            reader.message()
        seconds = time.perf_counter() - started
        sending.join()
    return count / seconds


def send(machine: RawClient, packets: list[bytes], qos: int) -> None:
    """Publish without waiting, but never with more than a few hundred unacknowledged."""
    for start in range(0, len(packets), 100):
        chunk = packets[start : start + 100]
        machine.send(b"".join(chunk))
        for _ in chunk if qos else ():
            machine.reply(0x40)


@pytest.mark.parametrize("qos", [0, 1])
def test_the_guard_costs_at_most_a_tenth_of_the_throughput(qos: int) -> None:
    figures: dict[str, list[float]] = {"amqtt": [], "embedded": []}
    with serving(STOCK) as stock, serving(GUARDED) as guarded:
        for port in (stock, guarded):
            messages_per_second(port, qos)  # warm
        for _ in range(TURNS):
            figures["amqtt"].append(messages_per_second(stock, qos))
            figures["embedded"].append(messages_per_second(guarded, qos))
    medians = {name: statistics.median(found) for name, found in figures.items()}
    ratio = medians["embedded"] / medians["amqtt"]
    print(
        f"QoS {qos}: " + ", ".join(f"{name} {found:,.0f}/s" for name, found in medians.items()) + f", ratio {ratio:.2f}"
    )
    assert ratio >= LEAST_RATIO
