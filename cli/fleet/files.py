"""`dashfleet files`: the files that this server offers to machines, and those that were pulled from machines."""

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.options import Data, Database, Json, OnlyMachine, OnlyOrg, Org
from cli.output import note, show_rows, utc
from cli.settings import effective, fleet_database, require_known, require_org
from runtime.errors import UserError
from runtime.terminal import printable

if TYPE_CHECKING:
    from ingestor.files.server_files import ServerFiles, StoredFile

app = typer.Typer(
    help="List, offer, copy and delete files pushed to machines and pulled from them.",
    no_args_is_help=True,
)

Id = Annotated[str, typer.Argument(metavar="ID", help="Id, as shown by `dashfleet files list`.")]


@app.command("list")
def list_(
    data: Data = None,
    org: OnlyOrg = None,
    machine: OnlyMachine = None,
    database: Database = None,
    as_json: Json = False,
) -> None:
    """List files, the newest first: pushed files by their SHA-256, pulled files by the id of their command."""
    from schemas.database.queries.commands import command_arguments

    of_org = [each for each in _files(data).entries() if org in (None, each.org)]
    found = [each for each in of_org if machine in (None, each.machine)]
    with fleet_database(data, database, read_only=True) as engine:
        require_known(engine, org)
        arguments = command_arguments(engine, [each.id for each in found if each.machine])
    rows = [_row(each, arguments.get(each.id, {})) for each in found]
    show_rows(rows, ("id", "at", "org", "machine", "size", "path"), as_json=as_json, cells=_cells)


@app.command("add")
def add(file: Annotated[Path, typer.Argument(help="File to copy.")], data: Data = None, org: Org = "home") -> None:
    """Offer a file to the machines of an organisation, for the action push, and print its SHA-256."""
    typer.echo(offer_file(data, org, file, store=True))


@app.command("get")
def get(
    id_: Id,
    output: Annotated[Path, typer.Argument(metavar="FILE", help="File to write, which must not exist.")],
    data: Data = None,
) -> None:
    """Copy a file. The content of a pulled file was chosen by its machine: treat it as a file from a stranger."""
    from shutil import copyfile

    from runtime.files import new

    found = _found(_files(data), id_)
    try:
        with new(output) as written:
            copyfile(found[0].path, written)
    except FileExistsError:
        raise UserError(f"{output} exists: name a new file") from None
    except OSError as error:
        raise UserError(f"cannot write {output}: {error.strerror}") from None
    note(f"Wrote {found[0].size} bytes to {output}.")


@app.command("remove")
def remove(ids: Annotated[list[str], typer.Argument(metavar="ID…", help="Ids of files.")], data: Data = None) -> None:
    """Delete files. A machine that has not fetched one yet fails to."""
    stored = _files(data)
    for each in [each for id_ in ids for each in _found(stored, id_)]:
        each.path.unlink(missing_ok=True)
    note(f"Deleted {len(ids)} {'file' if len(ids) == 1 else 'files'}.")


def offer_file(data: Path | None, org: str, file: Path, *, store: bool) -> str:
    """Return the SHA-256 of a file, which the machines of an organisation may fetch if `store`. Raises UserError."""
    try:
        if store:
            with fleet_database(data, read_only=True) as engine:
                require_org(engine, org)
            return _files(data).add(org, file)
        with file.open("rb") as opened:
            return hashlib.file_digest(opened, "sha256").hexdigest()
    except OSError as error:
        raise UserError(f"cannot read {file}: {error.strerror}") from None


def _files(data: Path | None) -> "ServerFiles":
    from ingestor.files.server_files import server_files
    from runtime.settings.ingestor import IngestorSettings

    return server_files(effective(IngestorSettings, data))


def _found(stored: "ServerFiles", id_: str) -> "list[StoredFile]":
    found = stored.get(id_)
    if not found:
        raise UserError(f"there is no file {printable(id_)}: dashfleet files list shows them")
    return found


def _row(file: "StoredFile", arguments: dict[str, Any]) -> dict[str, Any]:
    names = ("id", "at", "org", "machine", "size")
    direction = "pulled" if file.machine else "pushed"
    return {**{name: getattr(file, name) for name in names}, "path": arguments.get("path", ""), "direction": direction}


def _cells(row: dict[str, Any]) -> dict[str, str]:
    return {**{name: printable(str(value)) for name, value in row.items()}, "at": utc(row["at"])}
