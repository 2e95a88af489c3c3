"""`dashfleet agent`: watch this machine, and before that, enrol it."""

import os
import secrets
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli.options import Check, Configuration, Data, Server, data_directory, effective
from runtime.errors import UserError

if TYPE_CHECKING:
    from schemas.contract.enrolment import Token

TOKEN = "DASHFLEET_TOKEN"  # noqa: S105 - a variable's name
STANDARD_INPUT = Path("-")
app = typer.Typer()

MachineId = Annotated[str | None, typer.Option("--machine", help="This machine's id.", show_default="the hostname")]


@app.callback(invoke_without_command=True)
def agent(
    context: typer.Context,
    data: Data = None,
    config: Configuration = None,
    server: Server = None,
    org: Annotated[str | None, typer.Option(help="The organisation of this machine.")] = None,
    machine: MachineId = None,
    interval: Annotated[float | None, typer.Option(help="Seconds between two samples.", min=0.05)] = None,
    check: Check = False,
) -> None:
    """Watch this machine. The password: DASHFLEET_AGENT_PASSWORD, or a file named in DASHFLEET_AGENT_PASSWORD_FILE.

    After `dashfleet agent enrol` it needs neither, and no option.
    """
    if context.invoked_subcommand is not None:
        return
    from runtime.settings.agent import AgentSettings

    settings = effective(
        AgentSettings, data, config, check, server=server, org=org, machine=machine, interval_seconds=interval
    )
    from runtime.process import become

    become("agent", settings)


@app.command("enrol")
def enrol(
    data: Data = None,
    config: Configuration = None,
    server: Server = None,
    machine: MachineId = None,
    token_file: Annotated[
        Path | None, typer.Option(help="A file with mode 0600 that holds the token; - for standard input.")
    ] = None,
    ca_file: Annotated[Path | None, typer.Option(help="The certificate authority to trust for mqtts.")] = None,
    insecure: Annotated[bool, typer.Option("--insecure", help="Send the token without TLS.")] = False,
) -> None:
    """Give this machine its place in the fleet, with a token of `dashfleet token create`.

    Asks for the token, unless it is in --token-file, DASHFLEET_TOKEN or standard input.
    """
    from runtime.settings.agent import AgentSettings

    given = {"server": server, "machine": machine, "ca_file": ca_file}
    settings = effective(AgentSettings, data, config, False, **given)
    from agent.enrolment import Enrolment, enrolled_as, over_mqtt
    from runtime.logging_setup import start_logging

    known = enrolled_as(settings.data)
    if known is not None:
        typer.echo(f"This machine is enrolled already, as {known}: start it with {_start(data)}")
        return
    if not (settings.address.tls or settings.address.is_loopback or insecure):
        raise UserError(
            f"the token would cross the network to {settings.server} in the clear: use mqtts://, or --insecure on a "
            "network that nobody else is on"
        )
    token = _token(token_file)
    start_logging(settings)
    enrolment = Enrolment(settings, token, open_transport=over_mqtt(settings), nonce=secrets.token_hex(16))
    typer.echo(f"This machine is {token.org}/{enrolment.run()} now: start it with {_start(data)}")


def _token(path: Path | None) -> "Token":
    """The token, from where it does not show. Raises UserError."""
    from runtime.settings.secret_files import read_secret
    from schemas.contract.enrolment import Token

    if path is not None and path != STANDARD_INPUT:
        text = read_secret(path)
    elif path is None and TOKEN in os.environ:
        text = os.environ[TOKEN]
    elif path is None and sys.stdin.isatty():
        text = str(typer.prompt("Token", hide_input=True))
    else:
        text = sys.stdin.readline()
    try:
        return Token.parse(text)
    except ValueError as error:
        raise UserError(str(error)) from None


def _start(data: Path | None) -> str:
    return "dashfleet agent" if data is None else f"dashfleet agent --data {data_directory(data)}"
