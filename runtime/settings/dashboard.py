"""Settings of the dashboard."""

import re
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, ClassVar, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, field_validator

from runtime.settings.address import OptionalServerUrl, Port, bracketed
from runtime.settings.client import ClientSettings
from runtime.settings.loopback import is_loopback
from runtime.settings.part_settings import Seconds
from runtime.urls import DatabaseUrl
from schemas.contract.topics import ID_PATTERN

_ADDRESS = re.compile(r"[A-Za-z0-9:/._~\[\]-]+")
"""Characters of a URL that need no quotes in a shell."""

HostName = Annotated[str, Field(pattern=r"^(\*|(\*\.)?[^*:/\s]+)$")]


def _network(text: str) -> str:
    try:
        ip_network(text, strict=False)
    except ValueError:
        raise ValueError("must be an IP address or a network, such as 10.0.0.5 or 10.0.0.0/24") from None
    return text


def _http_address(text: str) -> str:
    parts = urlsplit(text)
    if text and not (parts.scheme in ("http", "https") and parts.hostname and _ADDRESS.fullmatch(text)):
        raise ValueError("must look like https://fleet.example.org")
    return text.rstrip("/")


ProxyAddress = Annotated[str, AfterValidator(_network)]
HttpUrlText = Annotated[str, AfterValidator(_http_address)]
UserRoleName = Literal["viewer", "operator", "admin"]
GrantText = Annotated[str, Field(pattern=rf"{ID_PATTERN[:-1]}:(viewer|operator|admin)$")]


class DashboardSettings(ClientSettings):
    """Settings of the dashboard."""

    part: ClassVar[str] = "dashboard"

    bind: str = Field("127.0.0.1", description="Address to listen on")
    port: Port = Field(8501, description="Port to listen on")
    insecure: bool = Field(False, description="Serve plain HTTP beyond loopback, behind a proxy that terminates TLS")
    hosts: list[HostName] = Field(
        default_factory=list,
        description="Accepted host names in addition to loopback, such as a proxy's; *.example.org for all subdomains",
    )
    base_path: str = Field(
        "",
        pattern=r"^((/[A-Za-z0-9._~-]+)+)?$",
        description="Path below which a proxy serves the dashboard, such as /fleet; none if empty",
    )
    proxies: list[ProxyAddress] = Field(
        default_factory=list,
        description="Addresses and networks of proxies whose X-Forwarded-For and X-Forwarded-Proto headers are used",
    )
    database: DatabaseUrl = Field(description="SQLAlchemy URL of the fleet database, opened read-only")
    auth_database: DatabaseUrl = Field(description="SQLAlchemy URL of the database of users and their sessions")
    key_file: Path | None = Field(
        None,
        description="File with mode 0600 of the key that encrypts the URLs of destinations; no destinations if unset",
    )
    signing_keys: Path | None = Field(
        None, description="Directory of the private keys that sign orders, one file per organisation"
    )
    machines_server: OptionalServerUrl = Field(
        "", description="Broker URL as seen from machines, for the install command shown; same as server if empty"
    )
    url_for_machines: HttpUrlText = Field(
        "",
        description="URL at which machines reach the dashboard, for the install command, such as "
        "https://fleet.example.org; the address in the browser if empty",
    )
    bundle: Path | None = Field(
        None, description="Directory of the files that machines install from; bundle in the state directory if unset"
    )
    refresh_seconds: Seconds = Field(5.0, description="Time between two refreshes of a page")
    query_seconds: Annotated[float, Field(gt=0, le=3600)] = Field(5.0, description="Time limit of one query of a page")
    api_requests_per_minute: Annotated[int, Field(ge=1, le=1_000_000)] = Field(
        600, description="Requests per minute of one token of the HTTP API, which may also come at once"
    )
    chart_samples_max: Annotated[int, Field(ge=1000)] = Field(
        50_000, description="Samples that the charts of a machine read; if there are more, they show minutes"
    )
    session_idle_seconds: Annotated[int, Field(ge=60)] = Field(
        8 * 3600, description="Time without use after which a session ends"
    )
    session_max_seconds: Annotated[int, Field(ge=60)] = Field(7 * 86_400, description="Maximum lifetime of a session")
    second_factor_roles: list[UserRoleName] = Field(
        default_factory=list,
        description="Roles whose users with a password must have a second factor, which is otherwise optional",
    )
    password_min_length: Annotated[int, Field(ge=12, le=128)] = Field(
        12, description="Minimum length of a password that a user chooses"
    )
    oidc_issuer: str = Field(
        "", description="OpenID Connect provider for single sign-on, such as https://login.example.org; off if empty"
    )
    oidc_client_id: str = Field("", description="Client id of this dashboard at the provider")
    oidc_secret_file: Path | None = Field(None, description="File with the client secret; a public client has none")
    oidc_scope: str = Field("openid profile email", description="Scopes to request from the provider")
    oidc_claim: str = Field("groups", description="Claim that determines a user's role")
    oidc_grants: dict[str, GrantText] = Field(
        default_factory=dict, description="Map from a value of the claim to ORG:ROLE; other users are denied"
    )

    @property
    def url(self) -> str:
        """The URL that browsers on this machine open."""
        return f"http://{bracketed(self.bind)}:{self.port}"

    @property
    def oidc_host(self) -> str:
        """The provider's host name; empty without a provider."""
        return urlsplit(self.oidc_issuer).hostname or ""

    @field_validator("oidc_issuer")
    @classmethod
    def _require_encryption(cls, text: str) -> str:
        address = urlsplit(text)
        encrypted = address.scheme == "https" or (address.scheme == "http" and is_loopback(address.hostname or ""))
        if text and not (encrypted and address.hostname):
            raise ValueError("must look like https://login.example.org: identities are asserted by that host")
        return text
