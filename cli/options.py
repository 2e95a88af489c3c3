"""Options and option values shared by several commands."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Final

import typer

from runtime.clock import SystemClock
from runtime.errors import UserError

CLOCK = SystemClock()
DAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")

Data = Annotated[
    Path | None,
    typer.Option(
        "--data",
        envvar="DASHFLEET_DATA",
        help="State directory.",
        show_default="the user's data directory",
        metavar="DIR",
    ),
]
Configuration = Annotated[
    Path | None, typer.Option("--config", help="Configuration file, instead of dashfleet.toml in the state directory.")
]
Server = Annotated[str | None, typer.Option(help="Broker URL, mqtt://HOST:PORT or mqtts://HOST:PORT.")]
Database = Annotated[str | None, typer.Option(help="SQLAlchemy URL of the fleet database.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Check = Annotated[bool, typer.Option("--check", help="Print the effective settings, secrets masked, and exit.")]
Org = Annotated[str, typer.Option(help="Organisation.")]
OnlyOrg = Annotated[str | None, typer.Option("--org", help="Only this organisation.", show_default="all")]
OnlyMachine = Annotated[str | None, typer.Option("--machine", help="Only this machine.", show_default="all")]
Output = Annotated[
    Path | None,
    typer.Option(
        help="File to write, which must not exist; - for standard output.",
        show_default="standard output",
        parser=lambda text: None if text == "-" else Path(text),
        metavar="FILE",
    ),
]


def to_seconds(text: str) -> float:
    """Parse a duration such as 90s or 2d, in seconds. Raises UserError."""
    from runtime import durations

    try:
        return durations.seconds(text)
    except ValueError as error:
        raise UserError(str(error)) from None


def to_days(text: str) -> list[int] | None:
    """Parse days of the week such as `mon,wed` or `sat-sun`; return their numbers, 0 for Monday, or None if wrong."""
    found: set[int] = set()
    for part in text.strip().lower().split(","):
        first, dash, last = part.strip().partition("-")
        if first not in DAYS or (dash and last not in DAYS):
            return None
        begin = DAYS.index(first)
        length = (DAYS.index(last or first) - begin) % 7 + 1
        found |= {(begin + number) % 7 for number in range(length)}
    return sorted(found)


def to_moment(text: str, now: int) -> int:
    """Parse an ISO 8601 date or time (UTC without an offset) or a duration before `now`, in milliseconds.

    Raises UserError.
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
        raise UserError(f"invalid time {text!r}: write 2026-11-25, 2026-11-25T08:30 or 24h (ago)") from None


def user_name() -> str:
    """Return the operating system's name of the user, or an empty string if it has none."""
    import getpass

    try:
        return getpass.getuser()
    except (OSError, KeyError):  # the user id has no name, as in some containers
        return ""
