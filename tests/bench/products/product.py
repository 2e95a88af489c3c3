"""A product in the comparison: real servers, brought the same reports of the same machines as DashFleet."""

import os
import random
import shutil
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psutil
from telemetry import telemetry

from schemas.contract.messages import Vitals

MACHINES = 1_000
SETTLE_SECONDS = 5.0
"""VictoriaMetrics, for one, writes what it has accepted up to this time later."""
VALUES = len(Vitals.model_fields)
"""In a report: each vital."""


@dataclass(frozen=True, slots=True)
class Running:
    """The servers of a product while they run."""

    feed: Callable[[int], None]
    """Bring this number of reports, the machines in turns; returns when the servers have accepted them."""
    stored: Callable[[], int]
    """The number of values that are stored; it may lag behind by some seconds."""
    feeders: frozenset[int] = frozenset()
    """The process ids of helpers that feed, whose processor time does not count."""


@dataclass(frozen=True, slots=True)
class Product:
    """A product and a way to feed it."""

    name: str
    fed: str
    start: Callable[[Path], AbstractContextManager[Running]]
    count: int
    """Reports in a turn: so many that a turn takes about a second or more."""
    survives: str
    """The moment from which a report that was accepted survives a power cut."""
    program: str = ""
    package: str = ""
    """Debian's, which has the program."""
    together: bool = False
    """Whether many reports come in one message."""
    paced: bool = False
    """Whether the product fetches the reports when it wants them, so that the rate says nothing."""

    @property
    def missing(self) -> str:
        """The line that installs the product, or nothing if it is there."""
        there = not self.program or shutil.which(self.program, path=f"{os.environ['PATH']}:/usr/sbin")
        return "" if there else f"apt-get install {self.package}"


@dataclass(slots=True)
class Runner:
    """A running product, with what its turns took."""

    product: Product
    running: Running
    servers: list[psutil.Process]
    fed: int = 0
    """Reports of all turns."""
    rates: list[float] = field(default_factory=list)
    microseconds: list[dict[str, float]] = field(default_factory=list)
    """Of processor time per report, by name of the program."""

    def turn(self) -> None:
        """Bring the reports of a turn, and wait for what is put off, which counts as well."""
        count, began, before = self.product.count, time.monotonic(), self._seconds_by_program()
        self.running.feed(count)
        self.fed += count
        self.rates.append(count / (time.monotonic() - began))
        time.sleep(SETTLE_SECONDS)  # what is done within this time is part of what is measured
        spent = self._seconds_by_program()
        self.microseconds.append({name: 1e6 * (spent[name] - before[name]) / count for name in spent})

    def cost_by_program(self) -> dict[str, float]:
        """The medians of the processor times per report, in µs."""
        return {name: statistics.median(turn[name] for turn in self.microseconds) for name in self.microseconds[0]}

    def clear(self) -> None:
        """Forget what the turns so far took."""
        self.rates.clear()
        self.microseconds.clear()

    def _seconds_by_program(self) -> dict[str, float]:
        found: dict[str, float] = {}
        for each in self.servers:
            found[each.name()] = found.get(each.name(), 0.0) + _seconds(each)
        return found


@contextmanager
def run(product: Product, directory: Path) -> Iterator[Runner]:
    """Start the servers of a product. Its processes are the children that this process gains meanwhile."""
    before = set(psutil.Process().children())
    directory.mkdir()
    with product.start(directory) as running:
        gained = set(psutil.Process().children()) - before
        yield Runner(product, running, [each for each in gained if each.pid not in running.feeders])


def readings(machine: int) -> dict[str, float]:
    """Return the values of a machine's report."""
    made = telemetry(1, sampled_at=1, stream="a" * 16, chance=random.Random(machine))  # noqa: S311 - made-up readings
    return {name: value for name, value in made.vitals.model_dump().items() if value is not None}


def _seconds(server: psutil.Process) -> float:
    total = 0.0
    for each in (server, *server.children(recursive=True)):
        times = each.cpu_times()
        total += times.user + times.system + times.children_user + times.children_system
    return total
