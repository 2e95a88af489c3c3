"""Paths in a state directory, and what the last `dashfleet up` recorded there for later commands."""

import json
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

from runtime.files import replace
from runtime.urls import sqlite_url


class StateDirectory:
    """Paths and records in a state directory."""

    def __init__(self, data: Path) -> None:
        self.data = data
        self.database_url = sqlite_url(data / "dashfleet.db")
        self.people_url = sqlite_url(data / "people.db")
        self.logs = data / "logs"
        self.lock = data / "up.lock"
        self.signing = data / "secrets" / "signing"
        """Directory of the private keys that sign orders, one file per organisation."""
        self.tls = data / "tls"
        """Directory of the certificates that `dashfleet tls` creates."""
        self.bundle = data / "bundle"
        """Directory of the files that machines install from."""
        self.files = data / "files"
        """Directory of the files that operators push to machines, and of those pulled from them."""
        self.first_password = data / "secrets" / "first-password"
        """The password of the first user, until it was shown on a terminal."""
        self.homeassistant_secret = self.secret("homeassistant-broker")
        """Where the password at Home Assistant's broker is kept."""
        self._up = data / "up.json"
        self._enrolment = data / "agent" / "enrolment.json"

    def secret(self, part: str) -> Path:
        """Return the file of a part's secret."""
        return self.data / "secrets" / part

    @property
    def authority(self) -> Path | None:
        """The CA certificate of this installation, if it exists."""
        path = self.tls / "ca.pem"
        return path if path.exists() else None

    @property
    def homeassistant_password(self) -> Path | None:
        """The file of the password at Home Assistant's broker, if it exists."""
        return self.homeassistant_secret if self.homeassistant_secret.exists() else None

    @property
    def server(self) -> str:
        """The broker's URL at the last `up`."""
        return _read(self._up).get("server", "mqtt://127.0.0.1:1883")

    @property
    def listener(self) -> dict[str, object]:
        """Where the last `up` had its broker, as settings: `port`, and with TLS also `bind` and the certificate."""
        recorded = urlsplit(_read(self._up).get("server", ""))
        found: dict[str, object] = {}
        with suppress(ValueError):  # its port is none
            found = {} if recorded.port is None else {"port": recorded.port}
        certificate, key = self.tls / "server.pem", self.tls / "server.key"
        if found and recorded.scheme == "mqtts" and certificate.exists():
            found |= {"bind": recorded.hostname, "certificate": certificate, "private_key": key}
        return found

    @property
    def machine(self) -> str | None:
        """The id assigned to this machine at the first `up`."""
        return _read(self._up).get("machine")

    @property
    def enrolled(self) -> dict[str, str]:
        """The result of `dashfleet agent enrol`: `server`, `org`, `machine`, and `ca_file` if any; else empty."""
        return _read(self._enrolment)

    def enrol(self, result: dict[str, str]) -> None:
        """Record the enrolment of this machine."""
        replace(self._enrolment, json.dumps(result, indent=2) + "\n")

    def remember(self, *, server: str, machine: str) -> None:
        """Record what later commands use as defaults."""
        known = {"server": server, "machine": machine}
        if known != _read(self._up):
            replace(self._up, json.dumps(known, indent=2) + "\n")


def _read(path: Path) -> dict[str, str]:
    with suppress(OSError, ValueError, AttributeError):  # AttributeError: JSON, but not an object
        found = json.loads(path.read_text())
        return {str(name): str(value) for name, value in found.items()}
    return {}
