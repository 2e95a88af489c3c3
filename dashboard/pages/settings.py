"""Settings, for admins: the organisation, its users and its credentials, one section at a time."""

from functools import partial
from typing import Final

import streamlit as st

from dashboard.auth.users import UserRole
from dashboard.changes import pending_changes
from dashboard.i18n.language import _, marked
from dashboard.page import dialog_steps, refresh, system_status
from dashboard.page.page import Page, PageContext, Show
from dashboard.settings import sections
from dashboard.settings.section import discover_sections
from dashboard.widgets import markup

PAGE = Page(
    title=marked("Settings"), path="settings", icon=":material/settings:", order=90, roles=frozenset({UserRole.ADMIN})
)

PARAMETER: Final = "section"
_CHOSEN: Final = "settings.section"


def show(context: PageContext) -> None:
    """Draw the page."""
    found = {each.code: (each, draw) for each, draw in discover_sections(sections)}
    st.html(markup.heading(_(PAGE.title), 1))
    wanted = st.query_params.get(PARAMETER, "")
    if context.arrived or _CHOSEN not in st.session_state:
        st.session_state[_CHOSEN] = wanted if wanted in found else next(iter(found))
    st.segmented_control(
        _("Section"),
        list(found),
        key=_CHOSEN,
        required=True,
        format_func=lambda code: _(found[code][0].title),
        label_visibility="collapsed",
        on_change=_chosen,
    )
    dialog_steps.open_requested(context)
    code = st.session_state[_CHOSEN]
    draw = partial(_section, context, found[code][1])
    refresh.auto_refresh(draw, seconds=context.refresh_seconds, key=f"settings_{code}")


def _section(context: PageContext, draw: Show) -> None:
    if dialog_steps.is_requested():
        st.rerun()
    why = system_status.obstacle(context, signed=False)
    if why:
        st.html(markup.note(why))
    pending_changes.draw(context)
    draw(context)


def _chosen() -> None:
    st.query_params[PARAMETER] = st.session_state[_CHOSEN]
