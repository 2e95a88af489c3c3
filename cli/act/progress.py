"""How commands that were just asked for get on, from updates and from the database, and how a terminal shows it."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import RenderableType

    from schemas.contract.commands import Order, Request, Update

SENDING = "sending"
"""Published, and not yet answered for."""

SUCCEEDED, UNFINISHED, FAILED = 0, 3, 1
_OVER = frozenset(("succeeded", "failed", "rejected", "expired", "cancelled", "refused"))
_COLOURS = {"succeeded": "green", "running": "cyan", "timed-out": "yellow", "queued": "dim", SENDING: "dim"}
_SHOWN_MAX = 20


@dataclass(slots=True)
class Row:
    """One command."""

    command: str
    machine: str
    state: str = SENDING
    reason: str = ""
    detail: str = ""
    exit_code: int | None = None
    output: str | None = None

    def become(self, state: str, **said: Any) -> bool:  # noqa: ANN401 - columns of different types
        """Take up a state; whether it is a new one. Nothing follows a final one."""
        if self.state in _OVER or self.state == state:
            return False
        self.state = state
        for name, value in said.items():
            setattr(self, name, value)
        return True

    @property
    def explanation(self) -> str:
        """Why it is where it is."""
        return self.detail or self.reason


@dataclass(slots=True)
class Progress:
    """Where each of some commands is."""

    rows: dict[str, Row]
    _of_request: dict[str, list[str]] = field(default_factory=dict)

    @classmethod
    def of(cls, orders: "Sequence[Order]", requests: "Sequence[Request]") -> "Progress":
        """The progress of these orders, which travel in these requests in the same order."""
        rest = [order.id for order in orders]
        of_request = {}
        for request in requests:
            if request.change.kind == "act":
                count = len(request.change.orders)
                of_request[request.id], rest = rest[:count], rest[count:]
        return cls({order.id: Row(order.id, order.machine) for order in orders}, of_request)

    def hear(self, update: "Update") -> list[Row]:
        """Take up an update; the rows that changed."""
        if update.command is None:
            refused = self._of_request.get(update.request, []) if update.state == "refused" else []
            rows = [self.rows[id_] for id_ in refused]
            return [row for row in rows if row.become("refused", reason=update.reason, detail=update.detail)]
        row = self.rows.get(update.command)
        said = {name: getattr(update, name) for name in ("reason", "detail", "exit_code", "output")}
        return [row] if row is not None and row.become(update.state, **said) else []

    def read(self, recorded: Mapping[str, Mapping[str, Any]]) -> list[Row]:
        """Take up what the database says; the rows that changed."""
        changed = []
        for id_, found in recorded.items():
            said = {name: found[name] for name in ("reason", "detail", "exit_code", "output")}
            if self.rows[id_].become(found["state"], **said):
                changed.append(self.rows[id_])
        return changed

    @property
    def counts(self) -> dict[str, int]:
        """How many commands are in each state."""
        return dict(Counter(row.state for row in self.rows.values()))

    @property
    def unfinished(self) -> list[str]:
        """The commands that may still get another state; a late result ends one that timed out."""
        return [row.command for row in self.rows.values() if row.state not in _OVER]

    @property
    def settled(self) -> bool:
        """Whether there is nothing to wait for."""
        return all(row.state in _OVER or row.state == "timed-out" for row in self.rows.values())

    @property
    def exit_code(self) -> int:
        """0: all succeeded; 1: some did not; 3: of some nobody knows yet."""
        states = set(self.counts)
        if states & (_OVER - {"succeeded"}):
            return FAILED
        return SUCCEEDED if states == {"succeeded"} else UNFINISHED

    def plain(self) -> list[dict[str, Any]]:
        """The rows in the form that `dashfleet act --json` documents."""
        names = ("command", "machine", "state", "reason", "detail", "exit_code", "output")
        return [{name: getattr(row, name) for name in names} for row in self.rows.values()]


def line(row: Row) -> str:
    """One row for a terminal that is none, such as a log."""
    from broker.client.topic_tail import printable

    return printable("  ".join(part for part in (row.machine, row.state, row.explanation) if part))


def summary(progress: Progress) -> str:
    """How many are where, in words: 3 succeeded, 1 running."""
    return ", ".join(f"{count} {state}" for state, count in progress.counts.items())


def picture(progress: Progress) -> "RenderableType":
    """The whole for a terminal: a row for each machine; of many, those that did not succeed first."""
    from rich.table import Table
    from rich.text import Text

    from broker.client.topic_tail import printable

    rows = list(progress.rows.values())
    if len(rows) > _SHOWN_MAX:
        rows.sort(key=lambda row: row.state == "succeeded")
    shown = Table(box=None, pad_edge=False, show_header=False)
    for row in rows[:_SHOWN_MAX]:
        state = Text(row.state, style=_COLOURS.get(row.state, "red" if row.state in _OVER else ""))
        shown.add_row(Text(row.machine), state, Text(printable(row.explanation)))
    rest = len(rows) - _SHOWN_MAX
    shown.add_row(Text(f"… and {rest} more" if rest > 0 else ""))
    shown.add_row(Text(summary(progress), style="bold"))
    return shown


def outputs(rows: Iterable[Row]) -> list[str]:
    """What the actions printed, each below its machine's name, safe for a terminal."""
    from broker.client.topic_tail import printable

    return [
        f"{row.machine}:\n" + "\n".join(f"    {printable(text)}" for text in row.output.splitlines())
        for row in rows
        if row.output
    ]
