"""The command that installs an agent and enrols a machine, and the broker's address in it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from broker.tls.certificates import CertificateFiles, names_in
from runtime.settings.address import bracketed, is_loopback
from runtime.settings.dashboard import DashboardSettings

PLACEHOLDER: Final = "mqtts://SERVER"
"""Stands for an address that is not configured."""

CA_NAME: Final = "ca.pem"
_COMMAND: Final = "pip install '.[agent]' && dashfleet agent enrol --server {server}{trust} && dashfleet agent"


@dataclass(frozen=True, slots=True)
class BrokerAddress:
    """Where machines and API clients connect. `ca_file`: the CA certificate they must trust; None: the system's."""

    server: str = PLACEHOLDER
    ca_file: Path | None = None

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
        return cls(settings.machines_server or own, settings.ca_file)

    @property
    def is_known(self) -> bool:
        """True if machines can use the address."""
        return self.server != PLACEHOLDER

    @property
    def install_command(self) -> str:
        """The command to run on a machine, in a clone of DashFleet. It prompts for the token."""
        trusts = self.server.startswith("mqtts") and (self.ca_file is not None or not self.is_known)
        return _COMMAND.format(server=self.server, trust=f" --ca-file {CA_NAME}" if trusts else "")


def _named_in(directory: Path) -> str:
    """Return the first name in the server's certificate that other machines can use; empty if there is none."""
    names = names_in(CertificateFiles(directory).certificate)
    return next((name for name in names if not is_loopback(name)), "")
