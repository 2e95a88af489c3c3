"""The machine page, in the order of questions: how is it, what is wrong, what happened, since when, and what is it."""

from collections.abc import Sequence
from functools import partial
from typing import Any, Final

import streamlit as st
from sqlalchemy import Row

from dashboard.actions import dialog
from dashboard.changes import pending_changes
from dashboard.events import rows as event_rows
from dashboard.events.event import Event
from dashboard.facts import section
from dashboard.i18n import text
from dashboard.i18n.language import _, marked
from dashboard.live import live_place
from dashboard.machine import charts as machine_charts
from dashboard.machine import compatibility, details, event_list, facts, gauges, history, period_row, problems
from dashboard.page import dialog_steps, last_good, refresh, system_status
from dashboard.page.page import Page, PageContext
from dashboard.page.shared_results import SharedResult
from dashboard.series import section as device_section
from dashboard.widgets import charts, markup
from schemas.contract.org_config import OrgConfig
from schemas.contract.topics import is_id
from schemas.database.queries import history as history_queries
from schemas.database.queries import machines
from schemas.database.queries import settings as settings_queries
from schemas.database.queries.fleet_order import RETIRED
from schemas.fleet import forecast
from schemas.fleet.history import Retention

PAGE = Page(title=marked("Machine"), path="machine", icon=":material/computer:", order=1, in_menu=False)

_FLEET: Final = "fleet"
_COMPARE: Final = "compare"
_INTERVAL_SECONDS: Final = 10.0
_FORECAST_DAYS: Final = 30
_FORECAST_SECONDS: Final = 600
"""How long the days of a forecast are cached."""

_UNKNOWN: Final = marked(
    "Your organisation has no machine with this id. It may have been removed, or the link is mistyped."
)
_disk_by_day = SharedResult(history_queries.read_disk_by_day, seconds=_FORECAST_SECONDS)


def show(context: PageContext) -> None:
    """Draw the page."""
    name = st.query_params.get("id", "")
    with st.container(key="back"):
        st.page_link(context.pages[_FLEET], label=_("Fleet"), icon=":material/arrow_back:")
    known = _machine(context, name) if is_id(name) else []
    if known is None:
        refresh.until_readable(context)
        return
    if not known:
        st.html(markup.empty(_("Machine not found"), _(_UNKNOWN)))
        return
    dialog_steps.open_requested(context)
    refresh.auto_refresh(partial(_now, context, name), seconds=context.refresh_seconds, key="machine_now")
    period_row.draw(context, _("History"), export={"id": name})
    refresh.auto_refresh(partial(_history, context, name), seconds=context.refresh_seconds, key="machine_history")
    refresh.auto_refresh(partial(_devices, context, name), seconds=context.refresh_seconds, key="machine_devices")
    refresh.auto_refresh(partial(_facts, context, name), seconds=context.refresh_seconds, key="machine_facts")
    refresh.auto_refresh(partial(_details, context, name), seconds=context.refresh_seconds, key="machine_details")


def _machine(context: PageContext, name: str) -> list[Row[Any]] | None:
    return last_good.find_org(context, f"machine.{name}", machines.find_machine, name)


def _settings(context: PageContext) -> tuple[OrgConfig, Retention] | None:
    return last_good.read_org(context, "settings", settings_queries.read_settings)


def _now(context: PageContext, name: str) -> None:
    """Draw what refreshes above the range: title, readings, problems, events."""
    if dialog_steps.is_requested():
        st.rerun()
    for row in _machine(context, name) or ():
        _title(context, row)
        pending_changes.draw(context)
        st.html(markup.note(facts.subtitle(row, context.now())) + markup.tags(text.labels(row.labels)))
        compatibility.draw(context, row)
        live_place.draw(str(row.name))
        with st.container(key="machine_gauges"):
            _gauges(context, row)
        problems.draw(context, name)
        opened = event_list.draw(context, name)
        if opened is not None:
            _show_event(context, opened)


def _show_event(context: PageContext, event: Event) -> None:
    """Show the time of an event in the charts."""
    now = context.now()
    period_row.change(period_row.current(context).free(*event_rows.window(event, now), now))
    st.session_state[history.FOCUS] = int(st.session_state.get(history.FOCUS, 0)) + 1
    st.rerun()


def _gauges(context: PageContext, row: Row[Any]) -> None:
    settings, now = _settings(context), context.now()
    step = charts.step(0, row.interval_seconds or _INTERVAL_SECONDS)
    samples = partial(history_queries.read_history, context.engine, row.id)
    recent = last_good.read(context, f"recent.{row.name}", partial(samples, start=now - 10 * step, end=now, step=step))
    start = now // forecast.DAY * forecast.DAY - _FORECAST_DAYS * forecast.DAY
    days = last_good.read(context, f"disk.{row.name}", partial(_disk_by_day, context.engine, row.id, start=start))
    st.html(
        gauges.draw(
            row,
            machine_charts.metrics(row.info),
            settings[0].thresholds if settings else None,
            recent or [],
            forecast.forecast_disk(days or []),
            now,
            context.zone,
        )
    )


def _title(context: PageContext, row: Row[Any]) -> None:
    may_act = context.may_act and row.presence != RETIRED
    why = system_status.obstacle(context) if may_act else ""
    with st.container(horizontal=True, vertical_alignment="center", key="machine_title"):
        st.html(facts.title(row), width="content")
        st.space("stretch")
        if _COMPARE in context.pages:
            st.page_link(
                context.pages[_COMPARE],
                label=_("Compare …"),
                icon=":material/compare_arrows:",
                query_params={"ids": str(row.name)},
            )
        if may_act:
            st.button(
                _("Run action …"),
                icon=":material/bolt:",
                on_click=partial(dialog.request, context, (str(row.name),)),
                disabled=bool(why),
                help=markup.plain(why) or None,
            )
    if why:
        st.html(markup.note(why))


def _history(context: PageContext, name: str) -> None:
    """Draw the charts, which refresh."""
    if st.session_state.pop(history.REDRAW, False):
        st.rerun()
    settings = _settings(context)
    for row in _machine(context, name) or ():
        if settings is not None:
            history.draw(context, row, settings[1], _marked_events(context, name))


def _devices(context: PageContext, name: str) -> None:
    """Draw the devices of the machine, which refresh."""
    settings = _settings(context)
    for row in _machine(context, name) or ():
        if settings is not None:
            device_section.draw(context, row, settings[1])


def _facts(context: PageContext, name: str) -> None:
    """Draw the lists of the machine, which refresh."""
    if dialog_steps.is_requested():
        st.rerun()
    for row in _machine(context, name) or ():
        section.draw(context, name, None if row.presence == RETIRED else row.info)


def _marked_events(context: PageContext, name: str) -> Sequence[Event]:
    return event_list.within(context, name, period_row.current(context))


def _details(context: PageContext, name: str) -> None:
    """Draw what the machine is, which refreshes."""
    if dialog_steps.is_requested():
        st.rerun()
    for row in _machine(context, name) or ():
        details.draw(context, row)
