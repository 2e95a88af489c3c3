"""The inventory of a machine: facts of `up/info` that change seldom. Unreadable facts are null."""

import hashlib
import os
import platform
import socket
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import psutil

from runtime.settings.agent import AgentSettings
from runtime.version import VERSION
from schemas.contract.messages import EarlierStream, Info, Metric

DISK_SECONDS = 1.0

_MACHINE_ID_FILES = (Path("/etc/machine-id"), Path("/var/lib/dbus/machine-id"))
_BOOT_ID_FILE = Path("/proc/sys/kernel/random/boot_id")
_CPU_FILE = Path("/proc/cpuinfo")

T = TypeVar("T")


def inventory(
    settings: AgentSettings,
    *,
    session: int,
    stream: str,
    now: int,
    metrics: Sequence[Metric],
    earlier_streams: Sequence[EarlierStream] = (),
    **more: Any,  # noqa: ANN401 - fields of Info
) -> Info:
    """Return the message for `up/info`. `now`: milliseconds of the machine's clock; `more`: other fields of Info."""
    name, version = operating_system()
    return Info(
        session=session,
        stream=stream,
        at=now,
        hostname=socket.gethostname().encode(errors="replace").decode()[:256],  # the kernel allows any bytes
        hardware_id=hardware_id(),
        boot_id=boot_id(),
        os=name,
        os_version=version,
        architecture=platform.machine() or None,
        cpu_model=_cpu_model(),
        cpu_count=os.cpu_count(),
        memory_total_bytes=_or_none(lambda: psutil.virtual_memory().total),
        swap_total_bytes=_or_none(lambda: psutil.swap_memory().total),
        disk_total_bytes=_in_time(lambda: psutil.disk_usage(str(settings.disk_path)).total),
        agent_version=VERSION,
        python_version=platform.python_version(),
        interval_seconds=settings.interval_seconds,
        labels=settings.labels,
        metrics=tuple(metrics),
        earlier_streams=tuple(earlier_streams),
        **more,
    )


def operating_system() -> tuple[str | None, str | None]:
    """Return name and version, such as ("Debian GNU/Linux", "12")."""
    release = _or_none(platform.freedesktop_os_release) if platform.system() == "Linux" else None
    if release:
        return release.get("NAME"), release.get("VERSION_ID")
    if platform.system() == "Darwin":
        return "macOS", platform.mac_ver()[0]
    return platform.system() or None, platform.version() or None


def hardware_id() -> str | None:
    """Return the hash of the operating system's machine id: 32 hex digits, the same on two clones of a disk."""
    found = next(filter(None, (_first_line(path) for path in _MACHINE_ID_FILES)), None)
    return None if found is None else _hashed(found)


def boot_id() -> str:
    """Return 32 hex digits that change with each boot."""
    return _hashed(_first_line(_BOOT_ID_FILE) or str(int(psutil.boot_time())))


def _cpu_model() -> str | None:
    lines = _or_none(_CPU_FILE.read_text) or ""
    models = (line.partition(":")[2].strip() for line in lines.splitlines() if line.startswith("model name"))
    return next(models, None) or platform.processor() or None


def _hashed(text: str) -> str:
    return hashlib.sha256(f"dashfleet {text}".encode()).hexdigest()[:32]


def _first_line(path: Path) -> str | None:
    text = _or_none(path.read_text)
    return text.strip().partition("\n")[0] or None if text else None


def _in_time(read: Callable[[], T]) -> T | None:
    """Return None when reading takes longer than DISK_SECONDS, as on a dead network file system; a thread waits on."""
    found: list[T | None] = []
    reader = threading.Thread(target=lambda: found.append(_or_none(read)), name="inventory", daemon=True)
    reader.start()
    reader.join(DISK_SECONDS)
    return found[0] if found else None


def _or_none(read: Callable[[], T]) -> T | None:
    try:
        return read()
    except (OSError, RuntimeError, ValueError):  # psutil raises the last two where /proc is restricted
        return None
