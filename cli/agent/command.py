"""`dashfleet agent`: run the agent, enrol this machine, install, diagnose and remove the agent."""

import secrets
from pathlib import Path
from typing import Annotated

import typer

from cli.agent import diagnosis, install
from cli.agent.token import CaFile, MachineId, TokenFile, read_token
from cli.options import Check, Configuration, Data, Server
from cli.settings import data_directory, effective
from cli.up.part_start import start_part
from runtime.errors import UserError
from runtime.extras import require_extra

app = typer.Typer()
for group in (install.app, diagnosis.app):
    app.add_typer(group)


@app.callback(invoke_without_command=True)
def agent(
    context: typer.Context,
    data: Data = None,
    config: Configuration = None,
    server: Server = None,
    org: Annotated[str | None, typer.Option(help="Organisation of this machine.")] = None,
    machine: MachineId = None,
    interval: Annotated[float | None, typer.Option(help="Seconds between two samples.", min=0.05)] = None,
    check: Check = False,
) -> None:
    """Run the agent, which monitors this machine.

    Reads the secret from DASHFLEET_AGENT_PASSWORD or the file named in DASHFLEET_AGENT_PASSWORD_FILE. After
    `dashfleet agent enrol` no secret and no option is needed.
    """
    if context.invoked_subcommand is not None:
        return
    from runtime.settings.agent import AgentSettings

    require_extra("agent")  # the program that replaces this process reports it with a traceback
    given = {"server": server, "org": org, "machine": machine, "interval_seconds": interval}
    settings = effective(AgentSettings, data, config, check=check, **given)
    from runtime.process import exec_module

    start_part(settings, lambda settings: exec_module("agent", settings))


@app.command("enrol")
def enrol(
    data: Data = None,
    config: Configuration = None,
    server: Server = None,
    machine: MachineId = None,
    token_file: TokenFile = None,
    ca_file: CaFile = None,
    insecure: Annotated[bool, typer.Option("--insecure", help="Allow sending the token without TLS.")] = False,
) -> None:
    """Enrol this machine with a token from `dashfleet token create`.

    Reads the token from --token-file, DASHFLEET_TOKEN or standard input; prompts for it on a terminal.
    """
    from runtime.settings.agent import AgentSettings

    settings = effective(AgentSettings, data, config, server=server, machine=machine, ca_file=ca_file)
    from agent.enrolment import Enrolment, enrolled_as
    from runtime.clock import SystemClock
    from runtime.logging_setup import start_logging

    known = enrolled_as(settings.data)
    if known is not None:
        typer.echo(f"This machine is already enrolled as {known}. Start the agent with {_start(data)}")
        return
    if not (settings.address.tls or settings.address.is_loopback or insecure):
        raise UserError(
            f"the token would be sent to {settings.server} without encryption: use mqtts://, or --insecure on a "
            "private network"
        )
    token = read_token(token_file)
    start_logging(settings)
    enrolment = Enrolment(settings, token, nonce=secrets.token_hex(16), clock=SystemClock())
    typer.echo(f"Enrolled as {token.org}/{enrolment.run()}. Start the agent with {_start(data)}")


def _start(data: Path | None) -> str:
    return "dashfleet agent" if data is None else f"dashfleet agent --data {data_directory(data)}"
