"""`dashfleet up` runs all parts on this machine; `dashfleet setup` prepares parts that run separately."""

import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli.options import Data, Database
from cli.settings import data_directory, effective
from runtime.errors import UserError
from runtime.urls import without_password

if TYPE_CHECKING:
    from runtime.settings.homeassistant import HomeAssistantSettings

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
    homeassistant: Annotated[
        str | None,
        typer.Option(help="Also show the machines in Home Assistant, by the URL of its broker.", metavar="URL"),
    ] = None,
    homeassistant_user: Annotated[
        str | None, typer.Option(help="User name at the broker of Home Assistant.", show_default="dashfleet")
    ] = None,
) -> None:
    """Run all parts on this machine: broker, ingestor, notifier, agent, dashboard."""
    from cli.up.installation import Installation, Options
    from runtime.process import StopSignal

    os.umask(0o077)  # files of the parts are private, even in a directory that others may enter
    stop = StopSignal()
    database, people = _databases(data)
    port = broker_port or (8883 if listen else 1883)
    bridge = _homeassistant(data, homeassistant, homeassistant_user)
    options = Options(port, dashboard_port, interval, agent, listen, database, people, bridge)
    with Installation.prepare(data_directory(data), options) as installation:
        installation.run(say=_print, stopping=lambda: stop.received)


@app.command()
def setup(
    data: Data = None,
    database: Database = None,
    server: Annotated[
        str | None,
        typer.Option(
            help="Broker URL for the parts that use this state directory.",
            show_default="the one recorded, or mqtt://127.0.0.1:1883",
        ),
    ] = None,
    machine_id: Annotated[
        str | None, typer.Option("--machine", help="Also create the credential of a machine with this id.")
    ] = None,
    ingestor_name: Annotated[
        str, typer.Option("--ingestor", help="Also create the credential of a further ingestor, such as ingestor-2.")
    ] = "ingestor",
) -> None:
    """Create what separately run parts need: tables, an organisation, credentials, the first signing key."""
    from cli.up.creation import create_missing
    from runtime.settings.ingestor import IngestorSettings
    from runtime.state_directory import StateDirectory

    os.umask(0o077)
    settings = effective(IngestorSettings, data, database=database, server=server, name=ingestor_name)
    layout = StateDirectory(data_directory(data))
    layout.data.mkdir(parents=True, exist_ok=True, mode=0o700)
    create_missing(layout, settings.database.get_secret_value(), machine=machine_id, ingestor=settings.name)
    layout.remember(server=server or layout.server, machine=machine_id or layout.machine or "")
    typer.echo(f"The secrets of the parts are in {layout.secret('')}. Existing ones were kept.")


def _homeassistant(data: Path | None, url: str | None, user: str | None) -> "HomeAssistantSettings | None":
    """Return the settings of the bridge, None without a URL; ask for a password that is missing, and keep it."""
    from runtime.settings.homeassistant import HomeAssistantSettings
    from runtime.settings.secret_files import write_secret
    from runtime.state_directory import StateDirectory

    settings = effective(HomeAssistantSettings, data, to=url, to_username=user)
    if not settings.to:
        return None
    if settings.needs_password and sys.stdin.isatty():
        asked = f"Password of {settings.to_username} at {settings.to}"
        password = typer.prompt(asked, hide_input=True, err=True)
        write_secret(StateDirectory(data_directory(data)).homeassistant_secret, str(password))
    return settings


def _databases(data: Path | None) -> tuple[str, str]:
    """Return the URLs of the fleet database and of the database of users.

    Raises UserError unless broker, ingestor, notifier and dashboard are configured to use the same databases.
    """
    from runtime.settings.broker import BrokerSettings
    from runtime.settings.dashboard import DashboardSettings
    from runtime.settings.ingestor import IngestorSettings
    from runtime.settings.notifier import NotifierSettings

    dashboard, notifier = effective(DashboardSettings, data), effective(NotifierSettings, data)
    found = {
        "broker": effective(BrokerSettings, data).database,
        "ingestor": effective(IngestorSettings, data).database,
        "notifier": notifier.database,
        "dashboard": dashboard.database,
    }
    if len({url.get_secret_value() for url in found.values()}) > 1:
        named = ", ".join(f"{part} {without_password(url.get_secret_value())}" for part, url in found.items())
        raise UserError(
            f"the parts would use different databases ({named}): give [broker], [ingestor], [notifier] and [dashboard] "
            "the same database in dashfleet.toml"
        )
    if notifier.auth_database.get_secret_value() != dashboard.auth_database.get_secret_value():
        raise UserError("give [notifier] and [dashboard] the same auth_database in dashfleet.toml")
    return dashboard.database.get_secret_value(), dashboard.auth_database.get_secret_value()


def _print(line: str) -> None:
    with suppress(OSError):  # the terminal may be gone; the shutdown must continue
        typer.echo(line)
