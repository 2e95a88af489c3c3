"""Commands that run one part each: broker, ingestor, dashboard (the agent's are in `cli.agent`), and their health."""

from typing import TYPE_CHECKING, Annotated

import typer

from cli.options import (
    CLOCK,
    Bind,
    Certificate,
    Check,
    Configuration,
    Data,
    Database,
    Insecure,
    Port,
    PrivateKey,
    Server,
)
from cli.settings import data_directory, effective, fleet_database

if TYPE_CHECKING:
    from broker.access.principals import TableDirectory
    from runtime.settings.broker import ListenerSettings

app = typer.Typer()


@app.command()
def broker(
    data: Data = None,
    config: Configuration = None,
    bind: Bind = None,
    port: Port = None,
    database: Database = None,
    certificate: Certificate = None,
    private_key: PrivateKey = None,
    insecure: Insecure = None,
    check: Check = False,
) -> None:
    """Run the embedded broker."""
    from runtime.settings.broker import BrokerSettings

    given = {"bind": bind, "port": port, "database": database, "insecure": insecure}
    files = {"certificate": certificate, "private_key": private_key}
    settings = effective(BrokerSettings, data, config, check=check, **given, **files)
    from broker.embedded.server import run
    from runtime.process import notify_ready, watch_supervisor

    principals = _open_principals(settings)
    watch_supervisor()
    run(settings, principals, lambda: notify_ready(settings.url))


@app.command()
def mosquitto(
    data: Data = None,
    config: Configuration = None,
    bind: Bind = None,
    port: Port = None,
    database: Database = None,
    certificate: Certificate = None,
    private_key: PrivateKey = None,
    insecure: Insecure = None,
    check: Check = False,
) -> None:
    """Run Mosquitto and keep it in sync with the principals and access rules."""
    from runtime.settings.broker import MosquittoSettings

    given = {"bind": bind, "port": port, "database": database, "insecure": insecure}
    files = {"certificate": certificate, "private_key": private_key}
    settings = effective(MosquittoSettings, data, config, check=check, **given, **files)
    from broker.external.follow import run
    from broker.external.mosquitto_process import Mosquitto
    from runtime.process import StopSignal, notify_ready

    principals, stop = _open_principals(settings), StopSignal()
    run(Mosquitto(settings, principals), lambda: notify_ready(settings.url), stopping=lambda: stop.received)


@app.command()
def nats(
    data: Data = None,
    config: Configuration = None,
    node: Annotated[str | None, typer.Option(help="Name of the node in the cluster.")] = None,
    bind: Bind = None,
    port: Port = None,
    database: Database = None,
    certificate: Certificate = None,
    private_key: PrivateKey = None,
    insecure: Insecure = None,
    cluster_listen: Annotated[
        str | None, typer.Option(help="Address to listen on for the other nodes, HOST:PORT.")
    ] = None,
    route: Annotated[
        list[str] | None, typer.Option(help="Address of another node, HOST:PORT; may be repeated.")
    ] = None,
    check: Check = False,
) -> None:
    """Write the configuration of a NATS node and keep it in sync with the principals and access rules."""
    from runtime.settings.broker import NatsSettings

    given = {"node": node, "bind": bind, "port": port, "database": database, "insecure": insecure}
    nodes = {"cluster_listen": cluster_listen, "routes": route or None}
    files = {"certificate": certificate, "private_key": private_key}
    settings = effective(NatsSettings, data, config, check=check, **given, **nodes, **files)
    from broker.external.follow import run
    from broker.external.nats_process import NatsFiles
    from runtime.process import StopSignal, notify_ready

    principals, stop = _open_principals(settings), StopSignal()
    start = f"nats-server -c {settings.directory / 'nats.conf'}"
    run(NatsFiles(settings, principals), lambda: notify_ready(start), stopping=lambda: stop.received)


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
    from ingestor.run import run
    from runtime.logging_setup import start_logging

    start_logging(settings)
    run(settings)


@app.command()
def dashboard(
    data: Data = None,
    config: Configuration = None,
    bind: Bind = None,
    port: Port = None,
    database: Database = None,
    check: Check = False,
) -> None:
    """Run the dashboard."""
    from runtime.settings.dashboard import DashboardSettings

    settings = effective(DashboardSettings, data, config, check=check, bind=bind, port=port, database=database)
    from dashboard.server.app import run
    from runtime.logging_setup import start_logging
    from runtime.process import notify_ready, watch_supervisor
    from schemas.database.engine import open_engine, require_current

    start_logging(settings)
    require_current(open_engine(settings.database.get_secret_value(), read_only=True))
    watch_supervisor()
    run(settings, lambda: notify_ready(f"http://{settings.bind}:{settings.port}"))


@app.command()
def heartbeat(data: Data = None, database: Database = None) -> None:
    """Check that an ingestor is running and connected to the broker; exit with 1 if not. For health checks."""
    from schemas.database.queries.heartbeat import find_trouble

    with fleet_database(data, database, read_only=True) as engine:
        trouble = find_trouble(engine, now=CLOCK.now())
    typer.echo(trouble or "an ingestor is running and connected to the broker")
    raise typer.Exit(1 if trouble else 0)


def _open_principals(settings: "ListenerSettings") -> "TableDirectory":
    """Start logging and open the table of principals."""
    from broker.access.principals import TableDirectory
    from runtime.logging_setup import start_logging
    from schemas.database.engine import open_engine, require_current

    start_logging(settings)
    engine = open_engine(settings.database.get_secret_value(), read_only=True)
    require_current(engine)
    return TableDirectory(engine)
