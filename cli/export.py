"""`dashfleet export`: history for other programs."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from cli.options import CLOCK, Data, Database, Org, Output, to_moment
from cli.output import output_file, progress_bar
from cli.settings import fleet_database
from runtime.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from sqlalchemy import Engine

    from dashboard.export.files import Fields
    from dashboard.export.formats import Rows
    from dashboard.export.history import HistoryRange

app = typer.Typer()


@app.command()
def export(
    org: Org = "home",
    machine: Annotated[
        list[str] | None, typer.Option(help="Only this machine; may be repeated.", show_default="all")
    ] = None,
    start: Annotated[str, typer.Option("--from", help="2026-11-25, 2026-11-25T08:30 (UTC), or 24h (ago).")] = "24h",
    end: Annotated[str | None, typer.Option("--to", help="End of the range, exclusive.", show_default="now")] = None,
    resolution: Annotated[
        Literal["samples", "minutes", "hours"],
        typer.Option(help="Raw samples, or minimum, average and maximum per minute or hour."),
    ] = "samples",
    series: Annotated[
        bool, typer.Option("--series", help="Readings of devices, such as file systems, a row for each.")
    ] = False,
    form: Annotated[Literal["csv", "jsonl", "parquet"], typer.Option("--format", help="File format.")] = "csv",
    output: Output = None,
    data: Data = None,
    database: Database = None,
) -> None:
    """Export the history of an organisation's machines as CSV, JSON lines or Parquet: their vitals, or with --series
    the readings of their devices."""
    from dashboard.export.history import HistoryRange, unknown
    from schemas.fleet.history import HOURS, MINUTES, SAMPLES

    now = CLOCK.now()
    kept = {"samples": SAMPLES, "minutes": MINUTES, "hours": HOURS}[resolution]
    until = to_moment(end, now) if end is not None else now
    wanted = HistoryRange(org, tuple(machine or ()), to_moment(start, now), until, kept)
    if wanted.start >= wanted.end:
        raise UserError("--from must be before --to")
    if series and resolution == "minutes":
        raise UserError("readings of devices have no minutes: choose --resolution samples or hours")
    if output is None and form == "parquet":
        raise UserError("Parquet cannot be written to standard output: choose a file with --output")
    with fleet_database(data, database, read_only=True) as engine:
        if problem := unknown(engine, wanted):
            raise UserError(problem)
        written = _write_series(engine, wanted, form, output) if series else _write(engine, wanted, form, output)
    if output is not None:
        typer.echo(f"Exported {written:,} rows to {output}.")


def _write(engine: "Engine", wanted: "HistoryRange", form: str, output: Path | None) -> int:
    """Return the number of rows written."""
    from dashboard.export.history import count, rows

    with progress_bar("Exporting", count(engine, wanted)) as advance:
        return _write_rows(rows(engine, wanted), wanted.fields, form, output, advance)


def _write_series(engine: "Engine", wanted: "HistoryRange", form: str, output: Path | None) -> int:
    """Return the number of rows written."""
    from dashboard.export.series import fields, rows

    return _write_rows(rows(engine, wanted), fields(wanted), form, output, lambda _rows: None)


def _write_rows(
    batches: "Iterable[Rows]", fields: "Fields", form: str, output: Path | None, advance: "Callable[[int], None]"
) -> int:
    from dashboard.export.files import writing

    done = 0
    try:
        with output_file(output) as file, writing(form, file, fields) as write:
            for some in batches:
                write(some)
                done += len(some)
                advance(len(some))
    except ImportError:
        raise UserError("Parquet files need pyarrow: install dashfleet[dashboard]") from None
    return done
