"""The layout around every page: menu, signed-in user, banner, and the watcher of the connection.

The authentication middleware has admitted the visitor and says who they are; here that is checked again. A page that a
role may not see is in no menu, and its address names the roles that may.
"""

import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, tzinfo
from functools import partial
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import streamlit as st

from dashboard.auth.middleware import ACCOUNT, SIGN_OUT
from dashboard.auth.users import UserRole
from dashboard.i18n import external_texts, language, text
from dashboard.i18n.language import _, marked
from dashboard.page import address, problem_counts, refresh, services, system_status
from dashboard.page.page import ROLES, Page, PageContext, Show
from dashboard.widgets import markup
from dashboard.widgets.asset_files import ASSETS, asset

_BRAND = "DashFleet"
_FLEET, _PROBLEMS = "fleet", "problems"
_MENU_WIDTH = 230
_LANGUAGE = "language.menu"
_NO_ACCESS_TITLE = marked("You do not have access to this page")
_NO_ACCESS = marked("Roles with access to {page}: {allowed}. Your role: {role}.")
_LOST = marked(
    "No connection to the dashboard since {time}. The page shows the state of that time, and no action can be run. "
    "The connection is retried automatically; if it does not return, check on the server that dashfleet up, or "
    "dashfleet dashboard, is running."
)


def render(views: Sequence[tuple[Page, Show]]) -> None:
    """Draw the page that the address names. `views`: all pages, in menu order."""
    st.set_page_config(
        page_title=_BRAND,
        page_icon=str(ASSETS / "icon.png"),
        layout="wide",
        initial_sidebar_state=_MENU_WIDTH,
    )
    st.html(f"<style>{asset('style.css')}</style>")
    language.choose_from_address()
    st.html(f"<script>{_page_settings()}{asset('language.js')}</script>", unsafe_allow_javascript=True)
    st.html(
        f"<script>{asset('watcher.js')}{asset('escape.js')}{asset('counts.js')}{asset('faults.js')}</script>",
        unsafe_allow_javascript=True,
    )
    context = _context(views)
    hidden = [_without_access(view, context.role) for view, _show in views if context.role not in view.roles]
    chosen = st.navigation([*context.pages.values(), *hidden], position="hidden")
    _menu(context, views)
    _banner(context, chosen.url_path)
    chosen.run()


def _banner(context: PageContext, path: str) -> None:
    seconds = min(context.refresh_seconds, system_status.BANNER_SECONDS)
    refresh.auto_refresh(partial(_status, context), seconds=seconds, key=f"banner_{path or 'first'}")


def _status(context: PageContext) -> None:
    """Draw what refreshes on every page: the banner, and the numbers of what is broken for the menu and the title."""
    system_status.banner(context)
    troubled = problem_counts.count_troubled(context)
    counts = {_FLEET: troubled, _PROBLEMS: problem_counts.count_problems(context)}
    st.html(markup.counted({name: text.count(number) for name, number in counts.items() if number}))
    st.set_page_config(page_title=f"({text.count(troubled)}) {_BRAND}" if troubled else _BRAND)


def _menu(context: PageContext, views: Sequence[tuple[Page, Show]]) -> None:
    with st.sidebar:
        st.html(markup.brand(asset("logo.svg")))
        for view, _show in views:
            if view.in_menu and view.path in context.pages:
                st.page_link(context.pages[view.path], label=_(view.title), icon=view.icon, width="stretch")
        _languages()
        account = ACCOUNT, _("Your account: password and second factor")
        visitor = markup.signed_in(context.user, context.org, account=account, sign_out=SIGN_OUT, label=_("Sign out"))
        st.html(visitor)


def _languages() -> None:
    st.session_state[_LANGUAGE] = language.current()
    st.selectbox(
        _("Language"),
        language.LANGUAGES,
        key=_LANGUAGE,
        format_func=language.name_of,
        label_visibility="collapsed",
        on_change=lambda: language.choose(st.session_state[_LANGUAGE]),
    )


def _page_settings() -> str:
    """Assign what the scripts of the page need to know about its language."""
    told = {
        "language": language.current(),
        "chosen": language.COOKIE if language.CHOSEN in st.session_state else "",
        "lost": _(_LOST),
        "words": dict(external_texts.streamlit_texts()),
    }
    return f"window.dashfleet = {json.dumps(told)};".replace("<", "\\u003c")


def _context(views: Sequence[tuple[Page, Show]]) -> PageContext:
    visitor: dict[str, Any] = st.user.to_dict()
    shared = services.current()
    if shared is None or not visitor.get("name"):
        st.stop()
    role = UserRole(str(visitor["role"]))
    pages: dict[str, Any] = {}
    context = PageContext(
        engine=shared.engine,
        clock=shared.clock,
        org=str(visitor["org"]),
        user=str(visitor["name"]),
        role=role,
        zone=_zone(),
        refresh_seconds=shared.refresh_seconds,
        chart_samples_max=shared.chart_samples_max,
        pages=pages,
        publisher=shared.publisher,
        broker=shared.broker.seen_at(str(st.context.url or "")),
        users=shared.users if role is UserRole.ADMIN else None,
        api_tokens=shared.api_tokens if role is UserRole.ADMIN else None,
        notifications=shared.notifications,
    )
    for view, show in views:
        if context.role in view.roles:
            pages[view.path] = _page(view, show, context, default=not pages)
    return context


def _page(view: Page, show: Show, context: PageContext, *, default: bool) -> Any:  # noqa: ANN401 - st.Page has no public type
    def body() -> None:
        arrived = st.session_state.get("page") != view.path
        if arrived:
            address.forget()
        st.session_state["page"] = view.path
        show(replace(context, arrived=arrived))

    return st.Page(
        body,
        title=_(view.title),
        icon=view.icon,
        url_path=view.path,
        default=default,
        visibility="visible" if view.in_menu else "hidden",
    )


def _without_access(view: Page, role: UserRole) -> Any:  # noqa: ANN401 - as above
    """Stands at the address of a page that the visitor may not see."""

    def body() -> None:
        allowed = ", ".join(_(ROLES[each]) for each in UserRole if each in view.roles)
        why = _(_NO_ACCESS, page=_(view.title), allowed=allowed, role=_(ROLES[role]))
        st.html(markup.empty(_(_NO_ACCESS_TITLE), why))

    return st.Page(body, title=_(view.title), icon=view.icon, url_path=view.path, visibility="hidden")


def _zone() -> tzinfo:
    try:
        return ZoneInfo(st.context.timezone or "UTC")
    except (ZoneInfoNotFoundError, ValueError):
        return UTC
