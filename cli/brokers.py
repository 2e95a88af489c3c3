"""Brokers beside the embedded one: certificates, Mosquitto, EMQX."""

import datetime
import socket
from pathlib import Path
from typing import Annotated

import typer

from cli.options import Check, Configuration, Data, Database, PortOption, data_directory, effective

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
    from broker.tls.certificates import LOOPBACK, SERVER_DAYS, create
    from broker.tls.certificates import renew as renewed
    from runtime.state_directory import StateDirectory

    wanted = [*(names or _names_of_this_machine()), *LOOPBACK]
    place = (renewed if renew else create)(
        directory or StateDirectory(data_directory(data)).tls, wanted, now=datetime.datetime.now(datetime.UTC)
    )
    typer.echo(f"The broker's certificate, good for {SERVER_DAYS} days as {', '.join(dict.fromkeys(wanted))}:")
    typer.echo(f"  {place.certificate} and {place.key}")
    if not renew:
        typer.echo(f"Every machine is to trust {place.authority}: copy it there, and name it in ca_file.")
        typer.echo(f"{place.authority_key} is needed only to renew: keep it where nobody else can read it.")


@app.command()
def mosquitto(
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
    """Run Mosquitto with this installation's principals and rules, and keep both up to date."""
    from runtime.settings.broker import MosquittoSettings

    given = {"bind": bind, "port": port, "database": database, "insecure": insecure}
    settings = effective(
        MosquittoSettings, data, config, check, **given, certificate=certificate, private_key=private_key
    )
    from broker.access.principals import TableDirectory
    from broker.external.mosquitto_process import run
    from runtime.logging_setup import start_logging
    from runtime.process import Stop, say_ready
    from schemas.database.engine import open_engine, require_current

    start_logging(settings)
    engine = open_engine(settings.database.get_secret_value(), read_only=True)
    require_current(engine)
    stop = Stop()
    run(settings, TableDirectory(engine), lambda: say_ready(settings.url), stopping=lambda: stop.asked)


@app.command()
def nats(
    data: Data = None,
    config: Configuration = None,
    node: Annotated[str | None, typer.Option(help="This node's name in the cluster.")] = None,
    bind: Annotated[str | None, typer.Option(help="The address to listen on, for MQTT.")] = None,
    port: PortOption = None,
    database: Database = None,
    certificate: Annotated[Path | None, typer.Option(help="The certificate to listen with, for TLS.")] = None,
    private_key: Annotated[Path | None, typer.Option(help="The certificate's key.")] = None,
    insecure: Annotated[bool | None, typer.Option("--insecure", help="Listen beyond loopback without TLS.")] = None,
    cluster_listen: Annotated[str | None, typer.Option(help="Where it listens for the other nodes.")] = None,
    route: Annotated[list[str] | None, typer.Option(help="Where another node does; once for each.")] = None,
    check: Check = False,
) -> None:
    """Write what one node of a NATS cluster is told, and keep it in step with the principals and rules of DashFleet."""
    from runtime.settings.broker import NatsSettings

    given = {"node": node, "bind": bind, "port": port, "database": database, "insecure": insecure}
    nodes = {"cluster_listen": cluster_listen, "routes": route or None}
    tls = {"certificate": certificate, "private_key": private_key}
    settings = effective(NatsSettings, data, config, check, **given, **nodes, **tls)
    from broker.access.principals import TableDirectory
    from broker.external.nats_process import run
    from runtime.logging_setup import start_logging
    from runtime.process import Stop, say_ready
    from schemas.database.engine import open_engine, require_current

    start_logging(settings)
    engine = open_engine(settings.database.get_secret_value(), read_only=True)
    require_current(engine)
    stop = Stop()
    start = f"nats-server -c {settings.directory / 'nats.conf'}"
    run(settings, TableDirectory(engine), lambda: say_ready(start), stopping=lambda: stop.asked)


@app.command()
def emqx(data: Data = None, database: Database = None) -> None:
    """Print the configuration with which EMQX asks the fleet's database on PostgreSQL who may do what."""
    from runtime.settings.ingestor import IngestorSettings

    settings = effective(IngestorSettings, data, None, False, database=database)
    from broker.external.emqx import configuration
    from runtime.errors import UserError
    from runtime.urls import postgresql_server

    found = postgresql_server(settings.database.get_secret_value())
    if found is None:
        raise UserError("EMQX needs the fleet's database on PostgreSQL: name it in --database")
    typer.echo(configuration(server=found[0], database=found[1], username=found[2]), nl=False)


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
