"""Addresses in settings: of a broker to connect to, and of a socket to listen on."""

import ipaddress
from collections.abc import Callable
from typing import Annotated, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from runtime.settings.loopback import is_loopback

Port = Annotated[int, Field(ge=1, le=65_535)]


def bracketed(host: str) -> str:
    """Return a host name or address as written in a URL: an IPv6 address in brackets."""
    return f"[{host}]" if ":" in host else host


class ServerAddress(BaseModel):
    """Address of a broker, such as mqtt://127.0.0.1:1883 or mqtts://fleet.example.org."""

    model_config = ConfigDict(frozen=True)

    host: str
    port: Port
    tls: bool

    @classmethod
    def parse(cls, url: str) -> Self:
        """Parse a URL. Raises ValueError."""
        parts = urlsplit(url)
        extra = (parts.path.removeprefix("/"), parts.query, parts.fragment)
        if parts.scheme not in ("mqtt", "mqtts") or not parts.hostname or any(extra) or parts.port == 0:
            raise ValueError("must look like mqtt://HOST:PORT or mqtts://HOST:PORT")
        if parts.username or parts.password:
            raise ValueError("must not contain a user name or password")
        tls = parts.scheme == "mqtts"
        return cls(host=parts.hostname, port=parts.port or (8883 if tls else 1883), tls=tls)

    @property
    def is_loopback(self) -> bool:
        """Whether traffic to this address stays on this machine."""
        return is_loopback(self.host)


class ListenAddress(BaseModel):
    """Address to listen on: HOST:PORT with an IP address, or a port alone for loopback."""

    model_config = ConfigDict(frozen=True)

    host: str
    port: Port

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse an address. Raises ValueError."""
        host, _, port = text.rpartition(":")
        try:
            address = ipaddress.ip_address(host.removeprefix("[").removesuffix("]") if host else "127.0.0.1")
            bracketed = host.startswith("[") and host.endswith("]")
            if bracketed == (address.version == 6) and port.isascii() and port.isdecimal():
                return cls(host=str(address), port=int(port))
        except ValueError:
            pass
        raise ValueError("must look like 127.0.0.1:9300 or [::1]:9300, or be a port, for loopback")

    def __str__(self) -> str:
        return f"{bracketed(self.host)}:{self.port}"


def _parsed_by(parse: Callable[[str], object]) -> AfterValidator:
    def validate(text: str) -> str:
        parse(text)
        return text

    return AfterValidator(validate)


ServerUrl = Annotated[str, _parsed_by(ServerAddress.parse)]
ListenText = Annotated[str, _parsed_by(ListenAddress.parse)]
OptionalServerUrl = Annotated[str, _parsed_by(lambda url: url and ServerAddress.parse(url))]
"""A ServerUrl or an empty string."""
