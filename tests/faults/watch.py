"""What one machine's misuse costs others: the age of another machine's newest sample, and the memory of the server."""

import contextlib
import time
from dataclasses import dataclass, field

import psutil
from faults.fleet import Fleet
from sqlalchemy import select
from sqlalchemy.exc import OperationalError

from schemas.database import tables

OTHER = "other"
AGE_SECONDS = 5.0
GROWTH_MEBIBYTES = 150


@dataclass
class Watch:
    """The worst that was seen since it was made. The machine OTHER must send samples."""

    fleet: Fleet
    before: dict[str, float] = field(default_factory=dict)
    highest: dict[str, float] = field(default_factory=dict)
    oldest_seconds: float = 0.0

    def __post_init__(self) -> None:
        self.before = self.memory()
        self.highest = dict(self.before)

    def look(self) -> None:
        """Measure once."""
        with contextlib.suppress(OperationalError):
            self.oldest_seconds = max(self.oldest_seconds, age(self.fleet))
        for name, size in self.memory().items():
            self.highest[name] = max(self.highest[name], size)

    def memory(self) -> dict[str, float]:
        """The resident memory of broker and ingestor with their children, in MiB."""
        found = {}
        for name, part in (("broker", self.fleet.broker), ("ingestor", self.fleet.ingestor)):
            whole = psutil.Process(part.pid)
            found[name] = sum(each.memory_info().rss for each in (whole, *whole.children(recursive=True))) / 2**20
        return found

    def grown(self, now: dict[str, float]) -> dict[str, int]:
        """By how much memory is larger than before, in MiB."""
        return {name: round(size - self.before[name]) for name, size in now.items()}


def age(fleet: Fleet) -> float:
    """The age of the other machine's newest sample, in seconds; both have one clock."""
    query = select(tables.state.c.sampled_at).join(tables.machine).where(tables.machine.c.name == OTHER)
    with fleet.engine.connect() as connection:
        return time.time() - int(connection.scalar(query) or 0) / 1000
