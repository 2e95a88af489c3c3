"""`dashfleet drill`: run named faults against a test installation, and print what was kept and lost."""

from dataclasses import asdict
from typing import Annotated

import typer

from cli.drill.drill import all_drills
from cli.options import Json
from cli.output import note, show_json, show_rows
from runtime.errors import UserError

app = typer.Typer(
    help="Run faults against a test installation, and print what was kept and lost; the exit status is 1 for a loss.",
    no_args_is_help=True,
)

_Names = Annotated[list[str], typer.Argument(metavar="NAME", help="Names of drills, or all.")]
_Machines = Annotated[int, typer.Option(min=1, max=1000, help="Number of simulated machines.")]
_Seconds = Annotated[float, typer.Option(min=0.5, max=600, help="Duration of a fault, about.")]
_Interval = Annotated[float, typer.Option(min=0.1, max=10, help="Seconds between the samples of a machine.")]

ALL = "all"


@app.command("list")
def list_drills(as_json: Json = False) -> None:
    """List the drills."""
    found = [{"name": drill.name, "title": drill.title} for drill in all_drills().values()]
    show_rows(found, ("name", "title"), as_json=as_json)


@app.command("run")
def run(
    names: _Names, machines: _Machines = 10, interval: _Interval = 0.5, seconds: _Seconds = 6, as_json: Json = False
) -> None:
    """Run drills one after the other, each against a new installation in a temporary directory.

    Broker, ingestor and one agent are processes; the other machines are simulated. No other installation is touched.
    """
    from cli.drill.run import run_drill

    known = all_drills()
    wanted = list(known) if names == [ALL] else names
    for name in wanted:
        if name not in known:
            raise UserError(f"there is no drill {name}: dashfleet drill list shows them")
    reports = [
        run_drill(known[name], machines=machines, interval_seconds=interval, seconds=seconds, say=note)
        for name in wanted
    ]
    found = [{**asdict(report), "passed": report.passed} for report in reports]
    if as_json:
        show_json(found)
    else:
        columns = ("drill", "taken", "stored", "late", "duplicates", "dropped", "rejected", "lost", "back_seconds")
        show_rows(found, (*columns, "passed"))
    if not all(report.passed for report in reports):
        raise typer.Exit(1)
