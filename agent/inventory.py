"""The inventory of a machine: facts of `up/info` that change seldom.

Invariant: whatever psutil or the system raises or returns, the result is a valid message; unreadable facts are null.
"""

import hashlib
import logging
import math
import os
import platform
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import psutil
from pydantic import ValidationError

from agent.host import cgroup, memory
from agent.host.file_system import measured_path
from agent.host.small_files import read_text
from runtime.settings.agent import AgentSettings
from runtime.version import VERSION
from schemas.contract.messages import Info

DISK_SECONDS = 1.0

_MACHINE_ID_FILES = (Path("/etc/machine-id"), Path("/var/lib/dbus/machine-id"))
_BOOT_ID_FILE = Path("/proc/sys/kernel/random/boot_id")
_INIT_FILE = Path("/proc/1/stat")
_CPU_FILE = Path("/proc/cpuinfo")
_CPU_MODEL = ("model name", "Model", "Hardware", "cpu model", "Processor")
"""Names of a line of `_CPU_FILE` by preference; most ARM boards have no `model name`."""

T = TypeVar("T")
log = logging.getLogger(__name__)


def inventory(settings: AgentSettings, **more: Any) -> Info:  # noqa: ANN401 - the other fields of Info
    """Return the message for `up/info`. `more`: the fields that are no facts of the machine, such as `session`."""
    name, version = operating_system()
    total, swap = _or_none(memory.memory), _or_none(memory.swap)
    disk_path, disk_total = _in_time(lambda: _disk(settings)) or (None, None)
    return _valid(
        hostname=_text(_or_none(socket.gethostname)) or "",
        hardware_id=hardware_id(),
        boot_id=boot_id(),
        os=_text(name),
        os_version=_text(version),
        architecture=_text(_or_none(platform.machine)),
        cpu_model=_text(_cpu_model()),
        cpu_count=_or_none(_cpu_count),
        memory_total_bytes=None if total is None else total.total,
        swap_total_bytes=0 if swap is None and total is not None else swap and swap.total,
        disk_total_bytes=disk_total,
        disk_path=_text(disk_path),
        agent_version=VERSION,
        python_version=platform.python_version(),
        interval_seconds=settings.interval_seconds,
        labels=settings.labels,
        **more,
    )


def operating_system() -> tuple[str | None, str | None]:
    """Return name and version, such as ("Debian GNU/Linux", "12")."""
    release = _or_none(platform.freedesktop_os_release) if platform.system() == "Linux" else None
    if release:
        return release.get("NAME"), release.get("VERSION_ID")
    if platform.system() == "Darwin":
        return "macOS", platform.mac_ver()[0]
    return _or_none(platform.system), _or_none(platform.version)


def hardware_id() -> str | None:
    """Return the hash of the operating system's machine id: 32 hex digits, the same on two clones of a disk."""
    found = next(filter(None, (_first_line(path) for path in _MACHINE_ID_FILES)), None)
    return None if found is None else _hashed(found)


def boot_id() -> str:
    """Return 32 hex digits that change with each boot: of the machine, or of the container that the agent runs in.

    A container has the boot id of its host, so the start time of PID 1 belongs to the identity, where it is readable.
    """
    boot = _first_line(_BOOT_ID_FILE) or _or_none(lambda: str(int(psutil.boot_time()))) or _boot_minute()
    return _hashed(" ".join(filter(None, (boot, _init_started()))))


def _boot_minute() -> str:
    """Return the minute of the boot by the machine's clocks, for a system that names no boot."""
    if not hasattr(time, "CLOCK_BOOTTIME"):
        return "unknown"
    return str(math.floor((time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)) / 60))


def _init_started() -> str | None:
    """Return the start time of PID 1, field 22 of its `stat`, in ticks since the boot of the machine."""
    fields = read_text(_INIT_FILE).rpartition(")")[2].split()  # its name, in parentheses, may contain anything
    return fields[19] if len(fields) > 19 else None


def _cpu_model() -> str | None:
    lines = (line.partition(":") for line in read_text(_CPU_FILE).splitlines())
    values = {name.strip(): value.strip() for name, _, value in reversed([*lines])}  # the first of a name counts
    found = next((values[name] for name in _CPU_MODEL if values.get(name)), None)
    return found or _or_none(platform.processor) or None


def _cpu_count() -> int | None:
    """Return the number of logical processors, at most those that a container may use."""
    count, quota = os.cpu_count(), cgroup.cpu_quota()
    return count if count is None or quota is None else min(count, math.ceil(quota))


def _disk(settings: AgentSettings) -> tuple[str | None, int | None]:
    """Return the path whose file system is the disk vital, and the size of that file system."""
    path = measured_path(settings)
    if path is None:
        return None, None
    return str(path), psutil.disk_usage(str(path)).total or None


def _valid(**fields: Any) -> Info:  # noqa: ANN401 - fields of Info
    """Return the message without the optional fields that the contract does not permit."""
    try:
        return Info(**fields)
    except ValidationError as error:
        wrong = {str(problem["loc"][0]) for problem in error.errors()}
        log.warning("left out of the inventory, as the contract does not permit it: %s", ", ".join(sorted(wrong)))
        return Info(**{name: value for name, value in fields.items() if name not in wrong})


def _text(text: str | None) -> str | None:
    """Return text that a message can hold: the system allows any bytes in its names."""
    if not text:
        return None
    return "".join(character if character.isprintable() else "?" for character in text)[:256]


def _hashed(text: str) -> str:
    return hashlib.sha256(f"dashfleet {text}".encode()).hexdigest()[:32]


def _first_line(path: Path) -> str | None:
    text = _or_none(path.read_text)
    return text.replace("\0", "").strip().partition("\n")[0] or None if text else None


def _in_time(read: Callable[[], T]) -> T | None:
    """Return None when reading takes longer than DISK_SECONDS, as on a dead network file system; a thread waits on."""
    found: list[T | None] = []
    reader = threading.Thread(target=lambda: found.append(_or_none(read)), name="inventory", daemon=True)
    if _or_none(reader.start) is None and reader.ident is None:
        return None  # no more threads here
    reader.join(DISK_SECONDS)
    return found[0] if found else None


def _or_none(read: Callable[[], T]) -> T | None:
    """Return None for anything that is raised: psutil raises KeyError and more where /proc is not as it expects."""
    try:
        return read()
    except Exception as error:  # noqa: BLE001 - one of the named places
        log.debug("a fact of the inventory cannot be read: %r", error)
        return None
