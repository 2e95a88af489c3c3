"""Text files in the format of node_exporter's textfile collector: `name{label="value"} 1.5`, a reading on each line.

Invariants:
- A file that is written at this moment has an invalid line at most: it is unknown in this round, and read again.
- A number of files, bytes of a file and readings of all are read at most; the directory belongs to the machine's owner.
- Only regular files are read: a pipe or a device would make the collector wait, or read, without end.
"""

import math
import os
import re
import stat
from pathlib import Path
from typing import Final

from agent.check_programs.result import CheckReading, CheckResult

FILES_MAX: Final = 32
FILE_MAX_BYTES: Final = 64 << 10
_LINE: Final = re.compile(
    r'(?P<name>[A-Za-z_:][\w:]*)\s*(?:\{(?P<labels>(?:[^}"]|"(?:[^"\\]|\\.)*")*)\})?'
    r"\s+(?P<value>\S+)(?:\s+-?\d+)?"
)
_UNITS: Final = {"_bytes": "check_bytes", "_seconds": "check_seconds", "_percent": "check_percent"}


def read_directory(directory: Path) -> dict[str, CheckResult]:
    """Return the readings of each file `*.prom` by its name. Raises OSError if the directory cannot be read."""
    paths = sorted(path for path in directory.iterdir() if path.suffix == ".prom")[:FILES_MAX]
    return {path.name: _read(path) for path in paths}


def _read(path: Path) -> CheckResult:
    try:
        with open(path, "rb", opener=_open_at_once) as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                return CheckResult("unknown", "is no regular file")
            content = file.read(FILE_MAX_BYTES + 1)
    except OSError as error:
        return CheckResult("unknown", f"cannot be read: {error.strerror}")
    if len(content) > FILE_MAX_BYTES:
        return CheckResult("unknown", f"has more than {FILE_MAX_BYTES} bytes")
    try:
        readings = parse(content.decode("utf-8", "replace"))
    except ValueError as error:
        return CheckResult("unknown", str(error))
    return CheckResult("good", "", readings)


def _open_at_once(path: str, flags: int) -> int:
    """Open a file without waiting for the other end of a pipe."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def parse(content: str) -> dict[str, CheckReading]:
    """Return the readings by name and labels. Raises ValueError, with the number of the line, for an invalid one."""
    found: dict[str, CheckReading] = {}
    for number, line in enumerate(content.splitlines(), start=1):
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        part = _LINE.fullmatch(text)
        try:
            value = float(part["value"]) if part is not None else None
        except ValueError:
            value = None
        if part is None or value is None:
            raise ValueError(f"line {number} is invalid")
        labels = f"{{{part['labels'].strip().rstrip(',')}}}" if part["labels"] else ""
        found[part["name"] + labels] = CheckReading(_metric(part["name"]), value if math.isfinite(value) else None)
    return found


def _metric(name: str) -> str:
    if name.endswith("_total"):
        return "check_count"
    return next((metric for suffix, metric in _UNITS.items() if name.endswith(suffix)), "check_value")
