"""Backing up the fleet's database, and bringing a backup back."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli.options import Data, Database, effective, fleet_database

if TYPE_CHECKING:
    from ingestor.admin.backup import Contents, Told

app = typer.Typer()


@app.command()
def backup(
    file: Annotated[Path, typer.Argument(help="The file to write; it must not exist yet.")],
    data: Data = None,
    database: Database = None,
) -> None:
    """Copy the fleet's database into one file, while everything runs."""
    from ingestor.admin.backup import back_up

    with fleet_database(data, database) as engine, _progress("Backing up") as tell:
        contents = back_up(engine, file, tell=tell)
    typer.echo(f"Backed up {_described(contents)} to {file}.")


@app.command()
def restore(
    file: Annotated[Path, typer.Argument(help="A file that `dashfleet backup` wrote.")],
    data: Data = None,
    database: Database = None,
) -> None:
    """Bring a backup into a database that is empty or not there yet."""
    from ingestor.admin.backup import restore as bring_back
    from runtime.settings.ingestor import IngestorSettings
    from schemas.database.engine import open_engine, shown_url

    settings = effective(IngestorSettings, data, None, False, database=database)
    engine = open_engine(settings.database.get_secret_value())
    try:
        with _progress("Restoring") as tell:
            contents = bring_back(file, engine, tell=tell)
        typer.echo(f"Restored {_described(contents)} into {shown_url(engine)}.")
    finally:
        engine.dispose()


@contextmanager
def _progress(what: str) -> "Iterator[Told]":
    """A line on a terminal's standard error that says how far it is; nothing elsewhere."""
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(f"{what} …", total=None)
        done = 0

        def tell(table: str, rows: int) -> None:
            nonlocal done
            done += rows
            progress.update(task, description=f"{what}: {done:,} rows, at {table}")

        yield tell


def _described(contents: "Contents") -> str:
    from rich.filesize import decimal

    machines = f"{contents.machines:,} machine{'' if contents.machines == 1 else 's'}"
    return f"{machines} and {contents.samples:,} samples ({decimal(contents.size_bytes)})"
