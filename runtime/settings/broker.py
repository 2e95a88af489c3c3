"""Settings of the brokers that this project runs."""

from pathlib import Path
from typing import Annotated, ClassVar

from pydantic import Field

from runtime.settings.address import Port, bracketed
from runtime.settings.part_settings import MachineId, PartSettings, Seconds
from runtime.urls import DatabaseUrl


class ListenerSettings(PartSettings):
    """Settings common to all brokers."""

    bind: str = Field("127.0.0.1", description="Address to listen on")
    port: Port = Field(1883, description="Port to listen on")
    database: DatabaseUrl = Field(description="SQLAlchemy URL of the fleet database, for the principals")
    certificate: Path | None = Field(None, description="Server certificate, PEM; if set, only TLS is accepted")
    private_key: Path | None = Field(None, description="Private key of the certificate, PEM, a file with mode 0600")
    insecure: bool = Field(False, description="Listen beyond loopback without TLS; for private networks only")
    max_packet_bytes: Annotated[int, Field(ge=1024, le=268_435_455)] = Field(
        256 << 10, description="Maximum packet size; a larger packet closes the connection"
    )
    max_connections: Annotated[int, Field(ge=1)] = Field(10_000, description="Maximum number of connections")

    @property
    def url(self) -> str:
        """The URL that clients connect to."""
        return f"{'mqtts' if self.certificate else 'mqtt'}://{bracketed(self.bind)}:{self.port}"


class WebSocketSettings(ListenerSettings):
    """Settings of a broker that also accepts WebSockets."""

    websocket_port: Port | None = Field(
        None, description="Port to listen on for MQTT over WebSockets, with the same TLS; none if unset"
    )

    @property
    def urls(self) -> str:
        """The URLs that clients connect to."""
        if self.websocket_port is None:
            return self.url
        return (
            f"{self.url} and {'wss' if self.certificate else 'ws'}://{bracketed(self.bind)}:{self.websocket_port}/mqtt"
        )


class BrokerSettings(WebSocketSettings):
    """Settings of the embedded broker."""

    part: ClassVar[str] = "broker"

    websocket_origins: tuple[str, ...] = Field(
        (), description="Origins of web pages that may connect, such as https://fleet.example.org; its own always may"
    )

    filters_per_packet: Annotated[int, Field(ge=1)] = Field(
        100, description="Maximum number of topic filters in one SUBSCRIBE or UNSUBSCRIBE; more closes the connection"
    )
    client_messages_per_second: Annotated[float, Field(gt=0)] = Field(
        500.0, description="Rate limit of one client in messages; a faster client is read from more slowly"
    )
    client_bytes_per_second: Annotated[float, Field(gt=0)] = Field(
        2 << 20, description="Rate limit of one client in bytes; a faster client is read from more slowly"
    )
    sessions_per_token: Annotated[int, Field(ge=1)] = Field(
        50, description="Maximum number of simultaneous connections with one enrolment token"
    )
    connect_seconds: Seconds = Field(10.0, description="Time limit from accepting a connection to its complete CONNECT")


class MosquittoSettings(WebSocketSettings):
    """Settings of `dashfleet mosquitto`, which runs Mosquitto and keeps it in sync with the principals."""

    part: ClassVar[str] = "mosquitto"

    program: Path = Field(Path("mosquitto"), description="Mosquitto executable; looked up on PATH unless absolute")
    directory: Path = Field(description="Directory for the generated configuration; its conf.d is for your own files")


class NatsSettings(ListenerSettings):
    """Settings of `dashfleet nats`, which runs one node of a NATS cluster and keeps it in sync with the principals."""

    part: ClassVar[str] = "nats"

    node: MachineId = Field("nats", description="Name of the node, unique in the cluster")
    cluster_listen: str | None = Field(
        None, description="Address to listen on for the other nodes, HOST:PORT, on a private network"
    )
    routes: list[str] = Field(default_factory=list, description="Addresses of the other nodes, HOST:PORT")
    directory: Path = Field(description="Directory for generated files and the data that NATS stores")
