"""Where things are in a state directory, and what the last `dashfleet up` in it left for later commands."""

import json
from contextlib import suppress
from pathlib import Path

from runtime.files import replace
from runtime.urls import sqlite_url


class StateDirectory:
    """Where things are in a state directory."""

    def __init__(self, data: Path) -> None:
        self.data = data
        self.database_url = sqlite_url(data / "dashfleet.db")
        self.people_url = sqlite_url(data / "people.db")
        self.logs = data / "logs"
        self.lock = data / "up.lock"
        self._memory = data / "up.json"
        self._enrolment = data / "agent" / "enrolment.json"

    def secret(self, part: str) -> Path:
        """The file of a part's secret."""
        return self.data / "secrets" / part

    @property
    def signing(self) -> Path:
        """The directory of the private keys that sign orders, a file per organisation."""
        return self.data / "secrets" / "signing"

    @property
    def tls(self) -> Path:
        """The directory of the certificates that `dashfleet tls` makes."""
        return self.data / "tls"

    @property
    def authority(self) -> Path | None:
        """The certificate authority of this installation, if it is there."""
        path = self.tls / "ca.pem"
        return path if path.exists() else None

    @property
    def server(self) -> str:
        """The broker's address, from the last `up`."""
        return self._remembered().get("server", "mqtt://127.0.0.1:1883")

    @property
    def machine(self) -> str | None:
        """The id that this machine was given at the first `up`."""
        return self._remembered().get("machine")

    @property
    def enrolled(self) -> dict[str, str]:
        """What `dashfleet agent enrol` settled for the agent here: `server`, `org`, `machine`, and `ca_file` if any."""
        return _read(self._enrolment)

    def enrol(self, settled: dict[str, str]) -> None:
        """Note what the enrolment of this machine has settled."""
        replace(self._enrolment, json.dumps(settled, indent=2) + "\n")

    def remember(self, *, server: str, machine: str) -> None:
        """Note what later commands need to know."""
        known = {"server": server, "machine": machine}
        if known != self._remembered():
            replace(self._memory, json.dumps(known, indent=2) + "\n")

    def _remembered(self) -> dict[str, str]:
        return _read(self._memory)


def _read(path: Path) -> dict[str, str]:
    with suppress(OSError, ValueError, AttributeError):  # AttributeError: JSON, but not an object
        found = json.loads(path.read_text())
        return {str(name): str(value) for name, value in found.items()}
    return {}
