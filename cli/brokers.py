"""`dashfleet tls` and `dashfleet emqx`: certificates, and configuration of a broker that others run."""

import datetime
import socket
from pathlib import Path
from typing import Annotated

import typer

from cli.options import Data, Database
from cli.settings import data_directory, effective
from runtime.errors import UserError

app = typer.Typer()


@app.command()
def tls(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[NAME]...",
            help="Host names and addresses that machines use to reach the broker.",
            show_default="this machine's",
        ),
    ] = None,
    data: Data = None,
    directory: Annotated[
        Path | None, typer.Option(help="Directory to write to.", show_default="tls in the state directory")
    ] = None,
    renew: Annotated[bool, typer.Option("--renew", help="Replace the server certificate, keep the CA.")] = False,
) -> None:
    """Create a certificate authority (CA) and a server certificate for the broker."""
    from broker.tls import certificates
    from runtime.state_directory import StateDirectory

    wanted = [*(names or _names_of_this_machine()), *certificates.LOOPBACK]
    make = certificates.renew if renew else certificates.create
    target = directory or StateDirectory(data_directory(data)).tls
    made = make(target, wanted, now=datetime.datetime.now(datetime.UTC))
    valid = f"valid for {certificates.SERVER_DAYS} days as {', '.join(dict.fromkeys(wanted))}"
    typer.echo(f"Server certificate, {valid}:")
    typer.echo(f"  {made.certificate} and {made.key}")
    if not renew:
        typer.echo(f"CA certificate: {made.authority}. Copy it to every machine and set ca_file to its path.")
        typer.echo(f"CA key, needed only to renew: {made.authority_key}. Keep it secret.")


@app.command()
def emqx(data: Data = None, database: Database = None) -> None:
    """Print a configuration for EMQX, which then authenticates and authorises against the PostgreSQL fleet database."""
    from broker.external.emqx import configuration
    from runtime.settings.ingestor import IngestorSettings
    from runtime.urls import postgresql_server

    settings = effective(IngestorSettings, data, database=database)
    found = postgresql_server(settings.database.get_secret_value())
    if found is None:
        raise UserError("EMQX requires the fleet database to be PostgreSQL: name it with --database")
    typer.echo(configuration(server=found[0], database=found[1], username=found[2]), nl=False)


def _names_of_this_machine() -> list[str]:
    """Return its host names and the address of its default route; finding that sends nothing."""
    found = [socket.gethostname(), socket.getfqdn()]
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # reserved for documentation
            found.append(probe.getsockname()[0])
        except OSError:  # no network
            pass
    return [name for name in dict.fromkeys(found) if name and name != "localhost"]
