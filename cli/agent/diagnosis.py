"""`dashfleet agent status` and `dashfleet agent doctor`."""

from dataclasses import asdict
from typing import Annotated, Any

import typer

from cli.agent.install import installed_data, require_readable
from cli.options import CLOCK, Configuration, Data, Json
from cli.output import show_json, utc
from runtime.extras import require_extra

app = typer.Typer()


@app.command("status")
def status(data: Data = None, as_json: Json = False) -> None:
    """Show whether the agent of this machine runs and is connected; exit with 1 if not."""
    require_extra("agent")
    from agent.connection_record import read_connection
    from agent.enrolment import enrolled_as
    from agent.installation.record import PREFIX, read_record
    from runtime.state_directory import StateDirectory

    directory = installed_data(data)
    require_readable(directory)
    record, state = read_record(PREFIX), read_connection(directory)
    running = state is not None and state.is_running
    connected = running and state is not None and state.connected
    found: dict[str, Any] = {
        "machine": enrolled_as(directory),
        "server": StateDirectory(directory).enrolled.get("server"),
        "service": record.service if record else None,
        "version": state.version if state else None,
        "running": running,
        "connected": connected,
        "since": state.changed_at if state and running else None,
        "acknowledged": connected and state is not None and state.acknowledged,
    }
    if as_json:
        show_json(found)
    else:
        for name, value in found.items():
            text = {True: "yes", False: "no", None: "unknown"}.get(value, value) if name != "since" else utc(value)
            typer.echo(f"{name:<13} {text}")
    raise typer.Exit(0 if connected else 1)


@app.command("doctor")
def doctor(
    data: Data = None,
    config: Configuration = None,
    as_json: Json = False,
    timeout: Annotated[float, typer.Option(help="Seconds to wait for each answer.", min=0.1, max=60)] = 5.0,
) -> None:
    """Diagnose the agent of this machine: clock, DNS, port, certificate, secret, permissions, disk.

    Exits with 1 if there is a problem. Each problem has an advice.
    """
    require_extra("agent")
    from agent.check import Examination
    from agent.doctor import examine
    from agent.installation.record import PREFIX, read_record
    from cli.settings import effective
    from runtime.settings.agent import AgentSettings

    directory = installed_data(data)
    require_readable(directory)
    settings = effective(AgentSettings, directory, config)
    record = read_record(PREFIX)
    findings = examine(Examination(settings, CLOCK, timeout, record.source if record else ""))
    if as_json:
        show_json([asdict(finding) for finding in findings])
    else:
        for finding in findings:
            typer.echo(f"{finding.verdict:<8} {finding.check:<12} {finding.detail}")
            if finding.advice:
                typer.echo(f"{'':<21} {finding.advice}")
    raise typer.Exit(1 if any(finding.verdict == "problem" for finding in findings) else 0)
