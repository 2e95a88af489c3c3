"""`dashfleet backup` and `dashfleet restore`: the fleet database in one file."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli.options import Data, Database
from cli.settings import effective, fleet_database

if TYPE_CHECKING:
    from ingestor.admin.backup import Contents

app = typer.Typer()


@app.command()
def backup(
    file: Annotated[Path, typer.Argument(help="File to write, which must not exist.")],
    data: Data = None,
    database: Database = None,
) -> None:
    """Back up the fleet database to one file, while all parts are running."""
    from ingestor.admin.backup import back_up

    with fleet_database(data, database) as engine, _progress("Backing up") as tell:
        contents = back_up(engine, file, tell=tell)
    typer.echo(f"Backed up {_described(contents)} to {file}.")


@app.command()
def restore(
    file: Annotated[Path, typer.Argument(help="File written by `dashfleet backup`.")],
    data: Data = None,
    database: Database = None,
) -> None:
    """Restore a backup into a database that is empty or does not exist."""
    from ingestor.admin import backup
    from runtime.settings.ingestor import IngestorSettings
    from schemas.database.engine import open_engine, shown_url

    settings = effective(IngestorSettings, data, database=database)
    engine = open_engine(settings.database.get_secret_value())
    try:
        with _progress("Restoring") as tell:
            contents = backup.restore(file, engine, tell=tell)
        typer.echo(f"Restored {_described(contents)} into {shown_url(engine)}.")
    finally:
        engine.dispose()


@contextmanager
def _progress(what: str) -> Iterator[Callable[[str, int], None]]:
    """Show the table and number of rows on standard error, if it is a terminal."""
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(f"{what} …", total=None)
        done = 0

        def tell(table: str, rows: int) -> None:
            nonlocal done
            done += rows
            progress.update(task, description=f"{what}: {done:,} rows, table {table}")

        yield tell


def _described(contents: "Contents") -> str:
    from rich.filesize import decimal

    machines = f"{contents.machines:,} machine{'' if contents.machines == 1 else 's'}"
    return f"{machines} and {contents.samples:,} samples ({decimal(contents.size_bytes)})"
