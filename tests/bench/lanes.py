"""A publisher, a Mosquitto and what reads from it, each a process of its own, for the benchmarks of the ingestor."""

import os
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO
from urllib.request import urlopen

from bench.publisher import FIRST_SEQ, place
from servers import free_port, mosquitto, stop
from sqlalchemy import Engine, func, insert, select
from waiting import wait_until

from schemas.database import tables
from schemas.database.engine import open_engine, upgrade

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
BROKER = "\n".join(
    (
        "allow_anonymous true",
        "log_type error",
        "max_inflight_messages 2048",
        f"max_inflight_bytes {16 << 20}",
        "max_queued_messages 200000",
        "max_queued_bytes 0",
    )
)
"""As `dashfleet mosquitto` writes it, but for the credentials: one client speaks for all machines."""

_CPUCLOCK_SCHED = 2
"""The kind of a process's clock in its number (`clock_getcpuclockid` of the C library)."""

UNLIMITED = 1e9
"""A rate: as fast as the broker takes them."""


@contextmanager
def child(*argv: str, environment: Mapping[str, str] | None = None) -> Iterator["subprocess.Popen[bytes]"]:
    """A Python process that is stopped at the end, once it has said that it is ready."""
    process = subprocess.Popen(
        [sys.executable, *argv],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), **(environment or {})},
    )
    try:
        assert process.stdout is not None
        assert b"ready" in process.stdout.readline(), f"{argv[0]} did not start"
        yield process
    finally:
        stop(process)
        process.communicate()


@dataclass(slots=True)
class Figures:
    """What each turn of a lane gave."""

    microseconds: list[float] = field(default_factory=list)
    """Of processor time of the reader per message."""
    rates: list[float] = field(default_factory=list)
    """Messages dealt with in a second."""

    @property
    def cost(self) -> float:
        """The median of the processor times."""
        return statistics.median(self.microseconds)

    def clear(self) -> None:
        """Forget the turns so far."""
        self.microseconds.clear()
        self.rates.clear()

    @property
    def rate(self) -> float:
        """The median of the rates."""
        return statistics.median(self.rates)


@dataclass(slots=True)
class Lane:
    """One broker with a publisher and a reader. `wait` returns when the reader has dealt with so many more messages."""

    publisher: "subprocess.Popen[bytes]"
    reader: "subprocess.Popen[bytes]"
    wait: Callable[[int], None]
    figures: Figures = field(default_factory=Figures)

    def turn(self, count: int, *, rate: float = UNLIMITED) -> None:
        """Let so many messages pass, and note what they took."""
        began, spent = time.monotonic(), processor_seconds(self.reader.pid)
        self.send(count, rate=rate)
        self.wait(count)
        self.figures.rates.append(count / (time.monotonic() - began))
        self.figures.microseconds.append(1e6 * (processor_seconds(self.reader.pid) - spent) / count)

    def send(self, count: int, *, rate: float = UNLIMITED) -> None:
        """Publish so many, and return when the broker has them."""
        assert self.publisher.stdin is not None
        assert self.publisher.stdout is not None
        self.publisher.stdin.write(f"{rate} {count}\n".encode())
        self.publisher.stdin.flush()
        assert self.publisher.stdout.readline().startswith(b"sent ")


@contextmanager
def bare_lane(directory: Path, *, machines: int, count: int) -> Iterator[Lane]:
    """A lane that ends in a bare subscriber. Each turn must be of `count` messages."""
    with (
        mosquitto(directory, lines=BROKER) as port,
        child(str(HERE / "bare_subscriber.py"), str(port), str(count)) as reader,
        child(str(HERE / "publisher.py"), str(port), str(machines)) as publisher,
    ):
        output: IO[bytes] = reader.stdout  # type: ignore[assignment]

        def wait(_: int) -> None:
            assert output.readline() == b"received\n"

        yield Lane(publisher, reader, wait)


@contextmanager
def ingestor_lane(
    directory: Path, database: str, *, machines: int, prepare: Callable[[Engine], None] = lambda _: None
) -> Iterator[Lane]:
    """A lane that ends in `dashfleet ingestor`, with its default settings, on a database as `prepare` leaves it."""
    engine = open_engine(database)
    upgrade(engine)
    add_fleet(engine, machines)
    prepare(engine)
    with mosquitto(directory, lines=BROKER) as port:
        metrics = f"127.0.0.1:{free_port()}"
        environment = {
            "DASHFLEET_DATA": str(directory),
            "DASHFLEET_INGESTOR_SERVER": f"mqtt://127.0.0.1:{port}",
            "DASHFLEET_INGESTOR_PASSWORD": "made-up",
            "DASHFLEET_INGESTOR_DATABASE": database,
            "DASHFLEET_INGESTOR_METRICS_LISTEN": metrics,
        }
        with (
            child("-m", "dashfleet", "ingestor", environment=environment) as reader,
            child(str(HERE / "publisher.py"), str(port), str(machines)) as publisher,
        ):
            wait_until(lambda: figure(metrics, "broker_connected") == 1, what="the ingestor's connection")
            sent = 0

            def wait(count: int) -> None:
                nonlocal sent
                sent += count
                wait_until(lambda: heard(engine) == sent, seconds=100, what=f"{sent} stored")

            yield Lane(publisher, reader, wait)
            wait_until(lambda: figure(metrics, "stored_total") == sent, what="every report is counted once")
    engine.dispose()


def heard(engine: Engine) -> int:
    """How many reports of the publisher are in the database: it numbers each machine's one by one."""
    numbers = select(func.sum(tables.stream.c.highest_seq - (FIRST_SEQ - 1)))
    with engine.connect() as connection:
        return int(connection.scalar(numbers) or 0)


def figure(metrics: str, name: str) -> int:
    """One of the ingestor's figures."""
    with urlopen(f"http://{metrics}/metrics", timeout=30) as answer:
        found = re.search(rf"^dashfleet_ingestor_{name} (\S+)$", answer.read().decode(), re.MULTILINE)
    assert found, f"there is no {name}"
    return int(float(found[1]))


def add_fleet(engine: Engine, machines: int) -> None:
    """Put the publisher's machines into an empty database."""
    places = [place(number) for number in range(machines)]
    orgs = {name: number for number, name in enumerate(sorted({org for org, _ in places}), start=1)}
    with engine.begin() as connection:
        connection.execute(
            insert(tables.org), [{"id": key, "name": org, "config": {}, "created_at": 1} for org, key in orgs.items()]
        )
        connection.execute(
            insert(tables.machine), [{"org_id": orgs[org], "name": name, "created_at": 1} for org, name in places]
        )


def processor_seconds(pid: int) -> float:
    """Processor time of a process and its threads, to the nanosecond: psutil rounds it to 10 ms."""
    return time.clock_gettime((~pid << 3) | _CPUCLOCK_SCHED)
