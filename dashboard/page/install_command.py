"""The command that installs an agent and enrols a machine, and the broker's address in it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

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
        """Read the settings. A loopback address is of no use to other machines."""
        own = PLACEHOLDER if settings.address.is_loopback else settings.server
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
