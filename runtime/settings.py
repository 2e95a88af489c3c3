"""What can be set, for every part, and where it comes from.

Command line over environment (`DASHFLEET_<PART>_<FIELD>`) over configuration file (a TOML table per part) over default.

Invariants:
- A wrong setting stops the start with a sentence that names it (SettingsError); nothing is guessed or corrected.
- A secret, a password in a database's URL included, comes from the environment or from a file with mode 0600, never
  from the command line, and never appears in a repr, a log or a traceback.
- The models are plain pydantic; pydantic-settings is imported only to read the sources, so that the agent, which gets
  its settings resolved, does not carry it in memory.
"""

import ipaddress
import os
import ssl
import stat
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self, TypeVar, cast
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr, ValidationError, field_validator

from runtime import files
from runtime.errors import UserError
from runtime.urls import DatabaseUrl
from schemas.contract.messages import Labels, MetricName
from schemas.contract.named_commands import CommandLine
from schemas.contract.topics import ID_PATTERN, MACHINE_MAX_LENGTH, ORG_MAX_LENGTH

CONFIGURATION_FILE = "dashfleet.toml"
ALLOWED_ACTIONS = ("ping", "refresh", "message", "restart", "configure")
"""Unless the machine's owner says otherwise: what cannot harm it."""

Port = Annotated[int, Field(ge=1, le=65_535)]
OrgId = Annotated[str, Field(pattern=ID_PATTERN, max_length=ORG_MAX_LENGTH)]
MachineId = Annotated[str, Field(pattern=ID_PATTERN, max_length=MACHINE_MAX_LENGTH)]
IngestorName = Annotated[str, Field(pattern=r"^ingestor(-[a-z0-9]+)*$", max_length=MACHINE_MAX_LENGTH)]
Seconds = Annotated[float, Field(gt=0, le=86_400)]
CommandName = Annotated[str, Field(pattern=r"^[a-z0-9]([a-z0-9_-]{0,61}[a-z0-9])?$")]
HostName = Annotated[str, Field(pattern=r"^(\*|(\*\.)?[^*:/\s]+)$")]
GrantText = Annotated[str, Field(pattern=rf"{ID_PATTERN[:-1]}:(viewer|operator|admin)$")]
S = TypeVar("S", bound="Settings")


class SettingsError(UserError):
    """A setting is wrong; the message is one sentence for the person who set it."""


def is_loopback(host: str) -> bool:
    """Whether this address or name is of this machine itself."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


class Settings(BaseModel):
    """What all parts' settings share. `part` names the table in the file and the middle of the environment variable."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    part: ClassVar[str]

    data: Path = Field(description="The state directory, shared by the parts on one machine (DASHFLEET_DATA)")
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="The least level that is logged"
    )
    log_format: Literal["text", "json"] = Field("text", description="How a record is written, one line each")
    log_file: Path | None = Field(None, description="The file to log to; standard error unless given")
    log_file_max_bytes: Annotated[int, Field(ge=1 << 16)] = Field(
        10 << 20, description="A log file that would become larger is put aside, and a new one begun"
    )
    log_files_kept: Annotated[int, Field(ge=1, le=1000)] = Field(5, description="Log files put aside that are kept")


class ServerAddress(BaseModel):
    """Where the broker is, from an address such as mqtt://127.0.0.1:1883 or mqtts://fleet.example.org."""

    model_config = ConfigDict(frozen=True)

    host: str
    port: Port
    tls: bool

    @classmethod
    def parse(cls, url: str) -> Self:
        """Raises ValueError with a sentence when the address is not one."""
        parts = urlsplit(url)
        extra = (parts.path.removeprefix("/"), parts.query, parts.fragment)
        if parts.scheme not in ("mqtt", "mqtts") or not parts.hostname or any(extra) or parts.port == 0:
            raise ValueError("must look like mqtt://HOST:PORT or mqtts://HOST:PORT")
        if parts.username or parts.password:
            raise ValueError("must not carry a name or a password")
        tls = parts.scheme == "mqtts"
        return cls(host=parts.hostname, port=parts.port or (8883 if tls else 1883), tls=tls)

    @property
    def is_loopback(self) -> bool:
        """Whether what is sent there does not leave this machine."""
        return is_loopback(self.host)


def _address_or_none(url: str) -> str:
    """The address of a broker, or an empty text. Raises ValueError."""
    if url:
        ServerAddress.parse(url)
    return url


class ListenAddress(BaseModel):
    """Where to listen, from HOST:PORT with an IP address, or from a port alone: then on loopback."""

    model_config = ConfigDict(frozen=True)

    host: str
    port: Port

    @classmethod
    def parse(cls, text: str) -> Self:
        """Raises ValueError with a sentence when it is none."""
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
        """As it is written in a URL."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class ClientSettings(Settings):
    """What every part that connects to the broker needs."""

    server: str = Field(
        "mqtt://127.0.0.1:1883", description="The broker's address, mqtt://HOST:PORT or mqtts://HOST:PORT"
    )
    ca_file: Path | None = Field(
        None, description="The certificate authority to trust for mqtts, instead of the system's"
    )
    password: SecretStr | None = Field(None, description="The secret to connect with; environment only")
    password_file: Path | None = Field(None, description="A file with mode 0600 that holds the secret")
    keep_alive_seconds: Annotated[int, Field(ge=5, le=1200)] = Field(30, description="MQTT keep-alive")

    @field_validator("server")
    @classmethod
    def _is_an_address(cls, url: str) -> str:
        ServerAddress.parse(url)
        return url

    @field_validator("ca_file")
    @classmethod
    def _holds_certificates(cls, path: Path | None) -> Path | None:
        try:
            if path is not None:
                ssl.create_default_context(cafile=path)
        except ssl.SSLError:
            raise ValueError(f"there is no certificate in {path}: it must be PEM") from None
        except OSError as error:
            raise ValueError(f"cannot read {path}: {error.strerror}") from None
        return path

    @property
    def address(self) -> ServerAddress:
        """The parsed server address."""
        return ServerAddress.parse(self.server)

    def secret(self) -> str:
        """The password, from the environment or its file. Raises SettingsError when there is none or it is exposed."""
        if self.password is not None:
            return self.password.get_secret_value()
        if self.password_file is None:
            raise SettingsError(
                f"no password: set DASHFLEET_{self.part.upper()}_PASSWORD, or password_file to a file with mode 0600"
            )
        return read_secret(self.password_file)


class AgentSettings(ClientSettings):
    """The agent of one machine."""

    part: ClassVar[str] = "agent"

    org: OrgId = Field("home", description="The organisation the machine belongs to")
    machine: MachineId = Field(description="The machine's id in topics; the hostname's slug unless given")
    interval_seconds: Annotated[float, Field(ge=0.05, le=86_400)] = Field(10.0, description="Time between two samples")
    labels: Labels = Field(default_factory=dict, description="Labels to group machines by")
    disk_path: Path = Field(Path("/"), description="The file system whose usage is the disk vital")
    collector_timeout_seconds: Seconds = Field(
        2.0, description="How long the collectors of one sample may take together"
    )
    outbox_max_bytes: Annotated[int, Field(ge=1 << 20)] = Field(
        64 << 20, description="Size of the disk queue; oldest go first"
    )
    allowed_actions: list[MetricName] = Field(
        default_factory=lambda: list(ALLOWED_ACTIONS),
        description="What operators may have this machine do; only this file or its environment can change it",
    )
    commands: Annotated[dict[CommandName, CommandLine], Field(max_length=64)] = Field(
        default_factory=dict, description="Command lines by name, for the action run"
    )
    reboot_command: Annotated[list[str], Field(min_length=1)] | None = Field(
        None, description="argv of the action reboot; {minutes}, {seconds} and {notice} are filled in"
    )


class WatchSettings(ClientSettings):
    """`dashfleet watch`, a reader of one organisation."""

    part: ClassVar[str] = "watch"

    org: OrgId = Field("home", description="The organisation to watch")


class ActSettings(ClientSettings):
    """`dashfleet act` and `dashfleet commands cancel`: an operator of one organisation."""

    part: ClassVar[str] = "act"

    org: OrgId = Field("home", description="The organisation whose machines are meant")
    signing_keys: Path | None = Field(
        None, description="The directory of the private keys that sign orders, a file per organisation"
    )


class IngestorSettings(ClientSettings):
    """The ingestor."""

    part: ClassVar[str] = "ingestor"

    name: IngestorName = Field(
        "ingestor", description="What this one is called; each of several needs a name and secret of its own"
    )
    database: DatabaseUrl = Field(description="SQLAlchemy URL of the fleet's database")
    batch_max: Annotated[int, Field(ge=1, le=100_000)] = Field(2000, description="Messages in one transaction at most")
    ack_seconds: Seconds = Field(2.0, description="A machine's live samples are acked at most this often")
    dead_letter_max: Annotated[int, Field(ge=0)] = Field(10_000, description="Bad messages kept for inspection")
    machine_messages_per_minute: Annotated[int, Field(ge=1)] = Field(
        3_000, description="Of one machine or other client; what is more is dropped, unacknowledged"
    )
    machine_bytes_per_minute: Annotated[int, Field(ge=1 << 20)] = Field(64 << 20, description="The same, in bytes")
    org_messages_per_minute: Annotated[int, Field(ge=1)] = Field(
        300_000, description="Of all clients of one organisation together"
    )
    org_bytes_per_minute: Annotated[int, Field(ge=1 << 20)] = Field(1 << 30, description="The same, in bytes")
    metrics_listen: str | None = Field(
        None, description="Where /metrics and /healthz are answered, such as 127.0.0.1:9300; nowhere unless given"
    )

    @field_validator("metrics_listen")
    @classmethod
    def _is_a_place_to_listen(cls, text: str | None) -> str | None:
        if text is not None:
            ListenAddress.parse(text)
        return text

    @property
    def metrics_address(self) -> ListenAddress | None:
        """The parsed address for metrics."""
        return None if self.metrics_listen is None else ListenAddress.parse(self.metrics_listen)


class ListenerSettings(Settings):
    """What every broker that this project runs needs."""

    bind: str = Field("127.0.0.1", description="The address to listen on")
    port: Port = Field(1883, description="The port to listen on")
    database: DatabaseUrl = Field(description="SQLAlchemy URL of the fleet's database, for the principals")
    certificate: Path | None = Field(None, description="The certificate to listen with, PEM; then it speaks TLS only")
    private_key: Path | None = Field(None, description="The certificate's key, PEM, a file with mode 0600")
    insecure: bool = Field(False, description="Listen beyond loopback without TLS, on a network nobody else is on")
    max_packet_bytes: Annotated[int, Field(ge=1024, le=268_435_455)] = Field(
        256 << 10, description="Larger packets end the connection"
    )
    max_connections: Annotated[int, Field(ge=1)] = Field(10_000, description="Connections at once")

    @property
    def url(self) -> str:
        """Where clients find it."""
        host = f"[{self.bind}]" if ":" in self.bind else self.bind
        return f"{'mqtts' if self.certificate else 'mqtt'}://{host}:{self.port}"


class BrokerSettings(ListenerSettings):
    """The embedded broker."""

    part: ClassVar[str] = "broker"

    connect_seconds: Seconds = Field(10.0, description="Time from accepting a connection to its complete CONNECT")


class MosquittoSettings(ListenerSettings):
    """Mosquitto, run in step with the principals."""

    part: ClassVar[str] = "mosquitto"

    program: Path = Field(Path("mosquitto"), description="Mosquitto's program, found on the PATH unless absolute")
    directory: Path = Field(description="Where its configuration is written; conf.d in there is for your own lines")


class NatsSettings(ListenerSettings):
    """One node of a NATS cluster, told in step with the principals."""

    part: ClassVar[str] = "nats"

    node: MachineId = Field("nats", description="The node's name, of its own in the cluster")
    cluster_listen: str | None = Field(
        None, description="Where this node listens for the others, HOST:PORT, on a network of their own"
    )
    routes: list[str] = Field(default_factory=list, description="Where the other nodes listen for this one, HOST:PORT")
    directory: Path = Field(description="Where its files are written, and NATS keeps what it stores")


class DashboardSettings(ClientSettings):
    """The dashboard."""

    part: ClassVar[str] = "dashboard"

    bind: str = Field("127.0.0.1", description="The address to listen on")
    port: Port = Field(8501, description="The port to listen on")
    insecure: bool = Field(False, description="Serve plain HTTP beyond loopback, behind a proxy that adds TLS")
    hosts: list[HostName] = Field(
        default_factory=list,
        description="Names to answer to beside loopback's, such as a proxy's; *.example.org for all below",
    )
    database: DatabaseUrl = Field(description="SQLAlchemy URL of the fleet's database, opened read-only")
    auth_database: DatabaseUrl = Field(description="SQLAlchemy URL of the people and their sessions")
    signing_keys: Path | None = Field(
        None, description="The directory of the private keys that sign orders, a file per organisation"
    )
    machines_server: Annotated[str, AfterValidator(_address_or_none)] = Field(
        "", description="The broker's address as machines reach it, for the line that installs one; as server"
    )
    refresh_seconds: Seconds = Field(5.0, description="Time between two refreshes of a page")
    session_idle_seconds: Annotated[int, Field(ge=60)] = Field(
        8 * 3600, description="A session not used for so long ends"
    )
    session_max_seconds: Annotated[int, Field(ge=60)] = Field(
        7 * 86_400, description="A session ends after this in any case"
    )
    oidc_issuer: str = Field(
        "", description="The OpenID Connect provider to sign in with; none unless given, as https://login.example.org"
    )
    oidc_client_id: str = Field("", description="What the provider calls this dashboard")
    oidc_secret_file: Path | None = Field(
        None, description="The file with the client's secret; a public client has none"
    )
    oidc_scope: str = Field("openid profile email", description="What is asked of the provider")
    oidc_claim: str = Field("groups", description="What the provider says that decides who may do what")
    oidc_grants: dict[str, GrantText] = Field(
        default_factory=dict, description="For a value of that claim, ORG:ROLE; nobody else is let in"
    )

    @property
    def oidc_host(self) -> str:
        """The provider's host; empty when there is no provider."""
        return urlsplit(self.oidc_issuer).hostname or ""

    @field_validator("oidc_issuer")
    @classmethod
    def _is_reached_safely(cls, text: str) -> str:
        address = urlsplit(text)
        encrypted = address.scheme == "https" or (address.scheme == "http" and is_loopback(address.hostname or ""))
        if text and not (encrypted and address.hostname):
            raise ValueError("must look like https://login.example.org, as people are vouched for from there")
        return text


def load(
    kind: type[S],
    data: Path,
    given: Mapping[str, Any] | None = None,
    *,
    defaults: Mapping[str, Any] | None = None,
    configuration: Path | None = None,
) -> S:
    """Settings of a part from the command line (`given`, None for what was not given), environment, file and defaults.

    `data` is the state directory; `configuration` the file, by default `dashfleet.toml` in there, if there is one;
    `defaults` replace those of the model. Raises SettingsError.
    """
    from pydantic_settings import BaseSettings, InitSettingsSource, PydanticBaseSettingsSource, SettingsConfigDict
    from pydantic_settings.exceptions import SettingsError as SourceError

    chosen = {name: value for name, value in (given or {}).items() if value is not None}
    prefix = f"DASHFLEET_{kind.part.upper()}_"
    for name in _with_password(kind, chosen):
        raise SettingsError(
            f"the {name} on the command line has a password, which other users can see: move the URL to {prefix}"
            f"{name.upper()} or to [{kind.part}] in a configuration file with mode 0600, or the password to a passfile"
        )
    table = _table(kind, configuration or data / CONFIGURATION_FILE, required=configuration is not None)

    class Sources(kind, BaseSettings):  # type: ignore[valid-type, misc]  # the model is chosen at run time
        model_config = SettingsConfigDict(env_prefix=prefix)

        @classmethod
        def settings_customise_sources(
            cls,
            settings_cls: type[BaseSettings],
            init_settings: PydanticBaseSettingsSource,
            env_settings: PydanticBaseSettingsSource,
            dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - not a source here
            file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - not a source here
        ) -> tuple[PydanticBaseSettingsSource, ...]:
            others = ({"data": data}, table, dict(defaults or {}))
            first, *rest = (InitSettingsSource(settings_cls, init_kwargs=dict(values)) for values in others)
            return first, init_settings, env_settings, *rest

    try:
        return cast("S", kind.model_construct(**dict(Sources(**chosen))))
    except ValidationError as error:
        raise SettingsError(_sentence(kind, error)) from None
    except SourceError as error:  # only tables and lists are read as JSON
        raise SettingsError(f"an environment variable {prefix}… is not valid JSON: {error}") from None


def _table(kind: type[Settings], path: Path, *, required: bool) -> dict[str, Any]:
    """The part's table in the configuration file; empty when there is no file or no such table."""
    part = kind.part
    try:
        with path.open("rb") as file:
            table = tomllib.load(file).get(part, {})
            exposed = _others_may_read(os.fstat(file.fileno()))
    except FileNotFoundError:
        if required:
            raise SettingsError(f"there is no configuration file {path}") from None
        return {}
    except (OSError, ValueError) as error:
        raise SettingsError(f"cannot read the configuration file {path}: {error}") from None
    if not isinstance(table, dict):
        raise SettingsError(f"[{part}] in {path} must be a table")
    if "password" in table:
        raise SettingsError(f"{path} holds a password: move it to a file with mode 0600 and name that in password_file")
    if exposed and _with_password(kind, table):
        raise SettingsError(f"{path} holds a database's password and can be read by others: run chmod 600 {path}")
    return table


def _with_password(kind: type[Settings], values: Mapping[str, Any]) -> list[str]:
    """The names of those values that are a database's URL with a password."""
    names = [name for name, field in kind.model_fields.items() if field.annotation is DatabaseUrl]
    return [name for name in names if DatabaseUrl(str(values.get(name, ""))).has_password]


def _sentence(kind: type[Settings], error: ValidationError) -> str:
    first = error.errors(include_input=False, include_url=False)[0]
    name = ".".join(str(level) for level in first["loc"])
    variable = f"DASHFLEET_{kind.part.upper()}_{str(first['loc'][0]).upper()}"
    if first["type"] == "extra_forbidden":
        return f"there is no setting {name} for the {kind.part}: remove it from [{kind.part}] in {CONFIGURATION_FILE}"
    return f"the {kind.part}'s setting {name} ({variable}) is wrong: {first['msg'].removeprefix('Value error, ')}"


def masked(settings: Settings) -> str:
    """The effective settings as TOML-like lines, with secrets masked."""
    values = settings.model_dump(mode="json")
    return "\n".join(f"{name} = {values[name]!r}" for name in type(settings).model_fields)


def read_secret(path: Path) -> str:
    """The first line of a secret file. Raises SettingsError when it cannot be read or others could read it too."""
    try:
        require_private(path)
        secret = path.read_text().strip().partition("\n")[0].strip()
    except OSError as error:
        raise SettingsError(f"cannot read the secret in {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise SettingsError(f"cannot read the secret in {path}: it is not text") from None
    if not secret:
        raise SettingsError(f"there is no secret in {path}: the file is empty")
    return secret


def require_private(path: Path) -> None:
    """Raise SettingsError unless only its owner can read this file, FileNotFoundError when there is none."""
    if _others_may_read(path.stat()):
        raise SettingsError(f"{path} can be read by others: run chmod 600 {path}")


def write_secret(path: Path, secret: str) -> None:
    """Write a secret to a file that only its owner can read, from the moment it exists."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    files.replace(path, secret + "\n")


def _others_may_read(found: os.stat_result) -> bool:
    return os.name == "posix" and bool(stat.S_IMODE(found.st_mode) & 0o077)
