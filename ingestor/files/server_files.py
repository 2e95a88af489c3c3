"""The files that operators push to machines, and those that they have pulled, in the server's state directory.

    FILES/ORG/pushed/SHA256             offered to the machines of the organisation
    FILES/ORG/pulled/MACHINE/ORDER      pulled from a machine by the order with this id

Invariants:
- The content of a pulled file was chosen by a machine, perhaps an attacker's: it is stored and copied, never read as
  anything, and its name is the id of the operator's order.
- A machine finds a pushed file by its hash alone, and only those of its own organisation.
- All files are deleted after some days, and their total size is bounded for each organisation and each machine.
"""

import hashlib
import re
import shutil
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ingestor.files.stored_totals import PULLED, PUSHED, StoredTotals, Total
from runtime import files
from runtime.errors import UserError
from runtime.settings.ingestor import IngestorSettings
from runtime.state_directory import StateDirectory
from schemas.contract.files.transfer import FILE_MAX_BYTES

FREE_BYTES: Final = 256 << 20
"""Space that a file leaves free on the disk of the server."""

_SHA256 = re.compile(r"[0-9a-f]{64}")
_ORDER = re.compile(r"[0-9a-f]{32}")
_DAY: Final = 86_400


@dataclass(frozen=True, slots=True)
class FileLimits:
    """Bounds of stored files, in bytes: of one, of all of a machine, of all of an organisation; and their days.

    `machine_files` and `org_files` are the numbers of files.
    """

    file: int
    machine: int
    org: int
    days: float
    machine_files: int = 1000
    org_files: int = 10_000


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A file that is stored. `id`: SHA-256 of a pushed file, id of the order that pulled it. `at`: milliseconds."""

    id: str
    org: str
    machine: str
    """Empty for a pushed file."""
    path: Path
    size: int
    at: int


class ServerFiles:
    """The files in a directory, which is created when it is needed."""

    def __init__(self, directory: Path, limits: FileLimits) -> None:
        self.limits = limits
        self._directory = directory
        self._totals = StoredTotals(directory)
        self.changed = self._totals.changed

    def find(self, org: str, _machine: str, sha256: str) -> Path | None:
        """Return the pushed file with this hash, which a machine of this organisation may fetch; None without one."""
        path = self._pushed(org) / sha256
        return path if path.is_file() else None

    def add(self, org: str, source: Path) -> str:
        """Offer a copy of a file to the machines of an organisation; return its SHA-256. Raises UserError, OSError."""
        size = source.stat().st_size
        if size > FILE_MAX_BYTES:
            raise UserError(f"{source} has {size} bytes, more than {FILE_MAX_BYTES}, which is the most that is pushed")
        with source.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        place = self._pushed(org)
        place.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.prune()
        if (known := place / sha256).exists():
            known.touch()  # kept as long as a new one
            return sha256
        if problem := self.refuse(org, "", size, Total(1, size)):
            raise UserError(f"{problem}: dashfleet files list shows them, dashfleet files remove deletes them")
        with suppress(FileExistsError), files.new(known) as written:
            shutil.copyfile(source, written)
            with written.open("rb") as file:
                if hashlib.file_digest(file, "sha256").hexdigest() != sha256:
                    raise UserError(f"{source} has changed while it was read: try again")
        return sha256

    def pulled(self, org: str, machine: str) -> Path:
        """Return the directory of the files pulled from a machine."""
        return self._directory / org / PULLED / machine

    def refuse(self, org: str, machine: str, size: int, coming: Total) -> str:
        """Return why a file of this size cannot be stored, or an empty string. Raises OSError.

        `machine` is empty for a pushed file. `coming` are the files and bytes that are to be written, of others too.
        """
        if machine and size > self.limits.file:
            return f"the file has {size} bytes, and the server stores at most {self.limits.file}"
        if self._exceeded(org, machine, coming):
            self._totals.forget()  # another process may have deleted files
            if problem := self._exceeded(org, machine, coming):
                return problem
        if shutil.disk_usage(_existing(self._directory)).free < coming.bytes + FREE_BYTES:
            return "there is no space for the file on the disk of the server"
        return ""

    def _exceeded(self, org: str, machine: str, coming: Total) -> str:
        limits = self.limits
        of_machine, of_org = (total.plus(coming) for total in self._totals.of(org, machine))
        if machine and of_machine.bytes > limits.machine:
            return f"the files pulled from this machine would exceed {limits.machine} bytes"
        if machine and of_machine.files > limits.machine_files:
            return f"the files pulled from this machine would be more than {limits.machine_files}"
        if of_org.bytes > limits.org:
            return f"the files of the organisation {org} would exceed {limits.org} bytes"
        if of_org.files > limits.org_files:
            return f"the files of the organisation {org} would be more than {limits.org_files}"
        return ""

    def entries(self) -> list[StoredFile]:
        """Return what is stored, the newest first. Raises OSError."""
        found = [*self._entries("*/pushed/*", _SHA256), *self._entries("*/pulled/*/*", _ORDER)]
        return sorted(found, key=lambda each: (-each.at, each.id))

    def get(self, id_: str) -> list[StoredFile]:
        """Return the files with this id: one for each organisation that offers it, or the one that was pulled."""
        return [each for each in self.entries() if each.id == id_]

    def prune(self) -> None:
        """Delete what is older than the limit. Raises OSError."""
        oldest = time.time() - self.limits.days * _DAY
        for pattern in ("*/pushed/*", "*/pulled/*/*"):
            for path in self._directory.glob(pattern):
                with suppress(FileNotFoundError):
                    if path.is_file() and path.stat().st_mtime < oldest:
                        path.unlink()
        self._totals.forget()

    def remove_org(self, org: str) -> None:
        """Delete all files of an organisation. Raises OSError."""
        with suppress(FileNotFoundError):
            shutil.rmtree(self._directory / org)
        self._totals.forget()

    def _pushed(self, org: str) -> Path:
        return self._directory / org / PUSHED

    def _entries(self, pattern: str, name: re.Pattern[str]) -> Iterator[StoredFile]:
        for path in self._directory.glob(pattern):
            org, _, *machine = path.parent.relative_to(self._directory).parts
            with suppress(FileNotFoundError):
                if name.fullmatch(path.name):
                    status = path.stat()
                    at = status.st_mtime_ns // 1_000_000
                    yield StoredFile(path.name, org, "".join(machine), path, status.st_size, at)


def server_files(settings: IngestorSettings) -> ServerFiles:
    """Return the files of this server."""
    limits = FileLimits(
        settings.pulled_file_max_bytes,
        settings.machine_pulled_bytes,
        settings.org_file_bytes,
        settings.file_days,
        settings.machine_pulled_files,
        settings.org_files,
    )
    return ServerFiles(StateDirectory(settings.data).files, limits)


def _existing(directory: Path) -> Path:
    return next(each for each in (directory, *directory.parents) if each.exists())
