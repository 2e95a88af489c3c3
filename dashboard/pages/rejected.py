"""Rejected messages, for admins: the organisation's dead letters as a list, or one with the start of its payload.

Invariants:
- Only the organisation's own dead letters are read, and the payload is shown as text.
- Clearing deletes what was listed when the dialog opened; what arrives later stays.
"""

from collections.abc import Mapping
from functools import partial
from typing import Any, Final

import streamlit as st

from dashboard.activity import paging
from dashboard.activity.paging import PAGE_SIZE
from dashboard.auth.users import UserRole
from dashboard.changes import change_dialog, pending_changes
from dashboard.i18n import text
from dashboard.i18n.language import Marked, _, marked
from dashboard.page import dialog_steps, last_good, refresh, system_status
from dashboard.page.dialog_steps import DialogState
from dashboard.page.page import Page, PageContext
from dashboard.widgets import cells, markup, table
from schemas.contract.administration import ClearDeadLetters
from schemas.contract.topics import is_id
from schemas.database.queries.dead_letters import find_org_dead_letter, list_org_dead_letters

PAGE = Page(
    title=marked("Rejected messages"),
    path="rejected",
    icon=":material/unsubscribe:",
    order=80,
    roles=frozenset({UserRole.ADMIN}),
)

_MACHINE: Final = "machine"
_PAGE: Final = "rejected.page"
_SHOWN: Final = "rejected.shown"
_LONG_PAYLOAD_CHARACTERS: Final = 1000
_COLUMNS: Final[cells.Heads] = (
    ("at", marked("Time")),
    ("machine", marked("Machine")),
    ("reason", marked("Reason")),
    ("detail", marked("Detail")),
    ("topic", marked("Topic")),
)
_NONE: Final = marked("The ingestor has accepted every message of this organisation.")
_UNKNOWN: Final = marked("It may have been cleared, or displaced by newer ones.")
_CLEAR: Final = marked("The rejected messages listed here are deleted. Messages that are rejected later stay.")
_REASONS: Final[Mapping[str, Marked]] = {
    "error": marked("internal error"),
    "invalid": marked("invalid"),
    "not-json": marked("not JSON"),
    "refused": marked("refused"),
    "retained": marked("retained by mistake"),
    "revoked": marked("the machine is retired"),
    "too-large": marked("too large"),
    "too-many-gaps": marked("too many gaps"),
    "too-many-kinds": marked("too many kinds of facts"),
    "too-many-requests": marked("too many requests"),
    "too-many-streams": marked("too many streams"),
    "unknown-command": marked("unknown command"),
    "unknown-machine": marked("unknown machine"),
    "unknown-token": marked("unknown token"),
    "unknown-topic": marked("not a topic of the contract"),
    "wrong-version": marked("another version of the contract"),
}
"""The labels of the reasons; one that a later version added shows as it is."""


def show(context: PageContext) -> None:
    """Draw the page."""
    id_ = st.query_params.get("id", "")
    if id_:
        st.session_state[_SHOWN] = {"id": id_}
        with st.container(key="back"):
            st.page_link(context.pages[PAGE.path], label=_(PAGE.title), icon=":material/arrow_back:")
        _letter(context, int(id_) if id_.isascii() and id_.isdigit() and len(id_) < 19 else 0)
        return
    wanted = st.query_params.get(_MACHINE, "")
    machine = wanted if is_id(wanted) else None
    # A link to the page that is open leaves the browser's address as it is, and the next run would use that.
    address = {_MACHINE: machine} if machine else {}
    if st.session_state.get(_SHOWN, address) != address:
        st.query_params.from_dict(address)
    st.session_state[_SHOWN] = address
    if context.arrived:
        paging.reset(_PAGE)
    st.html(markup.heading(_(PAGE.title), 1))
    if machine:
        with st.container(horizontal=True, vertical_alignment="center", key="rejected_filter"):
            st.html(markup.note(_("Only of {machine}", machine=machine)), width="content")
            st.page_link(context.pages[PAGE.path], label=_("Show all machines"))
    dialog_steps.open_requested(context)
    refresh.auto_refresh(partial(_list, context, machine), seconds=context.refresh_seconds, key="rejected")


def _list(context: PageContext, machine: str | None) -> None:
    if dialog_steps.is_requested():
        st.rerun()
    pending_changes.draw(context)
    first = paging.first_row(_PAGE)
    found = last_good.read_org(
        context, f"rejected.{machine}", list_org_dead_letters, machine_name=machine, limit=first + PAGE_SIZE + 1
    )
    if found is None:
        return
    if not found:
        st.html(markup.empty(_("No rejected messages"), _(_NONE)))
        return
    why = system_status.obstacle(context, signed=False)
    st.button(
        _("Clear …"),
        key="rejected.clear",
        disabled=bool(why),
        on_click=partial(dialog_steps.request, _("Clear rejected messages"), partial(_clear, machine, found[0]["at"])),
    )
    rows = [_row(context, letter) for letter in found[first : first + PAGE_SIZE]]
    opened = table.draw("rejected_table", _(PAGE.title), cells.columns(_COLUMNS), rows, total=len(rows))
    if opened:
        st.switch_page(context.pages[PAGE.path], query_params={"id": opened})
    paging.foot(context, _PAGE, more=len(found) > first + PAGE_SIZE)


def _row(context: PageContext, letter: Mapping[str, Any]) -> dict[str, Any]:
    return cells.row(
        str(letter["id"]),
        f"/{PAGE.path}?id={letter['id']}",
        cells.plain(context.moment(letter["at"])),
        cells.name(letter["machine"] or text.UNKNOWN),
        cells.plain(_reason(letter["reason"])),
        cells.plain(letter["detail"]),
        cells.plain(letter["topic"]),
    )


def _letter(context: PageContext, id_: int) -> None:
    found = last_good.find_org(context, f"rejected.{id_}", find_org_dead_letter, id_)
    if found is None:
        refresh.until_readable(context)
        return
    if not found:
        st.html(markup.empty(_("Message not found"), _(_UNKNOWN)))
        return
    (letter,) = found
    st.html(markup.heading(_("Rejected message"), 1))
    facts = (
        (_("Time"), context.moment(letter["at"])),
        (_("Machine"), letter["machine"] or text.UNKNOWN),
        (_("Reason"), _reason(letter["reason"])),
        (_("Detail"), letter["detail"]),
        (_("Topic"), letter["topic"]),
        (_("Size"), text.size(letter["size_bytes"])),
    )
    with st.container(border=True, key="card_rejected"):
        st.html(markup.facts(facts))
    payload = letter["payload_start"]
    height: Any = 400 if len(payload) > _LONG_PAYLOAD_CHARACTERS else "content"
    with st.container(border=True, key="card_payload"):
        st.html(markup.heading(_("Payload"), 3))
        st.code(text.readable(payload), language=None, wrap_lines=True, height=height)
        if letter["size_bytes"] > len(payload.encode()):
            st.html(markup.note(_("Only the start of the message is kept.")))


def _clear(machine: str | None, until: int, context: PageContext, state: DialogState) -> None:
    st.html(markup.banner(_(_CLEAR)))
    if machine:
        st.html(markup.note(_("Only of {machine}", machine=machine)))
    clear = partial(change_dialog.publish, context, state, partial(ClearDeadLetters, machine=machine, until=until))
    dialog_steps.buttons(state, _("Clear"), clear, dangerous=True)


def _reason(code: str) -> str:
    return _(_REASONS[code]) if code in _REASONS else code
