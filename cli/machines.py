"""Tables of machines and of their ledgers, for a terminal."""

from typing import Any

from rich.table import Table

from runtime.durations import duration
from schemas.fleet.ledger import Ledger


def machine_table(found: list[dict[str, Any]], *, now: float) -> Table:
    """The list for a terminal. `now`: seconds since 1970."""
    shown = Table(box=None, pad_edge=False, header_style="bold")
    named = _names(found)
    for title in ("Machine", "Status", "Why", "Health"):
        shown.add_column(title, no_wrap=True)
    for title in ("CPU", "Memory", "Disk", "Up", "Last seen"):
        shown.add_column(title, justify="right", no_wrap=True)
    for row in found:
        vitals, health, seen = row["vitals"], row["health"], row["last_seen"]
        shown.add_row(
            named[row["org"], row["machine"]],
            _coloured(row["presence"], row["presence"] if row["verified"] else f"{row['presence']}?"),
            row["reason"],
            _coloured(health["status"], f"{health['status']} {'' if health['score'] is None else health['score']}"),
            *(_percent(vitals[name]) for name in ("cpu_percent", "memory_percent", "disk_percent")),
            "" if vitals["uptime_seconds"] is None else duration(vitals["uptime_seconds"]),
            "never" if seen is None else duration(now - seen / 1000),
        )
    return shown


def ledger_table(found: list[dict[str, Any]]) -> Table:
    """The ledgers for a terminal."""
    shown = Table(box=None, pad_edge=False, header_style="bold")
    shown.add_column("Machine", no_wrap=True)
    for name in Ledger.__slots__:
        shown.add_column(name.capitalize(), justify="right", no_wrap=True)
    named = _names(found)
    for row in found:
        figures = {name: f"{row['ledger'][name]:,}" for name in Ledger.__slots__}
        if row["ledger"]["lost"]:
            figures["lost"] = f"[red]{figures['lost']}[/]"
        shown.add_row(named[row["org"], row["machine"]], *figures.values())
    return shown


def _names(found: list[dict[str, Any]]) -> dict[tuple[str, str], str]:
    """What to call each machine: its id, behind its organisation where there are several."""
    several = len({row["org"] for row in found}) > 1
    return {
        (row["org"], row["machine"]): f"{row['org']}/{row['machine']}" if several else row["machine"] for row in found
    }


def _coloured(status: str, text: str) -> str:
    return f"[{_COLOURS.get(status, 'dim')}]{text}[/]"


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{value:.1f} %"


_COLOURS = {"online": "green", "stale": "yellow", "offline": "red", "ok": "green", "warn": "yellow", "critical": "red"}
