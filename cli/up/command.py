"""`dashfleet up` runs all parts on this machine; `dashfleet setup` prepares parts that run separately."""

import os
from contextlib import suppress
from typing import Annotated

import typer

from cli.options import Data, Database
from cli.settings import data_directory, effective

app = typer.Typer()


@app.command()
def up(
    data: Data = None,
    broker_port: Annotated[
        int | None,
        typer.Option(help="Port of the embedded broker.", min=1, max=65_535, show_default="1883, 8883 with --listen"),
    ] = None,
    dashboard_port: Annotated[int, typer.Option(help="Port of the dashboard.", min=1, max=65_535)] = 8501,
    interval: Annotated[float | None, typer.Option(help="Seconds between samples of this machine.", min=0.05)] = None,
    agent: Annotated[bool, typer.Option("--agent/--no-agent", help="Monitor this machine too.")] = True,
    listen: Annotated[
        str | None,
        typer.Option(help="Address on which the broker accepts other machines, with TLS; 0.0.0.0 for all addresses."),
    ] = None,
) -> None:
    """Run all parts on this machine: broker, ingestor, agent, dashboard."""
    from cli.up.installation import Installation, Options
    from runtime.process import StopSignal

    os.umask(0o077)  # files of the parts are private, even in a directory that others may enter
    stop = StopSignal()
    options = Options(broker_port or (8883 if listen else 1883), dashboard_port, interval, agent, listen)
    with Installation.prepare(data_directory(data), options) as installation:
        installation.run(say=_print, stopping=lambda: stop.received)


@app.command()
def setup(
    data: Data = None,
    database: Database = None,
    server: Annotated[
        str, typer.Option(help="Broker URL for the parts that use this state directory.")
    ] = "mqtt://127.0.0.1:1883",
    machine_id: Annotated[
        str | None, typer.Option("--machine", help="Also create the credential of a machine with this id.")
    ] = None,
    ingestor_name: Annotated[
        str, typer.Option("--ingestor", help="Also create the credential of a further ingestor, such as ingestor-2.")
    ] = "ingestor",
) -> None:
    """Create what separately run parts need: tables, an organisation, credentials, the first signing key."""
    from cli.up.installation import create_missing
    from runtime.settings.ingestor import IngestorSettings
    from runtime.state_directory import StateDirectory

    os.umask(0o077)
    settings = effective(IngestorSettings, data, database=database, server=server, name=ingestor_name)
    layout = StateDirectory(data_directory(data))
    layout.data.mkdir(parents=True, exist_ok=True, mode=0o700)
    create_missing(layout, settings.database.get_secret_value(), machine=machine_id, ingestor=settings.name)
    layout.remember(server=server, machine=machine_id or layout.machine or "")
    typer.echo(f"The secrets of the parts are in {layout.secret('')}. Existing ones were kept.")


def _print(line: str) -> None:
    with suppress(OSError):  # the terminal may be gone; the shutdown must continue
        typer.echo(line)
