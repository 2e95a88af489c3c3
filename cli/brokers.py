"""Setting up a broker: its certificates."""

import datetime
import socket
from pathlib import Path
from typing import Annotated

import typer

from cli.options import Data, data_directory

app = typer.Typer()


@app.command()
def tls(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[NAME]...",
            help="Names and addresses under which machines will find the broker.",
            show_default="this machine's",
        ),
    ] = None,
    data: Data = None,
    directory: Annotated[
        Path | None, typer.Option(help="Where to write.", show_default="tls in the state directory")
    ] = None,
    renew: Annotated[
        bool, typer.Option("--renew", help="Replace the broker's certificate; the authority stays.")
    ] = False,
) -> None:
    """Make a certificate authority and the broker's certificate, for a first set-up."""
    from broker.certificates import LOOPBACK, SERVER_DAYS, create
    from broker.certificates import renew as renewed
    from schemas.layout import Layout

    wanted = [*(names or _names_of_this_machine()), *LOOPBACK]
    place = (renewed if renew else create)(
        directory or Layout(data_directory(data)).tls, wanted, now=datetime.datetime.now(datetime.UTC)
    )
    typer.echo(f"The broker's certificate, good for {SERVER_DAYS} days as {', '.join(dict.fromkeys(wanted))}:")
    typer.echo(f"  {place.certificate} and {place.key}")
    if not renew:
        typer.echo(f"Every machine is to trust {place.authority}: copy it there, and name it in ca_file.")
        typer.echo(f"{place.authority_key} is needed only to renew: keep it where nobody else can read it.")


def _names_of_this_machine() -> list[str]:
    """Its names, and the address it would speak to others from (nothing is sent to find that out)."""
    found = [socket.gethostname(), socket.getfqdn()]
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # an address of nobody's
            found.append(probe.getsockname()[0])
        except OSError:  # no network
            pass
    return [name for name in dict.fromkeys(found) if name and name != "localhost"]
