"""`dashfleet conform`: check a program or a broker against the numbered assertions of the contract."""

import secrets
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli.access.key import read_key
from cli.contract.conform_credentials import broker_credentials, wait_until_known
from cli.contract.conform_machine import MachineOfRun, machine_of_run
from cli.contract.program import ForeignProgram
from cli.contract.temporary_principal import connected_as, unique_name
from cli.options import CLOCK, Data, Database, Json, Org, Server
from cli.output import note, show_json
from cli.settings import effective, fleet_database, require_org
from runtime.errors import UserError

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from broker.access.policy import Principal
    from broker.client.mqtt import Mqtt
    from broker.conformance.agent_run import AgentRun
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

Machine = Annotated[
    str | None,
    typer.Option(
        help="Machine as which the agent connects.", show_default="one of the run, which is removed at its end"
    ),
]
Journal = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="File with the journal of the agent, which the run deletes once.",
        show_default="the file that DASHFLEET_STATE names",
    ),
]
Patience = Annotated[
    float, typer.Option(help="Longest time to wait for what the program does by and by, in seconds.", min=1)
]
Quiet = Annotated[float, typer.Option(help="Time to listen for what the agent must not send again, in seconds.", min=1)]
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
    machine: Machine = None,
    command: CommandLine = None,
    data: Data = None,
    database: Database = None,
    server: Server = None,
    org: Org = "home",
    key: Key = None,
    journal: Journal = None,
    patience: Patience = 60.0,
    quiet: Quiet = 30.0,
    junit: JUnit = None,
    as_json: Json = False,
) -> None:
    """Check an agent, as a machine of the run: it gives orders, and plays the ingestor if none runs."""
    from runtime.settings.client import ActSettings

    if machine is None and not command:
        raise UserError("name the command that starts the agent after --, or its machine with --machine")
    settings = effective(ActSettings, data, server=server, org=org)
    with fleet_database(data, database) as engine:
        require_org(engine, org)
        alone = _is_alone(engine, has_machine=machine is not None)
        with (
            connected_as(engine, settings, _ingestor()) as transport,
            machine_of_run(engine, settings, machine, journal) as probe,
        ):
            program = ForeignProgram(command, environment=probe.environment) if command else None
            report = _run_to_end(
                _agent_run(engine, settings, transport, probe, key)(
                    control=program, plays_ingestor=alone, patience_seconds=patience, quiet_seconds=quiet
                ),
                program,
                clears=machine is None,
            )
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


def _is_alone(engine: "Engine", *, has_machine: bool) -> bool:
    """Return whether no ingestor is connected, so that the run plays its part.

    Raises UserError if one is and the run has no machine: what the ingestor stores of a new one stays.
    """
    from schemas.database.queries.heartbeat import find_trouble

    if find_trouble(engine, now=CLOCK.now()):
        return True
    if not has_machine:
        raise UserError(
            "an ingestor is connected: stop dashfleet up and start only its broker, with dashfleet broker; or name a "
            "machine with --machine, for which what needs the part of the ingestor is skipped"
        )
    note("an ingestor is connected: what needs its part is skipped")
    return False


def _agent_run(
    engine: "Engine", settings: "ActSettings", transport: "Mqtt", probe: MachineOfRun, key: Path | None
) -> "Callable[..., AgentRun]":
    """Return what makes the run of a machine, of which the rest is given by the options."""
    from broker.conformance.agent_run import AgentRun

    return partial(
        AgentRun,
        transport,
        CLOCK,
        org=settings.org,
        machine=probe.name,
        config=_config(engine, settings.org),
        signer=_signer(settings, key),
        lose_journal=probe.lose_journal,
    )


def _run_to_end(run: "AgentRun", program: ForeignProgram | None, *, clears: bool) -> "ConformanceReport":
    """Run, and end the program. `clears`: whether what the machine retained is removed."""
    try:
        return run.run()
    finally:
        if program is not None:
            program.kill()
        if clears:
            run.clear_retained()


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
