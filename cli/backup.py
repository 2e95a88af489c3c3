"""`dashfleet backup` and `dashfleet restore`: a whole server in one archive."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated

import typer

from cli.options import CLOCK, Data, Database
from cli.output import note, utc
from cli.settings import data_directory, effective, fleet_database
from runtime.errors import UserError
from runtime.state_directory import StateDirectory

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from ingestor.admin.backup import Contents

app = typer.Typer()

DatabaseOnly = Annotated[
    bool, typer.Option("--database-only", help="Only the fleet database: no users, secrets, certificates, settings.")
]
_OUTSIDE = {"broker": ("certificate", "private_key"), "dashboard": ("signing_keys", "oidc_secret_file")}


@app.command()
def backup(
    file: Annotated[Path, typer.Argument(help="File to write, which must not exist.")],
    data: Data = None,
    database: Database = None,
    database_only: DatabaseOnly = False,
) -> None:
    """Back up the server to one file, while all parts are running.

    The archive contains the fleet database, users, secrets, certificates with their CA, and settings, unencrypted.
    """
    from ingestor.admin.backup import back_up

    with fleet_database(data, database) as engine, _progress("Backing up") as tell:
        if database_only:
            typer.echo(f"Backed up {_described(back_up(engine, file, tell=tell))} to {file}.")
            return
        if file.exists():
            raise UserError(f"the file {file} exists already: name a new one")
        _back_up_all(engine, file, data, tell)


def _back_up_all(engine: "Engine", file: Path, data: Path | None, tell: Callable[[str, int], None]) -> None:
    from cli.archive import FLEET, write_archive
    from ingestor.admin.backup import back_up

    people = _people_file(data)
    try:
        with TemporaryDirectory(dir=file.absolute().parent, prefix=f".{file.name}.") as directory:
            at, fleet = CLOCK.now(), Path(directory, FLEET)
            contents = back_up(engine, fleet, tell=tell)
            found = write_archive(StateDirectory(data_directory(data)), fleet, people, file, at=at)
    except OSError as error:
        raise UserError(f"cannot back up to {file}: {error.strerror}") from None
    typer.echo(f"Backed up {_described(contents)} and {len(found)} files to {file}.")
    note(f"It contains the secrets of this server, unencrypted: keep {file} as safe as they are.")
    if people is None:
        note("Not included: the users, whose database is not SQLite. Back it up with its own tools.")
    for path in _outside(data):
        note(f"Not included: {path}, which is outside the state directory.")


@app.command()
def restore(
    file: Annotated[Path, typer.Argument(help="File written by `dashfleet backup`.")],
    data: Data = None,
    database: Database = None,
    server: Annotated[
        str | None, typer.Option(help="New broker URL for the parts.", show_default="the one in the backup")
    ] = None,
    revoked: Annotated[
        Path | None,
        typer.Option(help="File with user names, one per line, of credentials to revoke again.", metavar="FILE"),
    ] = None,
    database_only: DatabaseOnly = False,
) -> None:
    """Restore a backup into an empty state directory, and a database that is empty or does not exist."""
    from cli.archive import FLEET, is_archive, opened_archive, placed_files, read_manifest

    names = _names_in(revoked)
    _require_url(server)
    if not is_archive(file):
        _restore_database(file, data, database, names)
        return
    with opened_archive(file, data_directory(data)) as directory:
        at = read_manifest(directory)["at"]
        if database_only:
            _restore_database(directory / FLEET, data, database, names, at=at)
            return
        with placed_files(directory, data_directory(data), lambda: _people_file(data)) as written:
            _restore_database(directory / FLEET, data, database, names, at=at)
            if server is not None:
                state = StateDirectory(data_directory(data))
                state.remember(server=server, machine=state.machine or "")
    typer.echo(f"Restored {len(written)} files. Users have to sign in again.")


def _restore_database(
    file: Path, data: Path | None, database: str | None, revoked: list[str], *, at: int | None = None
) -> None:
    from ingestor.admin import backup
    from runtime.settings.ingestor import IngestorSettings
    from schemas.database.engine import open_engine, shown_url

    settings = effective(IngestorSettings, data, database=database)
    settings.data.mkdir(parents=True, exist_ok=True, mode=0o700)
    engine = open_engine(settings.database.get_secret_value())
    try:
        with _progress("Restoring") as tell:
            contents = backup.restore(file, engine, tell=tell)
        typer.echo(f"Restored {_described(contents)} into {shown_url(engine)}.")
        _revoke_again(engine, revoked)
        _warn_of_credentials(engine, at)
    finally:
        engine.dispose()


def _revoke_again(engine: "Engine", names: list[str]) -> None:
    from ingestor.admin.access import revoke_principal

    for name in names:
        try:
            revoke_principal(engine, name, now=CLOCK.now)
            typer.echo(f"Revoked {name}.")
        except UserError as error:
            note(f"Not revoked: {error}")


def _warn_of_credentials(engine: "Engine", at: int | None) -> None:
    """List the credentials that are valid again if they were revoked after the backup."""
    from ingestor.admin.access import list_principals
    from ingestor.admin.tokens import list_tokens

    valid = [row for row in list_principals(engine) if row["revoked"] is None]
    tokens = [row["token"] for row in list_tokens(engine) if row["revoked"] is None and row["expires"] > CLOCK.now()]
    since = "the backup" if at is None else utc(at)
    note(f"A credential that was revoked or rotated after {since} is valid again, as are users removed since.")
    note("Valid now; revoke those that should not be with dashfleet principal revoke (or token revoke):")
    for name in [*(row["username"] for row in valid), *tokens]:
        note(f"    {name}")


def _names_in(file: Path | None) -> list[str]:
    try:
        return [] if file is None else file.read_text().split()
    except OSError as error:
        raise UserError(f"cannot read {file}: {error.strerror}") from None


def _require_url(server: str | None) -> None:
    from runtime.settings.address import ServerAddress

    try:
        if server is not None:
            ServerAddress.parse(server)
    except ValueError as error:
        raise UserError(f"--server {error}") from None


def _people_file(data: Path | None) -> Path | None:
    """Return the file of the database of users; None if it is not SQLite."""
    from sqlalchemy import make_url

    from runtime.settings.dashboard import DashboardSettings

    url = make_url(effective(DashboardSettings, data).auth_database.get_secret_value())
    return Path(url.database) if url.get_backend_name() == "sqlite" and url.database else None


def _outside(data: Path | None) -> list[Path]:
    """Return the files that the settings name outside of the state directory."""
    from runtime.settings.broker import BrokerSettings
    from runtime.settings.dashboard import DashboardSettings

    settings = [effective(kind, data) for kind in (BrokerSettings, DashboardSettings)]
    named = [getattr(found, name) for found in settings for name in _OUTSIDE[found.part]]
    return [path for path in named if path is not None and not path.absolute().is_relative_to(data_directory(data))]


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
