"""`dashfleet conform`: check a program or a broker against the numbered assertions of the contract."""

import secrets
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli.access.key import read_key
from cli.contract.conform_credentials import broker_credentials, wait_until_known
from cli.contract.program import ForeignProgram
from cli.contract.temporary_principal import connected_as, unique_name
from cli.options import CLOCK, Data, Database, Json, Org, Server
from cli.output import note, show_json
from cli.settings import effective, fleet_database, require_org
from runtime.errors import UserError

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from broker.access.policy import Principal
    from broker.conformance.order_signer import SeedSigner
    from broker.conformance.program import ProgramWatch
    from broker.conformance.report import ConformanceReport
    from runtime.settings.client import ActSettings
    from schemas.contract.org_config import OrgConfig

NAME = "conform"

app = typer.Typer(
    help="Check a program or a broker against the contract. The exit status is 1 if an assertion is violated.",
    no_args_is_help=True,
)

Machine = Annotated[str, typer.Option(help="Machine as which the agent connects.")]
Patience = Annotated[
    float, typer.Option(help="Longest time to wait for what the program does by and by, in seconds.", min=1)
]
Key = Annotated[Path | None, typer.Option("--key", help="File of the private key that signs the orders.")]
JUnit = Annotated[Path | None, typer.Option("--junit", help="Also write the report to this file, as JUnit XML.")]
ProgramLine = Annotated[
    list[str], typer.Argument(metavar="-- COMMAND", help="Command that starts the program; see the contract.")
]
CommandLine = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="-- COMMAND", help="Command that starts the program; without it, start the program yourself."
    ),
]


@app.command("agent")
def agent(
    machine: Machine,
    command: CommandLine = None,
    data: Data = None,
    database: Database = None,
    server: Server = None,
    org: Org = "home",
    key: Key = None,
    patience: Patience = 60.0,
    junit: JUnit = None,
    as_json: Json = False,
) -> None:
    """Check an agent. Use a machine for the purpose: the run gives it orders, and plays the ingestor if none runs."""
    from broker.conformance.agent_run import AgentRun
    from runtime.settings.client import ActSettings

    settings = effective(ActSettings, data, server=server, org=org)
    program = ForeignProgram(command) if command else None
    with fleet_database(data, database) as engine, connected_as(engine, settings, _ingestor()) as transport:
        require_org(engine, org)
        alone = _is_alone(engine)
        if not alone:
            note("an ingestor is connected: what needs its part is skipped")
        run = AgentRun(
            transport,
            CLOCK,
            org=org,
            machine=machine,
            config=_config(engine, org),
            signer=_signer(settings, key),
            control=program,
            plays_ingestor=alone,
            patience_seconds=patience,
        )
        try:
            report = run.run()
        finally:
            if program is not None:
                program.kill()
    _show(report, junit, as_json=as_json)


@app.command("consumer")
def consumer(
    command: ProgramLine,
    org: Org = "home",
    patience: Patience = 15.0,
    junit: JUnit = None,
    as_json: Json = False,
) -> None:
    """Check a program that shows the presence of machines. The run is its broker, and needs no installation."""
    from broker.access.policy import Principal, Role
    from broker.conformance.consumer_run import ConsumerRun

    with _watched(Principal(Role.READER, org, NAME), command, {}) as watch:
        report = ConsumerRun(watch, CLOCK, patience_seconds=patience).run()
    _show(report, junit, as_json=as_json)


@app.command("actor")
def actor(
    command: ProgramLine,
    org: Org = "home",
    patience: Patience = 15.0,
    junit: JUnit = None,
    as_json: Json = False,
) -> None:
    """Check a program that orders `ping` of the machine `probe`. The run is its broker, and needs no installation."""
    from broker.access.policy import Principal, Role
    from broker.conformance.actor_run import ACTION, MACHINE, ActorRun
    from broker.conformance.order_signer import SeedSigner
    from schemas.contract.signing import new_key

    seed = new_key()
    with tempfile.TemporaryDirectory() as directory:
        key = Path(directory) / org
        key.touch(0o600)
        key.write_text(seed)
        wanted = {"DASHFLEET_MACHINE": MACHINE, "DASHFLEET_ACTION": ACTION, "DASHFLEET_KEY": str(key)}
        with _watched(Principal(Role.OPERATOR, org, NAME), command, wanted) as watch:
            report = ActorRun(watch, SeedSigner(seed), CLOCK, patience_seconds=patience).run()
    _show(report, junit, as_json=as_json)


@app.command("broker")
def broker(
    data: Data = None,
    database: Database = None,
    server: Server = None,
    patience: Patience = 20.0,
    junit: JUnit = None,
    as_json: Json = False,
) -> None:
    """Check the broker of this server, with organisations of its own that are removed at the end."""
    from broker.client.sockets import tls_context
    from broker.conformance.broker_client import TcpBrokerClient
    from broker.conformance.broker_run import BrokerRun
    from runtime.settings.client import ActSettings

    settings = effective(ActSettings, data, server=server)
    tls = tls_context(settings.ca_file) if settings.address.tls else None
    connecting = partial(TcpBrokerClient, settings.address, tls, CLOCK)
    with fleet_database(data, database) as engine, broker_credentials(engine) as credentials:
        wait_until_known(connecting, credentials.ingestor, patience)
        run = BrokerRun(connecting, credentials, name=settings.server, patience_seconds=patience, pause=time.sleep)
        report = run.run()
    _show(report, junit, as_json=as_json)


@contextmanager
def _watched(principal: "Principal", command: list[str], wanted: Mapping[str, str]) -> "Iterator[ProgramWatch]":
    """Listen on a port for a program, which learns from its environment where and as whom it connects."""
    from broker.conformance.program import ProgramWatch
    from broker.conformance.program_broker import ProgramBroker
    from broker.conformance.program_server import ProgramServer

    secret = secrets.token_hex(32)
    served = ProgramBroker(principal, secret, CLOCK)
    server = ProgramServer(served)
    environment = {
        "DASHFLEET_SERVER": f"mqtt://127.0.0.1:{server.port}",
        "DASHFLEET_USERNAME": principal.username,
        "DASHFLEET_PASSWORD": secret,
        "DASHFLEET_ORG": principal.org,
        **wanted,
    }
    program = ForeignProgram(command, environment=environment, reads=True)
    try:
        yield ProgramWatch(served, program, CLOCK, server.pump)
    finally:
        program.kill()
        server.close()


def _ingestor() -> "Principal":
    """Return a principal of this run alone that may do what an ingestor may."""
    from broker.access.policy import Principal, Role

    return Principal(Role.INGESTOR, "", unique_name(NAME))


def _is_alone(engine: "Engine") -> bool:
    """Return whether no ingestor is connected, so that the run plays its part."""
    from schemas.database.queries.heartbeat import find_trouble

    return bool(find_trouble(engine, now=CLOCK.now()))


def _config(engine: "Engine", org: str) -> "OrgConfig":
    """Return the configuration that an ingestor would publish."""
    from ingestor.storage.store import Store

    return Store(engine, name=NAME, dead_letter_max=1).configs()[org][0]


def _signer(settings: "ActSettings", key: Path | None) -> "SeedSigner | None":
    """Return the organisation's signing key; None if there is none and none is named."""
    from broker.conformance.order_signer import SeedSigner

    path = key or (settings.signing_keys or settings.data) / settings.org
    if key is None and not path.exists():
        return None
    return SeedSigner(read_key(path, missing="there is no signing key {path}"))


def _show(report: "ConformanceReport", junit: Path | None, *, as_json: bool) -> None:
    if junit is not None:
        try:
            junit.write_text(report.as_junit())
        except OSError as error:
            raise UserError(f"cannot write {junit}: {error.strerror}") from None
    if as_json:
        show_json(report.as_json())
    else:
        typer.echo(report.as_text())
    if report.failed:
        raise typer.Exit(1)
