"""Rows, facts and timelines of requests and commands. Pure."""

import json
from collections.abc import Mapping, Sequence
from datetime import tzinfo
from typing import Any, Final
from urllib.parse import urlencode

from sqlalchemy import Row

from broker.client.request_client import DASHBOARD
from dashboard.i18n import external_texts, text
from dashboard.i18n.language import _, marked
from dashboard.widgets import cells
from dashboard.widgets.cells import Heads
from schemas.database.queries.requests import CommandBatch

_WHEN: Final = ("when", marked("Time"))
_ACTION: Final = ("action", marked("Action"))
_OUTCOME: Final = ("outcome", marked("Outcome"))
_REASON: Final = ("why", marked("Reason"))
_REQUESTED_BY: Final = ("who", marked("Requested by"))
BATCHES: Final[Heads] = (_WHEN, _ACTION, ("machine", marked("Machines")), _OUTCOME, _REQUESTED_BY)
COMMANDS: Final[Heads] = (("machine", marked("Machine")), _OUTCOME, _REASON, ("when", marked("Ended")))


def batches(
    found: Sequence[CommandBatch], titles: Mapping[str, str], now: int, zone: tzinfo, *, path: str
) -> list[dict[str, Any]]:
    """Return a row for each batch of commands. `titles`: those of the actions, by name."""
    return [
        _row(
            path,
            {"batch": batch.id},
            cells.plain(text.moment(batch.at, now, zone)),
            _action(batch.action, titles) if batch.action else cells.name(text.command("refused").label),
            cells.plain(batch.machine if batch.machines == 1 else text.machines(batch.machines)),
            cells.chips(outcome(batch)),
            cells.plain(who(batch.actor, batch.principal)),
        )
        for batch in found
    ]


def commands(found: Sequence[Row[Any]], now: int, zone: tzinfo, *, path: str) -> list[dict[str, Any]]:
    """Return a row for each command of a batch."""
    return [
        _row(
            path,
            {"command": row.id},
            cells.machine(row.machine, row.hostname),
            cells.chip(text.command(row.state)),
            cells.plain(text.command_reason(row.reason, row.detail)),
            cells.plain(text.moment(row.ended_at, now, zone) if row.ended_at else text.UNKNOWN),
        )
        for row in found
    ]


def outcome(batch: CommandBatch) -> list[dict[str, str]]:
    """Return the number of commands in each state, as chips."""
    shown = [(text.command(code), batch.states[code]) for code in text.COMMANDS if code in batch.states]
    alone = len(shown) == 1 and shown[0][1] == 1
    chips = [(word.label if alone else f"{text.count(n)} {word.label}", word.tone) for word, n in shown]
    if batch.refused:
        chips.append((text.command("refused").label, text.command("refused").tone))
    return [{"text": label, "tone": tone} for label, tone in chips]


def who(actor: str, principal: str) -> str:
    """Return who sent a request: the user, with the principal unless it is this dashboard's."""
    if actor and principal == DASHBOARD.username:
        return actor
    return f"{actor} ({principal})" if actor and principal else actor or principal or text.UNKNOWN


def facts(row: Row[Any], now: int, zone: tzinfo) -> list[tuple[str, str]]:
    """Return the facts of a command, except its history and its output."""
    pairs = [
        (_("Action"), row.action),
        (_("Requested by"), who(row.actor, row.principal)),
        (_("Requested at"), text.moment(row.created_at, now, zone)),
        (_("Arguments"), json.dumps(row.arguments, ensure_ascii=False) if row.arguments else _("none")),
        (_("Expires"), text.moment(row.expires_at, now, zone)),
        (_("Attempts"), text.count(row.attempts)),
        (_("Exit code"), "" if row.exit_code is None else str(row.exit_code)),
        (_("Reason"), text.command_reason(row.reason, row.detail)),
        (_("Signing key"), row.key),
        (_("Command id"), row.id),
    ]
    return [(name, value) for name, value in pairs if value]


def events(rows: Sequence[Row[Any]], now: int, zone: tzinfo) -> list[tuple[str, text.Word, str]]:
    """Return changes of a command's state as lines of a timeline."""
    return [
        (
            text.moment(row.at, now, zone),
            text.command(row.after),
            " · ".join(part for part in (row.by, text.command_reason(row.reason, row.detail)) if part),
        )
        for row in rows
    ]


def action_title(name: str, titles: Mapping[str, str]) -> str:
    """Return the translated title of an action, its name if no machine describes it any more."""
    return external_texts.translated(titles.get(name, name))


def _action(name: str, titles: Mapping[str, str]) -> dict[str, Any]:
    """Show the name below the title: it is what can be searched, and what the command line knows."""
    title = action_title(name, titles)
    return cells.name(title, "" if title.lower() == name else name)


def _row(path: str, query: dict[str, str], *shown: dict[str, Any]) -> dict[str, Any]:
    (id_,) = query.values()
    return cells.row(id_, f"{path}?{urlencode(query)}", *shown)
