"""Handing the fleet's history to other programs."""

import time
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli.options import Data, Database, Output, fleet_database, to_file, to_moment
from runtime.errors import UserError

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from dashboard.export.history import HistoryRange

app = typer.Typer()


class Form(StrEnum):
    """How a file is written."""

    CSV = "csv"
    JSONL = "jsonl"
    PARQUET = "parquet"


class Finely(StrEnum):
    """How finely history is exported."""

    SAMPLES = "samples"
    MINUTES = "minutes"
    HOURS = "hours"


@app.command()
def export(
    org: Annotated[str, typer.Option(help="The organisation.")] = "home",
    machine: Annotated[
        list[str] | None, typer.Option(help="Only this machine; may be given again.", show_default="all")
    ] = None,
    start: Annotated[str, typer.Option("--from", help="2026-11-25, 2026-11-25T08:30 (UTC), or 24h (ago).")] = "24h",
    end: Annotated[str | None, typer.Option("--to", help="Until before this moment.", show_default="now")] = None,
    resolution: Annotated[
        Finely, typer.Option(help="Samples as they came, or minimum, average and maximum per minute or hour.")
    ] = Finely.SAMPLES,
    form: Annotated[Form, typer.Option("--format", help="The form of the file.")] = Form.CSV,
    output: Output = None,
    data: Data = None,
    database: Database = None,
) -> None:
    """Write the history of an organisation's machines as CSV, JSON lines or Parquet."""
    from dashboard.export.history import HistoryRange, unknown
    from schemas.fleet.history import HOURS, MINUTES, SAMPLES

    now = time.time_ns() // 1_000_000
    kept = {Finely.SAMPLES: SAMPLES, Finely.MINUTES: MINUTES, Finely.HOURS: HOURS}[resolution]
    until = to_moment(end, now) if end is not None else now
    wanted = HistoryRange(org, tuple(machine or ()), to_moment(start, now), until, kept)
    if wanted.start >= wanted.end:
        raise UserError("--from must be before --to")
    if output is None and form is Form.PARQUET:
        raise UserError("a Parquet file cannot go to standard output: name it with --output")
    with fleet_database(data, database, read_only=True) as engine:
        if said := unknown(engine, wanted):
            raise UserError(said)
        written = _write(engine, wanted, form, output)
    if output is not None:
        typer.echo(f"Exported {written:,} rows to {output}.")


def _write(engine: "Engine", wanted: "HistoryRange", form: Form, output: Path | None) -> int:
    """The number of rows written."""
    from rich.console import Console
    from rich.progress import Progress

    from dashboard.export.history import count, rows, writing

    done = 0
    try:
        with Progress(console=Console(stderr=True), transient=True) as progress:
            task = progress.add_task("Exporting", total=count(engine, wanted))
            with to_file(output) as file, writing(form.value, file, wanted) as write:
                for some in rows(engine, wanted):
                    write(some)
                    done += len(some)
                    progress.advance(task, len(some))
    except ImportError:
        raise UserError("Parquet files need pyarrow: install dashfleet[dashboard]") from None
    return done
