"""`dashfleet machines` and `dashfleet ledger`: state of each machine, and account of its samples."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from cli.options import CLOCK, Data, Database, Json
from cli.output import new_table, note, short_utc, show_json, show_table
from cli.settings import fleet_database
from runtime.durations import duration
from schemas.fleet.ledger import Ledger

if TYPE_CHECKING:
    from rich.table import Table

app = typer.Typer()

_NAMED_MAX = 5
_COLOURS = {"online": "green", "stale": "yellow", "offline": "red", "ok": "green", "warn": "yellow", "critical": "red"}


@app.command()
def machines(data: Data = None, database: Database = None, as_json: Json = False) -> None:
    """List machines, the most severe first: presence, health, vitals, last seen."""
    found = _list_machines(data, database, with_series=as_json)
    if as_json:
        show_json(found)
    else:
        show_table(machine_table(found, now=CLOCK.now() / 1000))


@app.command()
def ledger(data: Data = None, database: Database = None, as_json: Json = False) -> None:
    """List the ledger of each machine: samples stored, late, dropped, waiting, rejected, lost."""
    found = _list_machines(data, database)
    if as_json:
        show_json([{name: row[name] for name in ("org", "machine", "ledger")} for row in _by_name(found)])
    else:
        show_table(ledger_table(found))


def machine_table(found: Sequence[dict[str, Any]], *, now: float) -> "Table":
    """Return machines as a table, readings that are not current dimmed. `now`: seconds since the epoch."""
    right = ("CPU", "Memory", "Disk", "Up", "Last seen")
    table = new_table(("Machine", "Status", "Since", "Why", "Health"), right, no_wrap=True)
    named = _names(found)
    for row in found:
        vitals, seen = row["vitals"], row["last_seen"]
        readings = [_percent(vitals[name]) for name in ("cpu_percent", "memory_percent", "disk_percent")]
        readings.append("" if vitals["uptime_seconds"] is None else duration(vitals["uptime_seconds"]))
        table.add_row(
            named[row["org"], row["machine"]],
            _coloured(row["presence"], row["presence"] if row["verified"] else f"{row['presence']}?"),
            short_utc(row["since"], now),
            _why(row),
            _health(row, now),
            *(readings if row["current"] else (f"[dim]{reading}[/]" for reading in readings)),
            "never" if seen is None else duration(now - seen / 1000),
        )
    return table


def ledger_table(found: Sequence[dict[str, Any]]) -> "Table":
    """Return ledgers as a table."""
    table = new_table(["Machine"], [name.capitalize() for name in Ledger.__slots__], no_wrap=True)
    named = _names(found)
    for row in _by_name(found):
        figures = {name: f"{row['ledger'][name]:,}" for name in Ledger.__slots__}
        if row["ledger"]["lost"]:
            figures["lost"] = f"[red]{figures['lost']}[/]"
        table.add_row(named[row["org"], row["machine"]], *figures.values())
    return table


def _list_machines(data: Path | None, database: str | None, *, with_series: bool = False) -> list[dict[str, Any]]:
    from schemas.database.queries.dead_letters import find_incompatible
    from schemas.database.queries.heartbeat import find_trouble
    from schemas.database.queries.machines import list_machines
    from schemas.database.series.latest import list_machines_with_series

    with fleet_database(data, database, read_only=True) as engine:
        now = CLOCK.now()
        trouble = find_trouble(engine, now=now)
        if with_series:
            found = list_machines_with_series(engine, now=now, trouble=trouble)
        else:
            found = list_machines(engine, trouble=trouble)
        incompatible = find_incompatible(engine, now=now)
    for row in found:
        row["incompatible"] = incompatible.get((row["org"], row["machine"]))
    if incompatible:
        names = ", ".join(sorted(f"{org}/{machine}" for org, machine in incompatible)[:_NAMED_MAX])
        note(f"messages of {len(incompatible)} are rejected ({names}): {next(iter(incompatible.values()))}")
    if found and trouble:
        note(f"{trouble}: these are the last known values, and no presence is verified")
    return found


def _by_name(found: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    return sorted(found, key=lambda row: (row["org"], row["machine"]))


def _names(found: Sequence[dict[str, Any]]) -> dict[tuple[str, str], str]:
    """Return the displayed name of each machine: its id, with the organisation if there are several."""
    several = len({row["org"] for row in found}) > 1
    return {
        (row["org"], row["machine"]): f"{row['org']}/{row['machine']}" if several else row["machine"] for row in found
    }


def _why(row: dict[str, Any]) -> str:
    """Return the reason of the presence; an agent that the server cannot read comes first."""
    reason = f"{row['reason']}, flapping" if row["flapping"] else str(row["reason"])
    return "[red]incompatible agent[/]" if row.get("incompatible") else reason


def _health(row: dict[str, Any], now: float) -> str:
    """Return health and score, or the time of the last readings if they are not current."""
    if not row["current"]:
        return "–" if row["as_of"] is None else f"[dim]– as of {short_utc(row['as_of'], now)}[/]"
    status, score = row["health"]["status"], row["health"]["score"]
    return _coloured(status, f"{status} {'' if score is None else score}")


def _coloured(status: str, text: str) -> str:
    return f"[{_COLOURS.get(status, 'dim')}]{text}[/]"


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{value:.1f} %"
