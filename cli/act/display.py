"""Progress on a terminal: redrawn in place, or a line per change if standard output is not a terminal."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import typer

from cli.act.progress import FINAL, SENDING, ActProgress, CommandProgress
from runtime.terminal import printable

if TYPE_CHECKING:
    from rich.live import Live
    from rich.table import Table

    from schemas.contract.commands import Update

_COLOURS = {"succeeded": "green", "running": "cyan", "timed-out": "yellow", "queued": "dim", SENDING: "dim"}
_SHOWN_MAX = 20


class ProgressDisplay:
    """Applies updates to the progress and shows the changes; `live` is None for no output."""

    def __init__(self, progress: ActProgress, live: "Live | None") -> None:
        self.progress = progress
        self._live = live

    def apply(self, updates: "Iterable[Update]") -> None:
        """Apply updates and show what changed, each command once with its newest state."""
        changed = [command for update in updates for command in self.progress.apply(update)]
        self._show(list({command.command: command for command in changed}.values()))

    def apply_states(self, states: Mapping[str, Mapping[str, Any]]) -> None:
        """Apply states recorded in the database and show what changed."""
        self._show(self.progress.apply_states(states))

    def _show(self, changed: list[CommandProgress]) -> None:
        if self._live is None:
            return
        if self._live.console.is_terminal:
            self._live.update(_table(self.progress))
            return
        for command in {each.command: each for each in changed}.values():  # several updates of one come together
            parts = (command.machine, command.state, command.explanation)
            typer.echo(printable("  ".join(part for part in parts if part)))


@contextmanager
def displayed(progress: ActProgress, *, quiet: bool) -> Iterator[ProgressDisplay]:
    """Display progress while the block runs."""
    from rich.console import Console
    from rich.live import Live

    if quiet:
        yield ProgressDisplay(progress, None)
        return
    console = Console()
    live = Live(_table(progress), console=console, refresh_per_second=8)
    if console.is_terminal:
        with live:
            yield ProgressDisplay(progress, live)
    else:
        yield ProgressDisplay(progress, live)
        typer.echo(_summary(progress))


def outputs(commands: Iterable[CommandProgress]) -> list[str]:
    """Return the output of each action below its machine's name, without control characters."""
    return [
        f"{command.machine}:\n" + "\n".join(f"    {printable(text)}" for text in command.output.splitlines())
        for command in commands
        if command.output
    ]


def _summary(progress: ActProgress) -> str:
    return ", ".join(f"{count} {state}" for state, count in progress.counts.items())


def _table(progress: ActProgress) -> "Table":
    """Return a row per machine; of many machines, those that failed first."""
    from rich.table import Table
    from rich.text import Text

    commands = list(progress.commands.values())
    if len(commands) > _SHOWN_MAX:
        commands.sort(key=lambda command: command.state == "succeeded")
    shown = Table(box=None, pad_edge=False, show_header=False)
    for command in commands[:_SHOWN_MAX]:
        state = Text(command.state, style=_COLOURS.get(command.state, "red" if command.state in FINAL else ""))
        shown.add_row(Text(command.machine), state, Text(printable(command.explanation)))
    rest = len(commands) - _SHOWN_MAX
    shown.add_row(Text(f"… and {rest} more" if rest > 0 else ""))
    shown.add_row(Text(_summary(progress), style="bold"))
    return shown
