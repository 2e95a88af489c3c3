"""Activity: requests to machines and their outcome, as a list, one batch by machine, or one command."""

from collections.abc import Callable
from functools import partial
from typing import Any, Final

import streamlit as st
from sqlalchemy import Row

from dashboard.activity import paging
from dashboard.activity import rows as activity_rows
from dashboard.activity.paging import PAGE_SIZE
from dashboard.i18n import text
from dashboard.i18n.language import _, marked, ngettext
from dashboard.page import last_good, refresh, system_status
from dashboard.page.page import Page, PageContext
from dashboard.publishing.publisher import NotAllowedError
from dashboard.widgets import cells, markup, search_box, table
from schemas.database.queries import commands, requests
from schemas.database.queries.commands import OUTCOMES
from schemas.database.queries.requests import BatchFilter, CommandBatch
from schemas.database.queries.targets import list_action_titles
from schemas.fleet.machine_name import machine_name

PAGE = Page(title=marked("Activity"), path="activity", icon=":material/bolt:", order=30)

COMMANDS_MAX: Final = 500
_LONG_OUTPUT_LINES: Final = 20
_SEARCH: Final = "activity.search"
_OUTCOME: Final = "activity.outcome"
_PAGE: Final = "activity.page"
_CANCELLED: Final = "activity.cancelled"
_TIMELINE: Final = "timeline"
_OUTCOMES: Final = {
    "waiting": marked("In progress"),
    "succeeded": marked("Succeeded"),
    "troubled": marked("Failed"),
}
_NONE: Final = marked("Select machines on the fleet page, or open one, and run an action; or use dashfleet act.")
_UNKNOWN: Final = marked("Your organisation has no command with this id. It may be too old, or the link is mistyped.")
_NOT_YET: Final = marked("The request is not recorded yet, or does not exist. This page retries automatically.")


def show(context: PageContext) -> None:
    """Draw the page."""
    query = st.query_params
    if "command" in query:
        _back(context)
        _refreshing(context, "activity_command", partial(_command, context, query["command"]))
    elif "batch" in query:
        _back(context)
        _refreshing(context, "activity_batch", partial(_batch, context, query["batch"]))
    else:
        _filters(context)
        _refreshing(context, "activity_all", partial(_all, context))


def _refreshing(context: PageContext, key: str, draw: Callable[[], None]) -> None:
    refresh.auto_refresh(draw, seconds=context.refresh_seconds, key=key)


def _back(context: PageContext) -> None:
    with st.container(key="back"):
        st.page_link(context.pages[PAGE.path], label=_(PAGE.title), icon=":material/arrow_back:")


def _filters(context: PageContext) -> None:
    wanted = st.query_params.get("outcome", "")
    st.session_state.setdefault(_SEARCH, st.query_params.get("q", "")[: search_box.LENGTH_MAX])
    st.session_state.setdefault(_OUTCOME, wanted if wanted in OUTCOMES else None)
    with st.container(horizontal=True, vertical_alignment="center", key="activity_title"):
        st.html(markup.heading(_(PAGE.title), 1), width="content")
        st.space("stretch")
        if _TIMELINE in context.pages:
            st.page_link(
                context.pages[_TIMELINE],
                label=_("Settings changes"),
                icon=":material/history:",
                query_params={"kinds": "settings,user"},
            )
    with st.container(horizontal=True, vertical_alignment="center", key="fleet_filters"):
        search_box.draw(_SEARCH, _("Search user, action, machine"), _filtered)
        st.pills(
            _("Outcome"),
            list(_OUTCOMES),
            key=_OUTCOME,
            format_func=lambda code: _(_OUTCOMES[code]),
            label_visibility="collapsed",
            on_change=_filtered,
        )


def _filtered() -> None:
    paging.reset(_PAGE)
    query = {"q": st.session_state[_SEARCH], "outcome": st.session_state[_OUTCOME] or ""}
    st.query_params.from_dict({name: value for name, value in query.items() if value})


def _all(context: PageContext) -> None:
    wanted = BatchFilter(st.session_state.get(_SEARCH, ""), st.session_state.get(_OUTCOME) or "")
    first = paging.first_row(_PAGE)
    found = last_good.read_org(
        context, "activity.all", requests.list_batches, wanted, offset=first, limit=PAGE_SIZE + 1
    )
    if found is None:
        return
    if not found and not first:
        if wanted == BatchFilter():
            st.html(markup.empty(_("No actions yet"), _(_NONE)))
        else:
            st.html(markup.empty(_("No matches"), _("No request matches these filters.")))
        return
    titles = _titles(context, [batch.machine for batch in found])
    rows = activity_rows.batches(found[:PAGE_SIZE], titles, context.now(), context.zone, path=f"/{PAGE.path}")
    columns = cells.columns(activity_rows.BATCHES)
    opened = table.draw("activity_table", _(PAGE.title), columns, rows, total=len(rows))
    if opened:
        _go(context, batch=opened)
    paging.foot(context, _PAGE, more=len(found) > PAGE_SIZE)


def _titles(context: PageContext, machines: list[str]) -> dict[str, str]:
    return last_good.read_org(context, "activity.titles", list_action_titles, machines) or {}


def _go(context: PageContext, **query: str) -> None:
    st.switch_page(context.pages[PAGE.path], query_params=query)


def _batch(context: PageContext, id_: str) -> None:
    found = last_good.find_org(context, f"activity.batch.{id_}", requests.find_batch, id_)
    if found is None:
        return
    if not found:
        st.html(markup.empty(_("Command not found"), _(_NOT_YET)))
        return
    (batch,) = found
    titles = _titles(context, [batch.machine])
    action = activity_rows.action_title(batch.action, titles) if batch.action else text.command("refused").label
    st.html(markup.heading(_("{action}: {machines}", action=action, machines=text.machines(batch.machines)), 1))
    who = activity_rows.who(batch.actor, batch.principal)
    st.html(markup.note(_("Requested by {who}: {at}", who=who, at=context.moment(batch.at))))
    if batch.refused:
        st.html(markup.banner(_("Refused: {why}", why=batch.refused), "bad"))
    st.html(markup.counts([(text.command(code), text.count(n)) for code, n in batch.states.items()]))
    _commands(context, batch)


def _commands(context: PageContext, batch: CommandBatch) -> None:
    key = f"activity.commands.{batch.id}"
    rows = last_good.read_org(context, key, commands.list_batch_commands, batch.id, limit=COMMANDS_MAX) or []
    _cancel_button(context, [row.id for row in rows if row.state == "queued"])
    shown = activity_rows.commands(rows, context.now(), context.zone, path=f"/{PAGE.path}")
    columns = cells.columns(activity_rows.COMMANDS)
    opened = table.draw("batch_table", _("Commands"), columns, shown, total=len(shown))
    if opened:
        _go(context, command=opened)
    if batch.machines > len(rows):
        st.html(markup.note(text.and_more(batch.machines - len(rows))))


def _command(context: PageContext, id_: str) -> None:
    found = last_good.find_org(context, f"activity.command.{id_}", commands.find_command, id_)
    if found is None:
        return
    if not found:
        st.html(markup.empty(_("Command not found"), _(_UNKNOWN)))
        return
    (row,) = found
    action = activity_rows.action_title(row.action, _titles(context, [row.machine]))
    title = _("{action} on {machine}", action=action, machine=machine_name(row.machine, row.hostname))
    st.html(markup.title(title, text.command(row.state)))
    with st.container(horizontal=True):
        if "machine" in context.pages:
            st.page_link(context.pages["machine"], label=_("Machine"), query_params={"id": row.machine})
        st.page_link(context.pages[PAGE.path], label=_("Whole request"), query_params={"batch": row.batch})
    _cancel_button(context, [row.id] if row.state == "queued" else [])
    left, right = st.columns(2)
    with left.container(border=True, key="card_command"):
        st.html(markup.heading(_("Command"), 3))
        st.html(markup.facts(activity_rows.facts(row, context.now(), context.zone)))
    with right.container(border=True, key="card_history"):
        st.html(markup.heading(_("History"), 3))
        key = f"activity.history.{row.id}"
        history = last_good.read_org(context, key, commands.list_command_transitions, row.id) or []
        st.html(markup.timeline(activity_rows.events(history, context.now(), context.zone)))
    if row.output:
        _output(row)


def _output(row: Row[Any]) -> None:
    with st.container(border=True, key="card_output"):
        st.html(markup.heading(_("Output"), 3))
        height: Any = 400 if row.output.count("\n") > _LONG_OUTPUT_LINES else "content"
        st.code(text.readable(row.output), language=None, wrap_lines=True, height=height)
        if row.output_truncated:
            st.html(markup.note(_("The output is truncated.")))


def _cancel_button(context: PageContext, pending: list[str]) -> None:
    """Draw the button that cancels pending commands, for users who may, and the result of the last click."""
    result = st.session_state.pop(_CANCELLED, "")
    if result:
        st.html(markup.banner(result))
    if pending and context.may_act:
        many = ngettext("Cancel {n} pending command", "Cancel {n} pending commands", len(pending))
        label = _("Cancel pending") if len(pending) == 1 else many
        why = system_status.obstacle(context)
        st.button(label, on_click=partial(_cancel, context, pending), disabled=bool(why), key="activity.cancel")
        if why:
            st.html(markup.note(why))


def _cancel(context: PageContext, pending: list[str]) -> None:
    if context.publisher is None:
        return
    try:
        context.publisher.cancel(context.org, pending, role=context.role, actor=context.user)
        st.session_state[_CANCELLED] = _("Cancellation requested for commands that were not sent yet.")
    except NotAllowedError as error:
        st.session_state[_CANCELLED] = str(error)
