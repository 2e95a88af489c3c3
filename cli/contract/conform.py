"""`dashfleet conform`: check a program or a broker against the numbered assertions of the contract."""

import secrets
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli.access.key import read_key
from cli.contract.program import ForeignProgram
from cli.options import CLOCK, Data, Database, Json, Org, Server
from cli.output import note, show_json
from cli.settings import effective, fleet_database, require_org
from runtime.errors import UserError

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from broker.client.mqtt import Mqtt
    from broker.conformance.order_signer import SeedSigner
    from broker.conformance.report import ConformanceReport
    from runtime.settings.client import ActSettings
    from schemas.contract.org_config import OrgConfig

CONNECT_SECONDS = 20.0
NAME = "conform"

app = typer.Typer(
    help="Check a program or a broker against the contract. The exit status is 1 if an assertion is violated.",
    no_args_is_help=True,
)

Machine = Annotated[str, typer.Option(help="Machine as which the agent connects.")]
Patience = Annotated[float, typer.Option(help="Longest time to wait for what an agent repeats, in seconds.", min=1)]
Key = Annotated[Path | None, typer.Option("--key", help="File of the private key that signs the orders.")]
JUnit = Annotated[Path | None, typer.Option("--junit", help="Also write the report to this file, as JUnit XML.")]
CommandLine = Annotated[
    list[str] | None,
    typer.Argument(metavar="[-- COMMAND...]", help="Command that starts the program; without it, the program runs."),
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
    with fleet_database(data, database) as engine, _ingestor_client(engine, settings) as transport:
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


@contextmanager
def _ingestor_client(engine: "Engine", settings: "ActSettings") -> "Iterator[Mqtt]":
    """Connect with a credential that may do what an ingestor may; it is revoked at the end."""
    from broker.access.policy import Principal, Role
    from ingestor.admin.access import add_principal, revoke_principal

    principal, secret = Principal(Role.INGESTOR, "", NAME), secrets.token_hex(32)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that the credential is revoked
    add_principal(engine, principal, secret, now=CLOCK.now)
    try:
        transport = _connected(settings, principal.username, secret)
        try:
            yield transport
        finally:
            transport.close()
    finally:
        revoke_principal(engine, principal.username, now=CLOCK.now)


def _connected(settings: "ActSettings", username: str, secret: str) -> "Mqtt":
    """Return a connected client. Raises UserError if the broker does not accept it in time."""
    from broker.client.mqtt import Mqtt
    from broker.client.transport import Backoff, Disconnected

    transport = Mqtt(
        settings.address,
        username=username,
        password=secret,
        subscriptions=[],
        backoff=Backoff(first_seconds=0.2, most_seconds=1.0),
        keep_alive_seconds=settings.keep_alive_seconds,
        ca_file=settings.ca_file,
    )
    deadline, reason = CLOCK.monotonic() + CONNECT_SECONDS, "no answer"
    while not transport.connected:
        for event in transport.receive(1, 0.2):
            reason = event.reason if isinstance(event, Disconnected) else reason
        if CLOCK.monotonic() > deadline:
            transport.close()
            raise UserError(f"cannot connect to the broker at {settings.server}: {reason}")
    return transport


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
