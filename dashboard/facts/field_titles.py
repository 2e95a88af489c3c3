"""Titles of the fields of facts. Pure.

A field that is not listed here, as from a plug-in, is shown under its own name.
"""

from collections.abc import Mapping
from typing import Final

from dashboard.i18n.language import Marked, _, marked, pgettext

UNITS: Final = ("percent", "bytes", "seconds", "celsius", "milliseconds", "rpm", "volts", "watts", "days")
"""Units that end the name of a number."""

TITLES: Final[Mapping[str, Marked]] = {
    "action": marked("Action"),
    "available": marked("Available version"),
    "cached": marked("Package lists from"),
    "certificate": marked("Certificate valid for"),
    "command_line": marked("Command line"),
    "condition": marked("Battery condition"),
    "cpu": marked("CPU"),
    "cycle_count": marked("Charge cycles"),
    "device": marked("Device"),
    "disk_bytes_per_second": marked("Disk (bytes/s)"),
    "disk_count": marked("Disks"),
    "exit_code": marked("Exit code"),
    "failed_disks": marked("Failed disks"),
    "file_system": marked("File system"),
    "health": marked("Health check"),
    "host": marked("Host"),
    "image": marked("Image"),
    "installed": marked("Installed version"),
    "level": marked("Level"),
    "media_error_count": marked("Media errors"),
    "memory": marked("Memory"),
    "missing_count": marked("Missing disks"),
    "model": marked("Model"),
    "name": marked("Name"),
    "offline_uncorrectable_count": marked("Uncorrectable sectors"),
    "output": marked("Output"),
    "passed": marked("Self-test passed"),
    "pending_count": marked("Pending"),
    "power_on": marked("Powered on"),
    "reachable": marked("Reachable"),
    "read_only": marked("Read-only"),
    "reallocated_count": marked("Reallocated sectors"),
    "reboot_required": marked("Reboot required"),
    "restart_count": marked("Restarts"),
    "rotational": marked("Rotational"),
    "security": marked("Security update"),
    "security_count": marked("Security updates"),
    "serial_number": marked("Serial number"),
    "size": marked("Size"),
    "speed_megabits": marked("Speed (Mbit/s)"),
    "start": marked("Start type"),
    "started": marked("Started"),
    "sub_state": marked("Substate"),
    "terminal": marked("Terminal"),
    "timeout_count": marked("Timeouts"),
    "title": marked("Description"),
    "uncorrectable_count": marked("Uncorrectable errors"),
    "user": marked("User"),
}
"""Titles by the name of the field without its unit."""

_ACRONYMS: Final = {
    "cpu": "CPU",
    "gpu": "GPU",
    "id": "ID",
    "io": "I/O",
    "ip": "IP",
    "pid": "PID",
    "tls": "TLS",
    "url": "URL",
}


def field_title(name: str) -> str:
    """Return the title of a field. `name`: with or without its unit."""
    if name == "state":
        return pgettext("fact", "State")
    start, _separator, unit = name.rpartition("_")
    found = TITLES.get(name) or (TITLES.get(start) if unit in (*UNITS, "at") else None)
    return named(name) if found is None else _(found)


def named(name: str) -> str:
    """Return a name in words, as `State of PID` for `state_of_pid`."""
    words = name.replace("_", " ").replace("-", " ").split()
    shown = " ".join(_ACRONYMS.get(word, word) for word in words)
    return shown[:1].upper() + shown[1:]
