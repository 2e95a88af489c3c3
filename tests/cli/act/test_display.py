"""The progress of an action where standard output is not a terminal: a line per change."""

from typing import Any

import pytest

from cli.act.display import displayed
from cli.act.progress import ActProgress, CommandProgress
from schemas.contract.commands import Update

COMMAND = "c" * 32


def update(state: Any, **fields: Any) -> Update:  # noqa: ANN401 - fields of an update
    return Update(request="a" * 32, command=COMMAND, machine="web-1", state=state, at=0, **fields)


def test_a_command_whose_updates_come_together_has_one_line_with_the_newest_state(
    capsys: pytest.CaptureFixture[str],
) -> None:
    progress = ActProgress({COMMAND: CommandProgress(COMMAND, "web-1")})
    with displayed(progress, quiet=False) as display:
        display.apply([update("queued"), update("sent")])
        display.apply([update("running")])
        display.apply([update("running")])
        display.apply([update("failed", detail="no such unit")])
    assert capsys.readouterr().out.splitlines() == [
        "web-1  sent",
        "web-1  running",
        "web-1  failed  no such unit",
        "1 failed",
    ]
