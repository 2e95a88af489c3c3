"""How a machine comes into the fleet: the line that somebody runs there, and where the broker is for it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from runtime.settings.dashboard import DashboardSettings

SOMEWHERE: Final = "mqtts://SERVER"
"""What stands for an address that nobody has told us."""

_LINE: Final = "pip install '.[agent]' && dashfleet agent enrol --server {server}{trust} && dashfleet agent"
CA_NAME: Final = "ca.pem"


@dataclass(frozen=True, slots=True)
class Entrance:
    """Where machines and programs connect. `ca_file`: the authority that they must trust; None for the system's."""

    server: str = SOMEWHERE
    ca_file: Path | None = None

    @classmethod
    def of(cls, settings: DashboardSettings) -> "Entrance":
        """What the settings say; loopback is no address for another machine."""
        own = SOMEWHERE if settings.address.is_loopback else settings.server
        return cls(settings.machines_server or own, settings.ca_file)

    @property
    def is_known(self) -> bool:
        """Whether it is an address that machines can use."""
        return self.server != SOMEWHERE

    @property
    def line(self) -> str:
        """What to run on a machine, in a clone of DashFleet; it asks for the token, which is in no argument."""
        trusts = self.server.startswith("mqtts") and (self.ca_file is not None or not self.is_known)
        return _LINE.format(server=self.server, trust=f" --ca-file {CA_NAME}" if trusts else "")
