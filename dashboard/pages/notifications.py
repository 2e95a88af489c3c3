"""Notifications: who is told about alerts, how, and what was sent."""

from collections.abc import Callable
from functools import partial
from typing import Final

import streamlit as st

from dashboard.auth.users import UserRole
from dashboard.destinations.notification_centre import NotificationCentre
from dashboard.i18n.language import _, marked
from dashboard.notifications import sections
from dashboard.page import dialog_steps, refresh
from dashboard.page.page import Page, PageContext
from dashboard.settings.section import SettingsSection
from dashboard.widgets import markup

PAGE = Page(title=marked("Notifications"), path="notifications", icon=":material/notifications:", order=60)

PARAMETER: Final = "section"
_CHOSEN: Final = "notifications.section"
_OFF: Final = marked("This dashboard has no key for destinations: set key_file, the same file as the notifier's.")

Draw = Callable[[PageContext, NotificationCentre], None]


def show(context: PageContext) -> None:
    """Draw the page."""
    st.html(markup.heading(_(PAGE.title), 1))
    centre = context.notifications
    if centre is None:
        st.html(markup.note(_(_OFF)))
        return
    found = {section.code: (section, draw) for section, draw in _sections(context)}
    wanted = st.query_params.get(PARAMETER, "")
    if context.arrived or st.session_state.get(_CHOSEN) not in found:
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
    draw = partial(_section, context, centre, found[code][1])
    refresh.auto_refresh(draw, seconds=context.refresh_seconds, key=f"notifications_{code}")


def _sections(context: PageContext) -> list[tuple[SettingsSection, Draw]]:
    """Return the sections of the visitor's role."""
    is_admin = context.role is UserRole.ADMIN
    owners = ["", context.user] if is_admin else [context.user]
    log: Draw = partial(sections.draw_deliveries, owners=owners)
    own: list[tuple[SettingsSection, Draw]] = [(sections.OWN, sections.draw_own)]
    if is_admin:
        own = [(sections.ORGANISATION, sections.draw_organisation), *own, (sections.TEMPLATES, sections.draw_templates)]
    return [*own, (sections.DELIVERIES, log)]


def _section(context: PageContext, centre: NotificationCentre, draw: Draw) -> None:
    if dialog_steps.is_requested():
        st.rerun()
    draw(context, centre)


def _chosen() -> None:
    st.query_params[PARAMETER] = st.session_state[_CHOSEN]
