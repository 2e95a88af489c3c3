"""systemd: a hardened unit.

A machine whose owner allows `reboot`, or commands that need more privileges, loosens the unit with `systemctl edit`.
"""

import os
from collections.abc import Mapping
from pathlib import Path

from agent.service import CURRENT, NAME, Service, require, run

UNIT = Path("/etc/systemd/system", f"{NAME}.service")
_RUNNING = Path("/run/systemd/system")
_TEMPLATE = Path(__file__).with_name("dashfleet-agent.service")


def unit(program: Path, data: Path) -> str:
    """Return the unit."""
    place = program.parents[1]
    writable = [str(data), *([str(place.parent)] if place.name == CURRENT else [])]  # for updates
    filled = _TEMPLATE.read_text().replace("ReadWritePaths=@DATA@", f"ReadWritePaths={' '.join(writable)}")
    return filled.replace("@PROGRAM@", str(program)).replace("@DATA@", str(data))


class Systemd(Service):
    """systemd, also in the root of a system that is not running, such as an image that is being built."""

    title = "systemd"

    def is_here(self) -> bool:
        """Return True if systemd runs, or will run this system."""
        return _RUNNING.is_dir() or (UNIT.parent.is_dir() and Path("/usr/lib/systemd/systemd").exists())

    def files(self, program: Path, data: Path) -> Mapping[Path, str]:
        """Return the unit."""
        return {UNIT: unit(program, data)}

    def is_active(self) -> bool:
        """Return True if the unit is active."""
        return _RUNNING.is_dir() and run(["systemctl", "is-active", "--quiet", NAME]) == 0

    def start(self) -> bool:
        """Enable the unit, and restart it if systemd runs."""
        if _RUNNING.is_dir():
            require(["systemctl", "daemon-reload"])
        require(["systemctl", "enable", "--quiet", NAME])
        if _RUNNING.is_dir():
            require(["systemctl", "restart", NAME])
            return True
        return False

    def remove(self) -> None:
        """Disable the unit, and stop it if systemd runs."""
        require(["systemctl", "disable", "--quiet", *(["--now"] if _RUNNING.is_dir() else []), NAME])

    def forget(self) -> None:
        """Reload the units."""
        if _RUNNING.is_dir() and os.geteuid() == 0:
            run(["systemctl", "daemon-reload"])
            run(["systemctl", "reset-failed", "--quiet", NAME])


SERVICE = Systemd()
