"""Settings of the bridge to Home Assistant."""

from pathlib import Path
from typing import Annotated, ClassVar

from pydantic import Field, SecretStr

from runtime.errors import SettingsError
from runtime.settings.address import OptionalServerUrl, ServerAddress
from runtime.settings.client import CaFile, ClientSettings
from runtime.settings.part_settings import OrgId, Seconds
from runtime.settings.secret_files import read_secret

ActionName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,62}$")]
DeviceKind = Annotated[str, Field(min_length=1, max_length=32)]


class HomeAssistantSettings(ClientSettings):
    """Settings of `dashfleet homeassistant`, which connects as a reader, or as an operator if it has buttons."""

    part: ClassVar[str] = "homeassistant"

    org: OrgId = Field("home", description="Organisation to show")
    to: OptionalServerUrl = Field(
        "", description="URL of Home Assistant's broker, mqtt://HOST:PORT or mqtts://HOST:PORT"
    )
    to_username: str = Field("dashfleet", description="User name at Home Assistant's broker; empty for none")
    to_password: SecretStr | None = Field(None, description="Password at Home Assistant's broker; environment only")
    to_password_file: Path | None = Field(None, description="File with mode 0600 that holds this password")
    to_ca_file: CaFile = Field(
        None, description="CA certificate to trust for mqtts to it, PEM; the system's CA certificates if unset"
    )
    discovery_prefix: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")] = Field(
        "homeassistant", description="Discovery prefix that Home Assistant is configured with"
    )
    interval_seconds: Seconds = Field(60.0, description="Minimum time between two updates of a machine's readings")
    devices: tuple[DeviceKind, ...] = Field(
        ("battery", "disk", "fan", "gpu", "mount", "sensor", "ups"),
        description="Kinds of devices whose readings become sensors",
    )
    buttons: tuple[ActionName, ...] = Field((), description="Actions that become buttons; needs an operator's secret")
    signing_keys: Path | None = Field(
        None, description="Directory of the private keys that sign orders, one file per organisation"
    )

    @property
    def target(self) -> ServerAddress:
        """The parsed URL of Home Assistant's broker. Raises SettingsError if it is unset."""
        if not self.to:
            raise SettingsError(
                "name the broker of Home Assistant: --to mqtt://HOST, or to in [homeassistant] of dashfleet.toml"
            )
        return ServerAddress.parse(self.to)

    @property
    def needs_password(self) -> bool:
        """Whether there is a user name without a password."""
        return bool(self.to_username) and self.to_password is None and self.to_password_file is None

    def target_secret(self) -> str:
        """Return the password at Home Assistant's broker, empty without a user name. Raises SettingsError if unset."""
        if self.to_password is not None:
            return self.to_password.get_secret_value()
        if not self.to_username:
            return ""
        if self.to_password_file is None:
            raise SettingsError(
                f"no password for {self.to_username} at {self.to}: set DASHFLEET_HOMEASSISTANT_TO_PASSWORD, or "
                "to_password_file to a file with mode 0600"
            )
        return read_secret(self.to_password_file)

    def signing_key(self) -> str:
        """Return the private key that signs orders. Raises SettingsError if there is none."""
        return read_secret((self.signing_keys or self.data) / self.org)
