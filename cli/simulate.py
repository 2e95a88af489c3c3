"""`dashfleet simulate`: machines that exist in one process only, to size or test a server."""

import sys
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.options import CLOCK, Data, Database, Json, Server, to_seconds
from cli.output import note, show_json
from cli.settings import data_directory, fleet_database
from runtime.errors import UserError

if TYPE_CHECKING:
    from agent.simulation.machine import SimulationPlan
    from agent.simulation.summary import SimulationSummary

app = typer.Typer()

MACHINES_MAX = 99_999


_Machines = Annotated[int, typer.Option(min=1, max=MACHINES_MAX, help="Number of machines.")]
_Interval = Annotated[float, typer.Option(min=0.1, max=3600, help="Seconds between the samples of a machine.")]
_Duration = Annotated[str, typer.Option(help="Duration, in seconds or such as 30m.")]
_Org = Annotated[str, typer.Option(help="Organisation of the machines; it is created if there is none.")]
_Prefix = Annotated[str, typer.Option(help="Beginning of the machines' names.")]
_Processes = Annotated[int, typer.Option(min=1, max=64, help="Number of processes that divide the machines.")]
_Connects = Annotated[float, typer.Option(min=1, help="Connections per second at the start.")]
_Fault = Annotated[
    list[str] | None,
    typer.Option(help="Fault NAME=NUMBER, such as loss=10, cuts=6 or backlog=3600; several times for several."),
]


@app.command()
def simulate(
    machines: _Machines,
    interval: _Interval = 10,
    duration: _Duration = "60",
    data: Data = None,
    database: Database = None,
    server: Server = None,
    org: _Org = "simulation",
    prefix: _Prefix = "sim-",
    processes: _Processes = 1,
    connects: _Connects = 200,
    fault: _Fault = None,
    as_json: Json = False,
) -> None:
    """Connect simulated machines to a server, and report what became of every sample.

    They are real agents with made-up readings. Their credentials are made next to the server's database.
    Ctrl-C ends the simulation in order.
    """
    from agent.simulation.processes import divided, run_processes, wait_for_admission
    from runtime.process import StopSignal

    plan = _plan(data, server, fault or ()).model_copy(
        update={
            "org": org,
            "prefix": prefix,
            "machines": machines,
            "interval_seconds": interval,
            "duration_seconds": to_seconds(duration),
            "connects_per_second": connects / processes,
        }
    )
    plan = _with_credentials(plan, data, database)
    wait_for_admission(plan)
    stop = StopSignal()
    summary = run_processes(divided(plan, processes), _show, lambda: stop.received)
    _print(_shown(summary), org, as_json=as_json)
    if summary.taken != summary.acknowledged:
        raise typer.Exit(1)


def _with_credentials(plan: "SimulationPlan", data: Path | None, database: str | None) -> "SimulationPlan":
    """Make the machines' credentials next to the server's database."""
    from ingestor.admin.simulation import provision_simulated

    with fleet_database(data, database) as engine:
        secret = provision_simulated(engine, plan.org, plan.names, now=CLOCK.now)
    return plan.model_copy(update={"secret": secret})


def _print(shown: dict[str, Any], org: str, *, as_json: bool) -> None:
    if as_json:
        show_json(shown)
        return
    for name, value in shown.items():
        typer.echo(f"{name.replace('_', ' '):24}{'' if value is None else value}")
    note(f"Remove the machines and their data with: dashfleet org remove {org}")


def _plan(data: Path | None, server: str | None, faults: Iterable[str]) -> "SimulationPlan":
    """Return a plan for one machine of the server of a state directory, or of another. Raises UserError."""
    from agent.simulation.faults import Faults
    from agent.simulation.machine import SimulationPlan
    from runtime.settings.address import ServerAddress
    from runtime.state_directory import StateDirectory

    directory = StateDirectory(data_directory(data))
    address = server or directory.server
    try:
        ServerAddress.parse(address)
    except ValueError as error:
        raise UserError(f"--server {error}") from None
    return SimulationPlan(server=address, ca_file=directory.authority, faults=Faults.parse(faults))


def _show(counts: Counter[str]) -> None:
    if sys.stderr.isatty():
        told = ", ".join(f"{name} {counts[name]:,}" for name in ("connected", "taken", "acknowledged"))
        sys.stderr.write(f"\r{told}  ")
        sys.stderr.flush()


def _shown(summary: "SimulationSummary") -> dict[str, Any]:
    """Return the summary with percentiles of the latencies in milliseconds."""
    milliseconds = {
        f"latency_{name}_milliseconds": None if value is None else round(1000 * value)
        for name, value in (
            ("median", summary.percentile(0.5)),
            ("p99", summary.percentile(0.99)),
            ("longest", summary.percentile(1.0)),
        )
    }
    counted = summary.model_dump(exclude={"latencies", "seconds", "cpu_seconds"})
    return {
        **counted,
        "seconds": round(summary.seconds, 1),
        "cpu_seconds": round(summary.cpu_seconds, 1),
        **milliseconds,
    }
