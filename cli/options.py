"""What the commands share: options with one meaning everywhere, the effective settings, and how results are printed."""

import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from runtime.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rich.table import Table
    from sqlalchemy import Engine

Data = Annotated[
    Path | None,
    typer.Option(
        "--data", envvar="DASHFLEET_DATA", help="The state directory.", show_default="the user's", metavar="DIR"
    ),
]
Configuration = Annotated[
    Path | None, typer.Option("--config", help="A configuration file instead of dashfleet.toml in the state directory.")
]
Server = Annotated[str | None, typer.Option(help="The broker's address, mqtt://HOST:PORT or mqtts://HOST:PORT.")]
Database = Annotated[str | None, typer.Option(help="SQLAlchemy URL of the fleet's database.")]
Json = Annotated[bool, typer.Option("--json", help="For programs.")]
Check = Annotated[bool, typer.Option("--check", help="Print the effective settings, secrets masked, and exit.")]
PortOption = Annotated[int | None, typer.Option(help="The port to listen on.", min=1, max=65_535)]
Output = Annotated[
    Path | None,
    typer.Option(
        help="The file to write, which must not exist yet; - is standard output.",
        show_default="standard output",
        parser=lambda text: None if text == "-" else Path(text),
        metavar="FILE",
    ),
]


@contextmanager
def fleet_database(data: Path | None, database: str | None = None, *, read_only: bool = False) -> "Iterator[Engine]":
    """The fleet's database, of this version. Raises DatabaseError."""
    from runtime.settings.ingestor import IngestorSettings

    settings = effective(IngestorSettings, data, None, False, database=database)
    from schemas.database.engine import open_engine, require_current

    engine = open_engine(settings.database.get_secret_value(), read_only=read_only)
    try:
        require_current(engine)
        yield engine
    finally:
        engine.dispose()


@contextmanager
def to_file(output: Path | None) -> "Iterator[Path | None]":
    """Where to write a file that has its name only when it is whole; None, for standard output, stays so.

    Raises UserError when there is such a file, or it cannot be written.
    """
    from runtime import files

    try:
        with nullcontext() if output is None else files.new(output) as file:
            yield file
    except FileExistsError:
        raise UserError(f"there is a file {output} already: name one that does not exist") from None
    except BrokenPipeError:  # whoever read our output has enough
        raise typer.Exit(1) from None
    except OSError as error:
        raise UserError(f"cannot write {output or 'the output'}: {error.strerror}") from None


def table(found: "list[dict[str, str]]", columns: tuple[str, ...]) -> "Table":
    """Rows of text as a table."""
    from rich.table import Table

    titles = (column.replace("_", " ").capitalize() for column in columns)
    shown = Table(*titles, box=None, pad_edge=False, header_style="bold")
    shown.columns[0].no_wrap = True  # what people copy
    for row in found:
        shown.add_row(*(row[column] for column in columns))
    return shown


def show(what: "list[dict[str, Any]] | Table") -> None:
    """Print a table for a person, or a list as JSON."""
    from rich.console import Console

    if isinstance(what, list):
        typer.echo(json.dumps(what, indent=2))
    else:
        Console().print(what)


def effective(kind: type[Any], data: Path | None, config: Path | None, check: bool, **given: Any) -> Any:  # noqa: ANN401
    """The effective settings of a part; with `check`, print them and exit."""
    from runtime.settings.loading import load, masked

    directory = data_directory(data)
    settings = load(kind, directory, given, defaults=_defaults(kind.part, directory), configuration=config)
    if check:
        typer.echo(masked(settings))
        raise typer.Exit
    return settings


def to_seconds(text: str) -> float:
    """The length of time that an option says. Raises UserError."""
    from runtime import durations

    try:
        return durations.seconds(text)
    except ValueError as error:
        raise UserError(str(error)) from None


def to_moment(text: str, now: int) -> int:
    """The moment that an option says, in milliseconds: a date or time by ISO 8601, or how long ago.

    It is UTC if it says no zone. Raises UserError.
    """
    from runtime import durations

    try:
        return now - round(durations.seconds(text) * 1000)
    except ValueError:
        pass
    try:
        found = datetime.fromisoformat(text)
        return round((found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp() * 1000)
    except (ValueError, OverflowError):
        raise UserError(f"{text!r} is no moment: write it as 2026-11-25, 2026-11-25T08:30 or 24h (ago)") from None


def utc(at: int) -> str:
    """A moment in milliseconds as people read it, to the second, UTC."""
    return datetime.fromtimestamp(at / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S")


def data_directory(given: Path | None) -> Path:
    """The state directory: what was given, or the user's."""
    from platformdirs import user_data_path

    return (given or user_data_path("dashfleet", appauthor=False)).expanduser().absolute()


def _defaults(part: str, data: Path) -> "Mapping[str, Any]":
    """What depends on the state directory, and on the last `dashfleet up` in it."""
    from runtime.state_directory import StateDirectory
    from schemas.contract.topics import slug

    layout = StateDirectory(data)
    client = {"server": layout.server, "password_file": layout.secret(part), "ca_file": layout.authority}
    database = {"database": layout.database_url}
    defaults: dict[str, dict[str, Any]] = {
        "broker": database,
        "mosquitto": {**database, "directory": layout.data / "mosquitto"},
        "nats": {**database, "directory": layout.data / "nats"},
        "ingestor": {**client, **database},
        "agent": {**client, "machine": layout.machine or slug(socket.gethostname()), **layout.enrolled},
        "dashboard": {**client, **database, "auth_database": layout.people_url, "signing_keys": layout.signing},
        "watch": client,
        "act": {**client, "signing_keys": layout.signing},
    }
    return defaults[part]


def somebody() -> str:
    """Who is at the terminal, as the operating system says."""
    import getpass

    try:
        return getpass.getuser()
    except (OSError, KeyError):  # no such user, as in a container
        return ""
