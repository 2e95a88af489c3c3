"""Running the parts: all together, or one alone."""

import os
import time
from contextlib import suppress
from pathlib import Path
from typing import Annotated

import typer

from cli.options import (
    Check,
    Configuration,
    Data,
    Database,
    PortOption,
    Server,
    data_directory,
    effective,
    fleet_database,
)

app = typer.Typer()


@app.command()
def up(
    data: Data = None,
    broker_port: Annotated[
        int | None,
        typer.Option(
            help="The port of the embedded broker.", min=1, max=65_535, show_default="1883, 8883 with --listen"
        ),
    ] = None,
    dashboard_port: Annotated[int, typer.Option(help="The port of the dashboard.", min=1, max=65_535)] = 8501,
    interval: Annotated[
        float | None, typer.Option(help="Seconds between two samples of this machine.", min=0.05)
    ] = None,
    agent: Annotated[bool, typer.Option("--agent/--no-agent", help="Also watch this machine.")] = True,
    listen: Annotated[
        str | None,
        typer.Option(help="Open the broker to other machines at this address of this one, with TLS; 0.0.0.0 for all."),
    ] = None,
) -> None:
    """Run everything on this machine: broker, ingestor, an agent, dashboard."""
    from cli.up.installation import Installation, Options
    from runtime.process import Stop

    os.umask(0o077)  # what the parts write is nobody else's to read, also in a directory that others may enter
    stop = Stop()
    options = Options(broker_port or (8883 if listen else 1883), dashboard_port, interval, agent, listen)
    with Installation.prepare(data_directory(data), options) as installation:
        installation.run(say=_say, stopping=lambda: stop.asked)


@app.command()
def setup(
    data: Data = None,
    database: Database = None,
    server: Annotated[
        str, typer.Option(help="The broker's address, for the parts that find this state directory.")
    ] = "mqtt://127.0.0.1:1883",
    machine_id: Annotated[
        str | None,
        typer.Option("--machine", help="Also make a place for a machine of this id, and its agent's secret."),
    ] = None,
    ingestor_name: Annotated[
        str, typer.Option("--ingestor", help="Also let in one more ingestor, of this name, such as ingestor-2.")
    ] = "ingestor",
) -> None:
    """Make what parts that run on their own need: tables, an organisation, their secrets, the first key that signs."""
    from cli.up.installation import furnish
    from runtime.settings.ingestor import IngestorSettings
    from runtime.state_directory import StateDirectory

    os.umask(0o077)
    directory = data_directory(data)
    settings = effective(IngestorSettings, data, None, False, database=database, server=server, name=ingestor_name)
    layout = StateDirectory(directory)
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    furnish(layout, settings.database.get_secret_value(), machine=machine_id, ingestor=settings.name)
    layout.remember(server=server, machine=machine_id or layout.machine or "")
    typer.echo(f"The secrets of the parts are in {layout.secret('')}; what was there already stayed.")


@app.command()
def broker(
    data: Data = None,
    config: Configuration = None,
    bind: Annotated[str | None, typer.Option(help="The address to listen on.")] = None,
    port: PortOption = None,
    database: Database = None,
    certificate: Annotated[Path | None, typer.Option(help="The certificate to listen with, for TLS.")] = None,
    private_key: Annotated[Path | None, typer.Option(help="The certificate's key.")] = None,
    insecure: Annotated[bool | None, typer.Option("--insecure", help="Listen beyond loopback without TLS.")] = None,
    check: Check = False,
) -> None:
    """Run the embedded broker."""
    from runtime.settings.broker import BrokerSettings

    given = {"bind": bind, "port": port, "database": database, "insecure": insecure}
    settings = effective(BrokerSettings, data, config, check, **given, certificate=certificate, private_key=private_key)
    from broker.access.principals import TableDirectory
    from broker.embedded.server import run
    from runtime.logging_setup import start_logging
    from runtime.process import say_ready, watch_the_supervisor
    from schemas.database.engine import open_engine, require_current

    start_logging(settings)
    engine = open_engine(settings.database.get_secret_value(), read_only=True)
    require_current(engine)
    watch_the_supervisor()
    run(settings, TableDirectory(engine), lambda: say_ready(settings.url))


@app.command()
def ingestor(
    data: Data = None,
    config: Configuration = None,
    server: Server = None,
    database: Database = None,
    name: Annotated[
        str | None,
        typer.Option(help="What it is called: each of several needs a name of its own.", show_default="ingestor"),
    ] = None,
    check: Check = False,
) -> None:
    """Store what machines publish, and decide who is online."""
    from runtime.settings.ingestor import IngestorSettings
    from runtime.state_directory import StateDirectory

    given = {"server": server, "database": database, "name": name}
    secret = StateDirectory(data_directory(data)).secret(name) if name is not None else None
    settings = effective(
        IngestorSettings, data, config, check, **given, password_file=secret if secret and secret.exists() else None
    )
    from ingestor.run import run
    from runtime.logging_setup import start_logging

    start_logging(settings)
    run(settings)


@app.command()
def heartbeat(data: Data = None, database: Database = None) -> None:
    """Say whether an ingestor lives and hears; exits with 1 when not. For health checks."""
    from schemas.database.queries.heartbeat import find_trouble

    with fleet_database(data, database, read_only=True) as engine:
        wrong = find_trouble(engine, now=time.time_ns() // 1_000_000)
    typer.echo(wrong or "an ingestor lives, and is connected to the broker")
    raise typer.Exit(1 if wrong else 0)


@app.command()
def dashboard(
    data: Data = None,
    config: Configuration = None,
    bind: Annotated[str | None, typer.Option(help="The address to listen on.")] = None,
    port: PortOption = None,
    database: Database = None,
    check: Check = False,
) -> None:
    """Serve the dashboard."""
    from runtime.settings.dashboard import DashboardSettings

    settings = effective(DashboardSettings, data, config, check, bind=bind, port=port, database=database)
    from dashboard.server.app import run
    from runtime.logging_setup import start_logging
    from runtime.process import say_ready, watch_the_supervisor
    from schemas.database.engine import open_engine, require_current

    start_logging(settings)
    require_current(open_engine(settings.database.get_secret_value(), read_only=True))
    watch_the_supervisor()
    run(settings, lambda: say_ready(f"http://{settings.bind}:{settings.port}"))


def _say(line: str) -> None:
    with suppress(OSError):  # the terminal may be gone, which is no reason not to stop in order
        typer.echo(line)
