"""An outbox on real files that can be killed, rebooted and damaged."""

import shutil
import sqlite3
from contextlib import suppress
from itertools import count
from pathlib import Path

from clocks import Clock

from agent.outbox.outbox import Outbox
from agent.outbox.sample_file import SampleFile
from schemas.contract.ack import Range
from schemas.contract.messages import Extra, Sample, Vitals


class OutboxMachine:
    """The disk and the memory files of one machine, and the outboxes that were opened on them."""

    def __init__(self, directory: Path, clock: Clock) -> None:
        self._parent = directory
        self._places = count()
        self._names = count(1)
        self._open: list[Outbox] = []
        self.clock = clock
        self.boot = "first-boot"
        self.place = self._new_place()

    @property
    def cold(self) -> Path:
        return self.place / "disk" / "outbox.db"

    @property
    def hot(self) -> Path:
        return self.place / "memory" / "hot.db"

    def open(self, *, max_bytes: int = 64 << 20, receiver: str = "") -> Outbox:
        outbox = Outbox(
            self.cold,
            self.hot,
            max_bytes=max_bytes,
            boot=self.boot,
            clock=self.clock,
            receiver=receiver,
            new_name=lambda: f"{next(self._names):016x}",
        )
        self._open.append(outbox)
        return outbox

    def kill(self) -> None:
        """Leave the state of a SIGKILL: the files as they are at this moment, without locks."""
        before, self.place = self.place, self._new_place()
        shutil.copytree(before, self.place, dirs_exist_ok=True)

    def reboot(self) -> None:
        """Begin another boot, on a system where the memory files survive it, such as one without tmpfs."""
        self.kill()
        self.boot += "+"

    def disk_bytes(self) -> int:
        return sum(file.stat().st_size for file in (self.place / "disk").iterdir())

    def close(self) -> None:
        while self._open:
            outbox = self._open.pop()
            with suppress(sqlite3.ProgrammingError):  # closed by the test
                outbox._hot._connection.execute("SELECT 1")
                outbox.close()

    def _new_place(self) -> Path:
        place = self._parent / f"place-{next(self._places)}"
        (place / "disk").mkdir(parents=True)
        (place / "memory").mkdir()
        return place


def put(outbox: Outbox, samples: int = 1, *, size: int = 0) -> list[Sample]:
    """Append samples, with about `size` more bytes in each."""
    extra: Extra = {f"metric_{i}_{'x' * 40}": 1234567.125 for i in range(size // 64)}
    return [outbox.append(1_700_000_000_000 + i, Vitals(cpu_percent=12.5), extra) for i in range(samples)]


def numbers(outbox: Outbox, limit: int = 1000) -> list[int]:
    """Return the numbers of the next batch."""
    batch = outbox.batch(limit)
    return [] if batch is None else [sample.seq for sample in batch.samples]


def count_waiting(outbox: Outbox) -> int:
    """Return the number of waiting samples of all streams."""
    return sum(file.count() for file in (outbox._hot, outbox._cold.file) if file is not None)


def ack(outbox: Outbox, first: int, last: int | None = None, *, stream: str | None = None) -> None:
    outbox.ack(stream or outbox.stream, [Range(first=first, last=first if last is None else last)])


def drain(outbox: Outbox, limit: int = 1000) -> list[tuple[str, list[int]]]:
    """Take batch after batch and ack each, as an ingestor would."""
    drained = []
    while (batch := outbox.batch(limit)) is not None:
        drained.append((batch.stream, [sample.seq for sample in batch.samples]))
        outbox.ack(batch.stream, [Range(first=sample.seq, last=sample.seq) for sample in batch.samples])
    return drained


def fill_disk(outbox: Outbox) -> None:
    """Allow no more pages on disk, as on a full file system."""
    assert outbox._cold.file is not None
    outbox._cold.file._connection.execute("PRAGMA max_page_count = 1")


def free_disk(outbox: Outbox) -> None:
    """Undo `fill_disk`."""
    assert outbox._cold.file is not None
    outbox._cold.file._connection.execute("PRAGMA max_page_count = 1000000")


def flip(path: Path) -> None:
    """Damage the pages in the middle of a file, as a failing disk does."""
    content = bytearray(path.read_bytes())
    for page in range(len(content) // 4096 // 3, len(content) // 4096 * 2 // 3):
        for i in range(page * 4096, page * 4096 + 16):
            content[i] ^= 0x55
    path.write_bytes(content)


def drop_cache(file: SampleFile | None) -> None:
    """Make a file drop the pages that it has in memory."""
    assert file is not None
    file._connection.execute("PRAGMA shrink_memory")


def damage_readings(outbox: Outbox, seq: int, body: str | memoryview, *, cast: bool = False) -> None:
    """Replace the stored body of a sample on disk; `cast`: store bytes as text."""
    assert outbox._cold.file is not None
    value = "CAST(? AS TEXT)" if cast else "?"
    outbox._cold.file._connection.execute(f"UPDATE sample SET body = {value} WHERE seq = ?", (body, seq))  # noqa: S608
