"""Commands that run one part each, except the agent's (`cli.agent`), and a check of the ingestor's health."""

from collections.abc import Callable
from importlib import import_module
from inspect import Parameter, Signature, getdoc
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.options import CLOCK, Check, Configuration, Data, Database, Server
from cli.settings import data_directory, effective, fleet_database
from cli.up.part_start import start_part

if TYPE_CHECKING:
    from broker.access.principals import TableDirectory
    from runtime.settings.broker import BrokerSettings, ListenerSettings, MosquittoSettings, NatsSettings
    from runtime.settings.dashboard import DashboardSettings
    from runtime.settings.homeassistant import HomeAssistantSettings
    from runtime.settings.notifier import NotifierSettings
    from runtime.settings.part_settings import PartSettings

app = typer.Typer()

_LISTENER = {
    "bind": Annotated[str | None, typer.Option(help="Address to listen on.")],
    "port": Annotated[int | None, typer.Option(help="Port to listen on.", min=1, max=65_535)],
    "database": Database,
}
_BROKER = {
    **_LISTENER,
    "certificate": Annotated[Path | None, typer.Option(help="Server certificate, PEM; enables TLS.")],
    "private_key": Annotated[Path | None, typer.Option(help="Private key of the certificate, PEM.")],
    "insecure": Annotated[bool | None, typer.Option("--insecure", help="Allow listening beyond loopback without TLS.")],
}
_CLUSTER = {
    "node": Annotated[str | None, typer.Option(help="Name of the node in the cluster.")],
    "cluster_listen": Annotated[str | None, typer.Option(help="Address to listen on for the other nodes, HOST:PORT.")],
    "routes": Annotated[
        list[str] | None, typer.Option("--route", help="Address of another node, HOST:PORT; may be repeated.")
    ],
}


def part_command(kind: str, **options: Any) -> Callable[[Callable[[Any], None]], None]:  # noqa: ANN401 - types
    """Register a function as the command that runs a part, with its settings.

    `kind` names the settings, which are imported when the command runs; `options` are the types of the options that
    set them, by setting.
    """

    def register(run: Callable[[Any], None]) -> None:
        def command(data: Path | None, config: Path | None, check: bool, **given: object) -> None:
            module, name = kind.split(".")
            given = {setting: None if value == [] else value for setting, value in given.items()}
            settings = effective(
                getattr(import_module(f"runtime.settings.{module}"), name), data, config, check=check, **given
            )
            start_part(settings, lambda settings: _with_log(settings, run))

        types = {"data": Data, "config": Configuration, **options, "check": Check}
        command.__annotations__ = types
        command.__signature__ = Signature(  # type: ignore[attr-defined]  # read by Typer
            [
                Parameter(name, Parameter.KEYWORD_ONLY, default=False if name == "check" else None, annotation=type_)
                for name, type_ in types.items()
            ]
        )
        app.command(run.__name__, help=getdoc(run))(command)

    return register


@part_command("broker.BrokerSettings", **_BROKER)
def broker(settings: "BrokerSettings") -> None:
    """Run the embedded broker."""
    from broker.embedded.server import run
    from runtime.process import notify_ready, release_memory, watch_supervisor

    def announce() -> None:
        release_memory()
        notify_ready(settings.urls)

    principals = _open_principals(settings)
    watch_supervisor()
    run(settings, principals, announce)


@part_command("broker.MosquittoSettings", **_BROKER)
def mosquitto(settings: "MosquittoSettings") -> None:
    """Run Mosquitto and keep it in sync with the principals and access rules."""
    from broker.external.follow import run
    from broker.external.mosquitto_process import Mosquitto
    from runtime.process import StopSignal, notify_ready

    mosquitto, stop = Mosquitto(settings, _open_principals(settings)), StopSignal()
    run(mosquitto, lambda: notify_ready(settings.urls), stopping=lambda: stop.received)


@part_command("broker.NatsSettings", **_BROKER, **_CLUSTER)
def nats(settings: "NatsSettings") -> None:
    """Write the configuration of a NATS node and keep it in sync with the principals and access rules."""
    from broker.external.follow import run
    from broker.external.nats_process import NatsFiles
    from runtime.process import StopSignal, notify_ready

    files, stop = NatsFiles(settings, _open_principals(settings)), StopSignal()
    start = f"nats-server -c {settings.directory / 'nats.conf'}"
    run(files, lambda: notify_ready(start), stopping=lambda: stop.received)


@app.command()
def ingestor(
    data: Data = None,
    config: Configuration = None,
    server: Server = None,
    database: Database = None,
    name: Annotated[
        str | None,
        typer.Option(help="Name of this ingestor; must be unique if there are several.", show_default="ingestor"),
    ] = None,
    check: Check = False,
) -> None:
    """Run the ingestor, which stores what machines publish and decides presence."""
    from runtime.settings.ingestor import IngestorSettings
    from runtime.state_directory import StateDirectory

    given = {"server": server, "database": database, "name": name}
    secret = StateDirectory(data_directory(data)).secret(name) if name is not None else None
    password_file = secret if secret and secret.exists() else None
    settings = effective(IngestorSettings, data, config, check=check, **given, password_file=password_file)
    start_part(settings, lambda settings: _with_log(settings, import_module("ingestor.run").run))


@part_command("dashboard.DashboardSettings", **_LISTENER)
def dashboard(settings: "DashboardSettings") -> None:
    """Run the dashboard."""
    from dashboard.server.app import run
    from runtime.process import notify_ready, watch_supervisor
    from schemas.database.engine import open_engine, require_current

    require_current(open_engine(settings.database.get_secret_value(), read_only=True))
    watch_supervisor()
    run(settings, lambda: notify_ready(settings.url))


@part_command("notifier.NotifierSettings", server=Server, database=Database)
def notifier(settings: "NotifierSettings") -> None:
    """Run the notifier, which sends messages about alerts to people and services."""
    from runtime.extras import require_extra

    require_extra("notifier")
    from notifier.run import run
    from schemas.database.engine import open_engine, require_current

    require_current(open_engine(settings.database.get_secret_value(), read_only=True))
    run(settings)


@part_command(
    "homeassistant.HomeAssistantSettings",
    org=Annotated[str | None, typer.Option(help="Organisation.", show_default="home")],
    server=Server,
    to=Annotated[str | None, typer.Option(help="URL of Home Assistant's broker.")],
    to_username=Annotated[str | None, typer.Option(help="User name at that broker.", show_default="dashfleet")],
    buttons=Annotated[
        list[str] | None,
        typer.Option("--button", help="Action that becomes a button of each machine; may be repeated."),
    ],
)
def homeassistant(settings: "HomeAssistantSettings") -> None:
    """Show an organisation's machines in Home Assistant, through its MQTT discovery."""
    from bridges.homeassistant.run import run

    run(settings)


@app.command()
def heartbeat(data: Data = None, database: Database = None) -> None:
    """Check that an ingestor is running and connected to the broker; exit with 1 if not. For health checks."""
    from schemas.database.queries.heartbeat import find_trouble

    with fleet_database(data, database, read_only=True) as engine:
        trouble = find_trouble(engine, now=CLOCK.now())
    typer.echo(trouble or "an ingestor is running and connected to the broker")
    raise typer.Exit(1 if trouble else 0)


def _with_log(settings: "PartSettings", run: Callable[[Any], None]) -> None:
    from runtime.logging_setup import start_logging

    start_logging(settings)
    run(settings)


def _open_principals(settings: "ListenerSettings") -> "TableDirectory":
    from broker.access.principals import TableDirectory
    from schemas.database.engine import open_engine, require_current

    engine = open_engine(settings.database.get_secret_value(), read_only=True)
    require_current(engine)
    return TableDirectory(engine)
