"""What was asked of machines: by whom, when, and what became of it. One batch, one command, or all of them."""

from collections.abc import Callable
from functools import partial
from typing import Any, Final

import streamlit as st
from sqlalchemy import Row

from dashboard.activity import rows as activity_rows
from dashboard.i18n import text
from dashboard.i18n.language import _, marked, ngettext
from dashboard.page import last_good, refresh, system_status
from dashboard.page.page import Page, PageContext
from dashboard.publishing.publisher import NotAllowedError
from dashboard.widgets import cells, markup, search_box, table
from schemas.database.queries import commands, requests
from schemas.database.queries.commands import OUTCOMES
from schemas.database.queries.requests import BatchFilter, CommandBatch

PAGE = Page(title=marked("Activity"), path="activity", icon=":material/bolt:", order=3)

PAGE_SIZE: Final = 50
COMMANDS_MAX: Final = 500
_SEARCH: Final = "activity.search"
_OUTCOME: Final = "activity.outcome"
_PAGE: Final = "activity.page"
_SAID: Final = "activity.said"
_LABELS: Final = {
    "waiting": marked("Under way"),
    "succeeded": marked("Succeeded"),
    "troubled": marked("Did not succeed"),
}
_NONE_TITLE: Final = marked("Nothing has been asked of a machine yet")
_NONE: Final = marked("Tick machines on the fleet page, or open one, and act; or use dashfleet act in a terminal.")
_NO_MATCH_TITLE: Final = marked("Nothing matches")
_NO_MATCH: Final = marked("Nothing that was asked matches these filters.")
_UNKNOWN_TITLE: Final = marked("There is no such command")
_UNKNOWN: Final = marked("Your organisation has no command with this id. It may be too old, or the link is mistyped.")
_NOT_YET: Final = marked("It is not recorded yet, or there is no such request. This page looks again by itself.")
_ASKED: Final = marked("Asked to take back what has not been sent.")
_CHANGES: Final = "changes"
_CUT: Final = marked("The output was longer and has been cut.")


def show(context: PageContext) -> None:
    """Draw the page."""
    query = st.query_params
    if "command" in query:
        _back(context)
        _live(context, "activity_command", partial(_command, context, query["command"]))
    elif "batch" in query:
        _back(context)
        _live(context, "activity_batch", partial(_batch, context, query["batch"]))
    else:
        _filters(context)
        _live(context, "activity_all", partial(_all, context))


def _live(context: PageContext, key: str, draw: Callable[[], None]) -> None:
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
        if _CHANGES in context.pages:
            st.page_link(context.pages[_CHANGES], label=_("Changes of the organisation"), icon=":material/history:")
    with st.container(horizontal=True, vertical_alignment="center", key="fleet_filters"):
        search_box.draw(_SEARCH, _("Search who, action, machine"), _narrowed)
        st.pills(
            _("Outcome"),
            list(_LABELS),
            key=_OUTCOME,
            format_func=lambda code: _(_LABELS[code]),
            label_visibility="collapsed",
            on_change=_narrowed,
        )


def _narrowed() -> None:
    st.session_state[_PAGE] = 0
    query = {"q": st.session_state[_SEARCH], "outcome": st.session_state[_OUTCOME] or ""}
    st.query_params.from_dict({name: value for name, value in query.items() if value})


def _all(context: PageContext) -> None:
    wanted = BatchFilter(st.session_state.get(_SEARCH, ""), st.session_state.get(_OUTCOME) or "")
    number = int(st.session_state.setdefault(_PAGE, 0))
    read = partial(requests.list_batches, context.engine, context.org, wanted, offset=number * PAGE_SIZE)
    found = last_good.read(context, "activity.all", partial(read, limit=PAGE_SIZE + 1))
    if found is None:
        return
    if not found and not number:
        title, why = (_NONE_TITLE, _NONE) if wanted == BatchFilter() else (_NO_MATCH_TITLE, _NO_MATCH)
        st.html(markup.empty(_(title), _(why)))
        return
    rows = activity_rows.batches(found[:PAGE_SIZE], context.now(), context.zone, path=f"/{PAGE.path}")
    columns = cells.columns(activity_rows.BATCHES)
    opened = table.draw("activity_table", _(PAGE.title), columns, rows, total=len(rows))
    if opened:
        _go(context, batch=opened)
    with st.container(horizontal=True, vertical_alignment="center", key="activity_foot"):
        st.button(_("Newer"), on_click=partial(_turn, -1), disabled=number == 0)
        st.button(_("Older"), on_click=partial(_turn, 1), disabled=len(found) <= PAGE_SIZE)
        st.space("stretch")
        st.html(markup.live_stamp(_("Updated {at}", at=text.clock(context.now(), context.zone))), width="content")


def _turn(by: int) -> None:
    st.session_state[_PAGE] = max(0, int(st.session_state.get(_PAGE, 0)) + by)


def _go(context: PageContext, **query: str) -> None:
    st.switch_page(context.pages[PAGE.path], query_params=query)


def _batch(context: PageContext, id_: str) -> None:
    """One thing that somebody asked, machine by machine."""
    read = partial(requests.find_batch, context.engine, context.org, id_)
    found = last_good.read(context, f"activity.batch.{id_}", lambda: [batch for batch in [read()] if batch is not None])
    if found is None:
        return
    if not found:
        st.html(markup.empty(_(_UNKNOWN_TITLE), _(_NOT_YET)))
        return
    (batch,) = found
    what = batch.action or text.command("refused").label
    st.html(markup.heading(_("{action}: {machines}", action=what, machines=text.machines(batch.machines)), 1))
    asked = activity_rows.who(batch.actor, batch.principal)
    st.html(markup.note(_("Asked by {who}: {at}", who=asked, at=text.moment(batch.at, context.now(), context.zone))))
    if batch.refused:
        st.html(markup.banner(_("Refused: {why}", why=batch.refused), "bad"))
    st.html(markup.counts([(text.command(code), text.count(n)) for code, n in batch.states.items()]))
    _commands(context, batch)


def _commands(context: PageContext, batch: CommandBatch) -> None:
    read = partial(commands.list_batch_commands, context.engine, context.org, batch.id, limit=COMMANDS_MAX)
    rows = last_good.read(context, f"activity.commands.{batch.id}", read) or []
    _take_back(context, [row.id for row in rows if row.state == "queued"])
    shown = activity_rows.commands(rows, context.now(), context.zone, path=f"/{PAGE.path}")
    columns = cells.columns(activity_rows.COMMANDS)
    opened = table.draw("batch_table", _("Commands"), columns, shown, total=len(shown))
    if opened:
        _go(context, command=opened)
    if batch.machines > len(rows):
        st.html(markup.note(text.and_more(batch.machines - len(rows))))


def _command(context: PageContext, id_: str) -> None:
    """One command with its history and what it printed."""
    read = partial(commands.find_command, context.engine, context.org, id_)
    found = last_good.read(context, f"activity.command.{id_}", lambda: [row for row in [read()] if row is not None])
    if found is None:
        return
    if not found:
        st.html(markup.empty(_(_UNKNOWN_TITLE), _(_UNKNOWN)))
        return
    (row,) = found
    st.html(
        markup.title(
            _("{action} on {machine}", action=row.action, machine=row.hostname or row.machine), text.command(row.state)
        )
    )
    with st.container(horizontal=True):
        if "machine" in context.pages:
            st.page_link(context.pages["machine"], label=_("Machine"), query_params={"id": row.machine})
        st.page_link(context.pages[PAGE.path], label=_("All of this request"), query_params={"batch": row.batch})
    _take_back(context, [row.id] if row.state == "queued" else [])
    left, right = st.columns(2)
    with left.container(border=True, key="card_command"):
        st.html(markup.heading(_("Command"), 3))
        st.html(markup.facts(activity_rows.facts(row, context.now(), context.zone)))
    with right.container(border=True, key="card_history"):
        st.html(markup.heading(_("History"), 3))
        _history(context, row)
    if row.output:
        with st.container(border=True, key="card_output"):
            st.html(markup.heading(_("Output"), 3))
            st.code(
                text.readable(row.output),
                language=None,
                wrap_lines=True,
                height=400 if row.output.count("\n") > 20 else "content",
            )
            if row.output_truncated:
                st.html(markup.note(_(_CUT)))


def _history(context: PageContext, row: Row[Any]) -> None:
    read = partial(commands.list_command_transitions, context.engine, context.org, row.id)
    st.html(
        markup.timeline(
            activity_rows.events(
                last_good.read(context, f"activity.history.{row.id}", read) or [], context.now(), context.zone
            )
        )
    )


def _take_back(context: PageContext, waiting: list[str]) -> None:
    """The way to cancel what has not been sent, for those who may."""
    said = st.session_state.pop(_SAID, "")
    if said:
        st.html(markup.banner(said))
    if waiting and context.may_act:
        many = ngettext("Take back the {n} that waits", "Take back the {n} that wait", len(waiting))
        label = _("Take back") if len(waiting) == 1 else many
        why = system_status.obstacle(context)
        st.button(label, on_click=partial(_cancel, context, waiting), disabled=bool(why), key="activity.cancel")
        if why:
            st.html(markup.note(why))


def _cancel(context: PageContext, waiting: list[str]) -> None:
    if context.publisher is None:
        return
    try:
        context.publisher.cancel(context.org, waiting, role=context.role, actor=context.user)
        st.session_state[_SAID] = _(_ASKED)
    except NotAllowedError as error:
        st.session_state[_SAID] = str(error)
