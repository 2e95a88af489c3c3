"""Commands: of one machine each command, of a fleet each batch."""

from collections.abc import Mapping
from typing import Final

from dashboard.activity import rows as activity_rows
from dashboard.events.event import Event, EventSource
from dashboard.i18n import text
from dashboard.i18n.language import _, marked
from dashboard.i18n.text import Word
from dashboard.page.page import PageContext
from schemas.database.events.event_queries import EventRange, list_batch_events, list_command_events
from schemas.database.queries.requests import CommandBatch, describe_batches
from schemas.database.queries.targets import list_action_titles

_ACTIVITY: Final = "activity"
_SUCCEEDED: Final = ("succeeded",)


def find(context: PageContext, wanted: EventRange) -> list[Event]:
    """Return the commands or batches of the range."""
    return _of_machine(context, wanted) if wanted.machine else _batches(context, wanted)


def _of_machine(context: PageContext, wanted: EventRange) -> list[Event]:
    titles = list_action_titles(context.engine, context.org, [wanted.machine])
    return [
        Event(
            kind=SOURCE.kind,
            key=row.id,
            at=row.created_at,
            word=text.command(row.state),
            title=_("Command: {action}", action=activity_rows.action_title(row.action, titles)),
            detail=text.command_reason(row.reason, row.detail),
            who=activity_rows.who(row.actor, row.principal),
            ended_at=row.ended_at,
            lasts=True,
            machine=wanted.machine,
            page=_ACTIVITY,
            query={"command": row.id},
        )
        for row in list_command_events(context.engine, context.org, wanted)
    ]


def _batches(context: PageContext, wanted: EventRange) -> list[Event]:
    rows = list_batch_events(context.engine, context.org, wanted)
    described = describe_batches(context.engine, context.org, [row.batch for row in rows])
    titles = list_action_titles(context.engine, context.org, [batch.machine for batch in described.values()])
    return [
        Event(
            kind=SOURCE.kind,
            key=row.id,
            at=row.created_at,
            word=outcome(batch),
            title=_title(batch, titles),
            detail=batch.refused or _parts(batch),
            who=activity_rows.who(batch.actor, batch.principal),
            machine=batch.machine if batch.machines == 1 else "",
            hostname=batch.hostname if batch.machines == 1 else "",
            machines="" if batch.machines == 1 else text.machines(batch.machines),
            page=_ACTIVITY,
            query={"batch": batch.id},
        )
        for row in rows
        if (batch := described.get(row.batch)) is not None
    ]


def outcome(batch: CommandBatch) -> Word:
    """Return the state of a batch: the earliest state while commands are pending, otherwise failed or succeeded."""
    states = [code for code in text.COMMANDS if code in batch.states]
    pending = [code for code in states if code in ("sending", "queued", "sent", "running")]
    if pending:
        return text.command(pending[0])
    if not states:
        return text.command("refused")
    others = [code for code in states if code not in _SUCCEEDED]
    return text.command(others[0] if others else states[0])


def _title(batch: CommandBatch, titles: Mapping[str, str]) -> str:
    if not batch.action:
        return _("Request")
    return _("Command: {action}", action=activity_rows.action_title(batch.action, titles))


def _parts(batch: CommandBatch) -> str:
    """Return the number of commands in each state, if there are several states."""
    if len(batch.states) < 2:
        return ""
    return ", ".join(f"{text.count(batch.states[code])} {text.command(code).label}" for code in batch.states)


SOURCE = EventSource("command", marked("Commands"), order=30, find=find)
