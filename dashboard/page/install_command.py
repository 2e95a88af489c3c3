"""The commands that install an agent and enrol a machine, and the addresses in them.

Invariants:
- A command has no secret: it asks for the token. It has the fingerprint of the broker's CA certificate.
- An address gets into a command only if a shell takes it as one word.
"""

import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from runtime.bundle.fingerprint import fingerprint
from runtime.errors import UserError
from runtime.settings.address import bracketed
from runtime.settings.dashboard import DashboardSettings
from runtime.settings.loopback import is_loopback

PLACEHOLDER: Final = "mqtts://SERVER"
"""Stands for an address of the broker that is not configured."""

DASHBOARD_PLACEHOLDER: Final = "https://DASHBOARD"
"""Stands for an address of the dashboard that is not configured."""

CA_NAME: Final = "ca.pem"
_UNIX: Final = "curl -fsSL {dashboard}/install.sh | sudo sh -s -- {options}"
_WINDOWS: Final = "& ([scriptblock]::Create((irm {dashboard}/install.ps1))) {options}"
_ONE_WORD: Final = re.compile(r"https?://[A-Za-z0-9.:\[\]_-]+(/[A-Za-z0-9._~/-]*)?")


@dataclass(frozen=True, slots=True)
class BrokerAddress:
    """Where machines and API clients connect. `ca_file`: the CA certificate they must trust; None: the system's.

    `dashboard`: the URL at which machines reach the dashboard, from which they install; `bundle`: directory of what
    they install.
    """

    server: str = PLACEHOLDER
    ca_file: Path | None = None
    dashboard: str = DASHBOARD_PLACEHOLDER
    base_path: str = ""
    bundle: Path | None = None

    @classmethod
    def of(cls, settings: DashboardSettings) -> "BrokerAddress":
        """Read the settings.

        A loopback address is of no use to other machines; the certificate of `dashfleet up --listen` names another.
        """
        address = settings.address
        own = settings.server
        if address.is_loopback:
            name = _named_in(settings.data / "tls") if address.tls else ""
            own = f"mqtts://{bracketed(name)}:{address.port}" if name else PLACEHOLDER
        host = next((host for host in settings.hosts if "*" not in host), "")
        named = f"https://{host}{settings.base_path}" if host else DASHBOARD_PLACEHOLDER
        return cls(
            settings.machines_server or own,
            settings.ca_file,
            settings.url_for_machines or named,
            settings.base_path,
            settings.bundle or settings.data / "bundle",
        )

    def seen_at(self, url: str) -> "BrokerAddress":
        """Return these addresses with the one in the visitor's browser, unless the dashboard's is configured."""
        parts = urlsplit(url)
        seen = f"{parts.scheme}://{parts.netloc}{self.base_path}"
        if self.dashboard != DASHBOARD_PLACEHOLDER or not _ONE_WORD.fullmatch(seen):
            return self
        return replace(self, dashboard=seen)

    @property
    def is_known(self) -> bool:
        """True if machines can use the broker's address."""
        return self.server != PLACEHOLDER

    @property
    def is_dashboard_reachable(self) -> bool:
        """True if other machines may reach the dashboard at its address."""
        host = urlsplit(self.dashboard).hostname or ""
        return self.dashboard != DASHBOARD_PLACEHOLDER and not is_loopback(host)

    @property
    def install_command(self) -> str:
        """The command to run on a machine with Linux or macOS. It asks for the token."""
        return _UNIX.format(dashboard=self.dashboard, options=self.install_options)

    @property
    def windows_command(self) -> str:
        """The command to run in PowerShell, as an administrator. It asks for the token."""
        return _WINDOWS.format(dashboard=self.dashboard, options=self.install_options)

    @property
    def install_options(self) -> str:
        """Options of the install script, and of `dashfleet agent install`."""
        words = [f"--from {self.dashboard}", f"--server {self.server}"]
        if self.server.startswith("mqtts") and self.ca_file is not None:
            pin = self._fingerprint()
            words.append(f"--ca-sha256 {pin}" if pin else f"--ca-file {CA_NAME}")
        return " ".join(words)

    def _fingerprint(self) -> str:
        """Return the fingerprint of the CA certificate; empty if the file has none, or several."""
        try:
            return fingerprint(self.ca_file.read_bytes()) if self.ca_file else ""
        except (OSError, UserError):
            return ""


def _named_in(directory: Path) -> str:
    """Return the first name in the server's certificate that other machines can use; empty if there is none."""
    from broker.tls.certificates import CertificateFiles, names_in  # here: what reads certificates takes 8 MiB

    names = names_in(CertificateFiles(directory).certificate)
    return next((name for name in names if not is_loopback(name)), "")
