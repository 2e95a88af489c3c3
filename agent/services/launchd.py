"""launchd, on macOS: a daemon that runs without a session. Not run by the tests, which have no macOS."""

import plistlib
import sys
from collections.abc import Mapping
from pathlib import Path

from agent.service import USER, Service, require, run

LABEL = "org.dashfleet.agent"
PROPERTY_LIST = Path("/Library/LaunchDaemons", f"{LABEL}.plist")
LOG = Path("/var/log/dashfleet-agent.log")


class Launchd(Service):
    """launchd."""

    title = "launchd"

    def is_here(self) -> bool:
        """Return True on macOS."""
        return sys.platform == "darwin"

    def files(self, program: Path, data: Path) -> Mapping[Path, str]:
        """Return the property list."""
        description = {
            "Label": LABEL,
            "ProgramArguments": [str(program), "agent", "--data", str(data)],
            "UserName": f"_{USER}",
            "RunAtLoad": True,
            "KeepAlive": True,
            "ThrottleInterval": 5,
            "Umask": 0o077,
            "ProcessType": "Background",
            "StandardErrorPath": str(LOG),
        }
        return {PROPERTY_LIST: plistlib.dumps(description).decode()}

    def is_active(self) -> bool:
        """Return True if the daemon is loaded."""
        return run(["launchctl", "print", f"system/{LABEL}"]) == 0

    def start(self) -> bool:
        """Load the daemon, or load it again."""
        PROPERTY_LIST.chmod(0o644)
        run(["launchctl", "bootout", f"system/{LABEL}"])
        require(["launchctl", "bootstrap", "system", str(PROPERTY_LIST)])
        return True

    def remove(self) -> None:
        """Unload the daemon."""
        run(["launchctl", "bootout", f"system/{LABEL}"])
        LOG.unlink(missing_ok=True)


SERVICE = Launchd()
