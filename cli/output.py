"""Printing of results: tables for people, JSON for programs, files."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from runtime.errors import UserError

if TYPE_CHECKING:
    from rich.table import Table

_FULL_WIDTH = 100_000
_TIMES = frozenset(("created", "expires", "revoked", "previous_until", "last_use"))


def note(text: str) -> None:
    """Print a line to standard error, beside the result."""
    typer.echo(text, err=True)


def utc(at: int | None) -> str:
    """Format a time in milliseconds to the second, UTC; an empty string for None."""
    return "" if at is None else datetime.fromtimestamp(at / 1000, UTC).strftime("%Y-%m-%d %H:%M:%SZ")


def short_utc(at: int | None, now: float) -> str:
    """Format a time in milliseconds to the minute, UTC, with the date unless it is today's; `now` is in seconds."""
    if at is None:
        return ""
    try:
        moment, today = datetime.fromtimestamp(at / 1000, UTC), datetime.fromtimestamp(now, UTC)
    except (OverflowError, ValueError):
        return "?"  # a clock that was very wrong
    return moment.strftime("%H:%MZ" if moment.date() == today.date() else "%Y-%m-%d %H:%MZ")


def show_json(value: object) -> None:
    """Print a value as indented JSON."""
    typer.echo(json.dumps(value, indent=2))


def show_table(table: "Table") -> None:
    """Print a table, at full width unless to a terminal."""
    from rich.console import Console

    console = Console()
    if not console.is_terminal:
        console.width = max(1, console.measure(table, options=console.options.update_width(_FULL_WIDTH)).maximum)
    console.print(table)


def new_table(left: Sequence[str], right: Sequence[str] = (), *, no_wrap: bool = False) -> "Table":
    """Return an empty table with these left-aligned and right-aligned columns."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in left:
        table.add_column(title, no_wrap=no_wrap)
    for title in right:
        table.add_column(title, justify="right", no_wrap=no_wrap)
    return table


def _cells(row: Mapping[str, Any]) -> dict[str, str]:
    return {name: utc(value) if name in _TIMES else str(value) for name, value in row.items() if value is not None}


def show_rows(
    found: Sequence[Mapping[str, Any]],
    columns: Sequence[str],
    *,
    as_json: bool = False,
    cells: Callable[[Any], Mapping[str, str]] = _cells,
    empty: str = "",
) -> None:
    """Print rows as JSON, or as a table of these columns with the text that `cells` makes of a row.

    `empty` is a sentence that replaces a table without rows; it goes to standard error, which no program parses.
    """
    if as_json:
        show_json(found)
        return
    if empty and not found:
        note(empty)
        return
    from rich.text import Text

    table = new_table([name.replace("_", " ").capitalize() for name in columns])
    table.columns[0].no_wrap = True  # people copy it
    for row in map(cells, found):
        table.add_row(*(Text(row.get(name, "")) for name in columns))  # a str would be parsed as markup
    show_table(table)


@contextmanager
def progress_bar(title: str, total: int) -> Iterator[Callable[[int], None]]:
    """Show a progress bar on standard error if it is a terminal; the function yielded advances it."""
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(title, total=total)
        yield lambda steps: progress.advance(task, steps)


@contextmanager
def output_file(output: Path | None) -> Iterator[Path | None]:
    """Open a new file that gets its name when it is complete; None, for standard output, is passed through.

    Raises UserError if the file exists or cannot be written.
    """
    from runtime import files

    try:
        with nullcontext() if output is None else files.new(output) as file:
            yield file
    except FileExistsError:
        raise UserError(f"{output} already exists: choose another file") from None
    except BrokenPipeError:  # the reader of standard output closed it
        raise typer.Exit(1) from None
    except OSError as error:
        raise UserError(f"cannot write {output or 'standard output'}: {error.strerror}") from None
