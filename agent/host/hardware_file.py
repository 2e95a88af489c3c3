"""The file in which root writes what only root may read: `python -m agent.host.hardware_file PATH`, run by a timer.

Invariants:
- The writer wakes no sleeping disk (`-n standby`): such a disk keeps its last values, with the time of their reading.
- The reader trusts nothing in the file: each value has the expected type, or is missing.
"""

import json
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from agent.host.calls.program import find_program, run_program

SMARTCTL_SECONDS = 30.0
FILE_MAX_BYTES = 4 << 20


def read_hardware(path: Path) -> dict[str, Any]:
    """Return the disks of the file by name; empty if there is no file. Raises OSError if it cannot be read."""
    try:
        with path.open("rb") as file:
            found = json.loads(file.read(FILE_MAX_BYTES))
    except FileNotFoundError:
        return {}
    except ValueError:
        raise OSError(f"{path} is not JSON") from None
    disks = found.get("disks") if isinstance(found, dict) else None
    return {name: disk for name, disk in disks.items() if isinstance(disk, dict)} if isinstance(disks, dict) else {}


def disks_now(before: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Return what smartctl says of each disk; one that sleeps or does not answer keeps the values of `before`."""
    smartctl = find_program("smartctl")
    if smartctl is None:
        return
    for device in _json([smartctl, "--json", "--scan"]).get("devices", []):
        name, kind = str(device.get("name", "")), str(device.get("type", "auto"))
        found = _json([smartctl, "--json", "--nocheck", "standby", "--all", "--device", kind, name])
        short = name.removeprefix("/dev/")
        if "smart_status" in found or "nvme_smart_health_information_log" in found:
            yield short, {**found, "read_at": int(time.time() * 1000)}
        elif short in before:
            yield short, before[short]


def _json(argv: list[str]) -> dict[str, Any]:
    """Return the JSON of a program, whatever its exit code: most bits of smartctl's are no failure."""
    try:
        found = json.loads(run_program(argv, seconds=SMARTCTL_SECONDS).text)
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def write_hardware(path: Path) -> None:
    """Write the file, which everybody may read. Raises OSError."""
    try:
        before = read_hardware(path)
    except OSError:
        before = {}
    content = json.dumps({"v": 1, "disks": dict(disks_now(before))})
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(f".{path.name}.new")
    new.write_text(content)
    new.chmod(0o644)
    new.replace(path)


if __name__ == "__main__":
    write_hardware(Path(sys.argv[1]))
