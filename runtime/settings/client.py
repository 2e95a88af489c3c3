"""Settings of parts and commands that connect to the broker."""

import ssl
from pathlib import Path
from typing import Annotated, ClassVar

from pydantic import AfterValidator, Field, SecretStr

from runtime.errors import SettingsError
from runtime.settings.address import ServerAddress, ServerUrl
from runtime.settings.part_settings import OrgId, PartSettings
from runtime.settings.secret_files import read_secret


def _require_certificates(path: Path | None) -> Path | None:
    try:
        if path is not None:
            ssl.create_default_context(cafile=path)
    except ssl.SSLError:
        raise ValueError(f"there is no certificate in {path}: it must be PEM") from None
    except OSError as error:
        raise ValueError(f"cannot read {path}: {error.strerror}") from None
    return path


CaFile = Annotated[Path | None, AfterValidator(_require_certificates)]
"""File of CA certificates, which must exist and be PEM."""


class ClientSettings(PartSettings):
    """Settings of every MQTT client."""

    server: ServerUrl = Field("mqtt://127.0.0.1:1883", description="Broker URL, mqtt://HOST:PORT or mqtts://HOST:PORT")
    ca_file: CaFile = Field(
        None, description="CA certificate to trust for mqtts, PEM; the system's CA certificates if unset"
    )
    password: SecretStr | None = Field(None, description="Secret to connect with; environment only")
    password_file: Path | None = Field(None, description="File with mode 0600 that holds the secret")
    keep_alive_seconds: Annotated[int, Field(ge=5, le=1200)] = Field(30, description="MQTT keep-alive")

    @property
    def address(self) -> ServerAddress:
        """The parsed server URL."""
        return ServerAddress.parse(self.server)

    def secret(self) -> str:
        """Return the password, from the environment or its file. Raises SettingsError if unset or exposed."""
        if self.password is not None:
            return self.password.get_secret_value()
        if self.password_file is None:
            raise SettingsError(
                f"no password: set DASHFLEET_{self.part.upper()}_PASSWORD, or password_file to a file with mode 0600"
            )
        return read_secret(self.password_file)


class WatchSettings(ClientSettings):
    """Settings of `dashfleet watch`, which connects as a reader."""

    part: ClassVar[str] = "watch"

    org: OrgId = Field("home", description="Organisation to watch")


class ActSettings(ClientSettings):
    """Settings of `dashfleet act` and `dashfleet commands cancel`, which connect as an operator."""

    part: ClassVar[str] = "act"

    org: OrgId = Field("home", description="Organisation of the machines")
    signing_keys: Path | None = Field(
        None, description="Directory of the private keys that sign orders, one file per organisation"
    )
