"""The fleet as a list, for the command line: what each machine is, whether it is there, and its ledger."""

from dataclasses import dataclass
from typing import Any

from humanize import naturaldelta
from rich.markup import escape
from rich.table import Table
from sqlalchemy import Engine, select

from broker.watch import printable
from ingestor.ranges import Ranges
from schemas import tables
from schemas.messages import VITALS


@dataclass(slots=True)
class Ledger:
    """Where the samples of a machine are, over all its streams.

    expected = stored + waiting + dropped + lost. `late` came by backfill, `duplicate` came again; `waiting` are still
    in the agent's outbox, `dropped` had to make room there, and `lost` are the rest, which should be none.
    """

    expected: int = 0
    stored: int = 0
    late: int = 0
    duplicate: int = 0
    dropped: int = 0
    waiting: int = 0
    lost: int = 0

    def add(self, stream: Any) -> None:  # noqa: ANN401 - a row of the table stream
        """Count one stream."""
        ranges = Ranges.parse(stream.stored)
        missing = stream.highest_seq - len(ranges)
        waiting = 0
        if stream.oldest_seq <= stream.highest_seq:
            span = stream.highest_seq - stream.oldest_seq + 1
            waiting = span - ranges.within(stream.oldest_seq, stream.highest_seq)
        dropped = min(stream.dropped, missing - waiting)
        self.expected += stream.highest_seq
        self.stored += len(ranges)
        self.late += stream.late
        self.duplicate += stream.duplicate
        self.dropped += dropped
        self.waiting += waiting
        self.lost += missing - waiting - dropped


def list_machines(engine: Engine) -> list[dict[str, Any]]:
    """Every machine as a plain dict, in the form that `dashfleet machines --json` documents."""
    query = (
        select(
            tables.machine.c.id,
            tables.org.c.name.label("org"),
            tables.machine.c.name.label("machine"),
            tables.machine.c.hostname,
            *(column for column in tables.state.c if column.name != "machine_id"),
        )
        .select_from(tables.machine.join(tables.org).outerjoin(tables.state))
        .order_by(tables.org.c.name, tables.machine.c.name)
    )
    ledgers: dict[int, Ledger] = {}
    with engine.connect() as connection:
        rows = connection.execute(query).all()
        for stream in connection.execute(select(tables.stream)):
            ledgers.setdefault(stream.machine_id, Ledger()).add(stream)
    return [_plain(row, ledgers.get(row.id, Ledger())) for row in rows]


def _plain(row: Any, ledger: Ledger) -> dict[str, Any]:  # noqa: ANN401 - a row of the query above
    return {
        "org": row.org,
        "machine": row.machine,
        "hostname": row.hostname,
        "presence": row.presence or "unknown",
        "reason": row.reason or "",
        "since": row.since_at,
        "verified": bool(row.verified),
        "health": {"score": row.health_score, "status": row.health_status or "unknown"},
        "last_seen": row.last_seen_at,
        "clock_offset_milliseconds": row.clock_offset_milliseconds,
        "vitals": {name: getattr(row, name) for name in VITALS},
        "extra": row.extra or {},
        "ledger": {name: getattr(ledger, name) for name in Ledger.__slots__},
    }


def table(found: list[dict[str, Any]], *, now: float) -> Table:
    """The list for a terminal. `now`: seconds since 1970."""
    shown = Table(box=None, pad_edge=False, header_style="bold")
    for title in ("Organisation", "Machine", "Hostname", "Status", "Health"):
        shown.add_column(title)
    for title in ("CPU", "Memory", "Disk"):
        shown.add_column(title, justify="right")
    shown.add_column("Up")
    shown.add_column("Last seen")
    for row in found:
        vitals = row["vitals"]
        shown.add_row(
            row["org"],
            row["machine"],
            escape(printable(row["hostname"] or "")),
            _coloured(row["presence"], "" if row["verified"] else "?", row["reason"]),
            _coloured(row["health"]["status"], "", str(row["health"]["score"] or "")),
            *(_percent(vitals[name]) for name in ("cpu_percent", "memory_percent", "disk_percent")),
            "" if vitals["uptime_seconds"] is None else naturaldelta(vitals["uptime_seconds"]),
            "never" if row["last_seen"] is None else f"{naturaldelta(now - row['last_seen'] / 1000)} ago",
        )
    return shown


def _coloured(word: str, mark: str, detail: str) -> str:
    return f"[{_COLOURS.get(word, 'dim')}]{word}{mark}[/] [dim]{escape(detail)}[/]"


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{value:.1f} %"


_COLOURS = {"online": "green", "stale": "yellow", "offline": "red", "ok": "green", "warn": "yellow", "critical": "red"}
