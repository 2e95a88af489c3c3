"""What is around every page: the menu, who is signed in, the banner, the watcher of the connection.

The gate has let the visitor in and says who they are; here that is checked again. A page that a role may not see
is in no menu, and its address says who may.
"""

import json
import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, tzinfo
from functools import partial
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import streamlit as st
from sqlalchemy import Engine

from dashboard.auth.accounts import PersonRole
from dashboard.auth.middleware import SIGN_OUT
from dashboard.auth.people import PEOPLE
from dashboard.i18n import language, streamlit_words
from dashboard.i18n.language import _, marked
from dashboard.page import refresh
from dashboard.page.install_command import Entrance
from dashboard.page.page import ROLES, Page, PageContext, Show
from dashboard.publishing.publisher import PUBLISHERS
from dashboard.widgets import markup
from dashboard.widgets.asset_files import ASSETS, asset
from schemas.database.engine import open_engine

SECRETS = "dashfleet"
"""The section of `st.secrets` in which `dashboard.server.app` hands the settings over."""

_MENU_WIDTH = 230
_LANGUAGE = "language.menu"
_REFUSED_TITLE = marked("This page is not for your role")
_REFUSED = marked("Who may open {page}: {allowed}. You are: {role}.")
_LOST = marked(
    "No connection to the dashboard since {time}. What you see is from then, and nothing can be asked of machines. "
    "This page tries again by itself; if it stays so, see on the server that dashfleet up, or dashfleet dashboard, "
    "runs."
)


def render(views: Sequence[tuple[Page, Show]]) -> None:
    """Draw the page that the address names. `views`: all pages, in menu order."""
    st.set_page_config(
        page_title="DashFleet",
        page_icon=str(ASSETS / "icon.png"),
        layout="wide",
        initial_sidebar_state=_MENU_WIDTH,
    )
    st.html(f"<style>{asset('style.css')}</style>")
    language.arrive()
    st.html(f"<script>{_spoken()}{asset('language.js')}</script>", unsafe_allow_javascript=True)
    st.html(f"<script>{asset('watcher.js')}{asset('escape.js')}</script>", unsafe_allow_javascript=True)
    context = _context(views)
    refused = [_refusal(view, context.role) for view, _show in views if context.role not in view.roles]
    chosen = st.navigation([*context.pages.values(), *refused], position="hidden")
    _menu(context, views)
    _banner(context, chosen.url_path)
    chosen.run()


def _banner(context: PageContext, path: str) -> None:
    seconds = min(context.refresh_seconds, refresh.BANNER_SECONDS)
    refresh.refresh(partial(refresh.banner, context), seconds=seconds, key=f"banner_{path or 'first'}")


def _menu(context: PageContext, views: Sequence[tuple[Page, Show]]) -> None:
    with st.sidebar:
        st.html(markup.brand(asset("logo.svg")))
        for view, _show in views:
            if view.in_menu and view.path in context.pages:
                st.page_link(context.pages[view.path], label=_(view.title), icon=view.icon, width="stretch")
        _languages()
        st.html(markup.signed_in(context.user, context.org, sign_out=SIGN_OUT, label=_("Sign out")))


def _languages() -> None:
    st.session_state[_LANGUAGE] = language.current()
    st.selectbox(
        _("Language"),
        language.LANGUAGES,
        key=_LANGUAGE,
        format_func=language.name_of,
        label_visibility="collapsed",
        on_change=_language_chosen,
    )


def _language_chosen() -> None:
    language.choose(st.session_state[_LANGUAGE])


def _spoken() -> str:
    """What the scripts of the page need to know of its language."""
    told = {
        "language": language.current(),
        "chosen": language.COOKIE if language.CHOSEN in st.session_state else "",
        "lost": _(_LOST),
        "words": dict(streamlit_words.words()),
    }
    return f"window.dashfleet = {json.dumps(told)};".replace("<", "\\u003c")


def _context(views: Sequence[tuple[Page, Show]]) -> PageContext:
    visitor: dict[str, Any] = st.user.to_dict()
    if not visitor.get("name"):
        st.stop()
    settings = st.secrets[SECRETS]
    role, process = PersonRole(str(visitor["role"])), str(settings["process"])
    pages: dict[str, Any] = {}
    context = PageContext(
        engine=_engine(settings["database"]),
        org=str(visitor["org"]),
        user=str(visitor["name"]),
        role=role,
        zone=_zone(),
        refresh_seconds=float(settings["refresh_seconds"]),
        now=_now,
        pages=pages,
        publisher=PUBLISHERS.get(process),
        people=PEOPLE.get(process) if role is PersonRole.ADMIN else None,
        entrance=Entrance(str(settings["machines_server"]), Path(settings["ca_file"]) if settings["ca_file"] else None),
    )
    for view, show in views:
        if context.role in view.roles:
            pages[view.path] = _page(view, show, context, default=not pages)
    return context


def _page(view: Page, show: Show, context: PageContext, *, default: bool) -> Any:  # noqa: ANN401 - st.Page has no public type
    def body() -> None:
        arrived = st.session_state.get("page") != view.path
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


def _refusal(view: Page, role: PersonRole) -> Any:  # noqa: ANN401 - as above
    """What stands at the address of a page that the visitor may not see."""

    def body() -> None:
        allowed = ", ".join(_(ROLES[each]) for each in PersonRole if each in view.roles)
        why = _(_REFUSED, page=_(view.title), allowed=allowed, role=_(ROLES[role]))
        st.html(markup.empty(_(_REFUSED_TITLE), why))

    return st.Page(body, title=_(view.title), icon=view.icon, url_path=view.path, visibility="hidden")


@st.cache_resource(show_spinner=False)
def _engine(url: str) -> Engine:
    return open_engine(url, read_only=True)


def _zone() -> tzinfo:
    try:
        return ZoneInfo(st.context.timezone or "UTC")
    except (ZoneInfoNotFoundError, ValueError):
        return UTC


def _now() -> int:
    return time.time_ns() // 1_000_000
