"""One machine: how it is now, how it was, what it is, and when it came and went."""

from collections.abc import Sequence
from functools import partial
from typing import Any, Final

import streamlit as st
from sqlalchemy import Row
from streamlit.delta_generator import DeltaGenerator

from dashboard.actions import dialog
from dashboard.activity import rows as activity_rows
from dashboard.alerts import rows as alert_rows
from dashboard.changes import pending_changes
from dashboard.export import downloads
from dashboard.i18n import text
from dashboard.i18n.language import _, marked
from dashboard.machine import charts as machine_charts
from dashboard.machine import configuration, decommission, facts
from dashboard.machine.charts import Chart
from dashboard.page import dialog_steps, last_good, refresh, system_status
from dashboard.page.page import Page, PageContext
from dashboard.widgets import cells, charts, markup, table, theme
from schemas.contract.messages import OrgConfig
from schemas.contract.topics import is_id
from schemas.database.queries import alerts as alert_queries
from schemas.database.queries import commands, machines
from schemas.database.queries import history as history_queries
from schemas.database.queries import settings as settings_queries
from schemas.database.queries.history import RANGES
from schemas.fleet import history
from schemas.fleet.history import Retention
from schemas.fleet.ledger import Ledger

PAGE = Page(title=marked("Machine"), path="machine", icon=":material/computer:", order=10, in_menu=False)

_FLEET: Final = "fleet"
_ACTIVITY: Final = "activity"
_COMMANDS: Final = 10
_ALERTS: Final = 10
_RANGE: Final = "machine.range"
_INTERVAL_SECONDS: Final = 10.0
_TRANSITIONS: Final = 20
_CHART_HEIGHT: Final = 200
_WIDE_CHART_HEIGHT: Final = 260

_UNKNOWN_TITLE: Final = marked("There is no such machine")
_UNKNOWN: Final = marked(
    "Your organisation has no machine with this id. It may have been removed, or the link is mistyped."
)
_NO_HISTORY: Final = marked("Nothing was recorded in this time.")
_AVERAGES: Final = marked("Lines are averages; the bands around them reach from the lowest to the highest reading.")
_NO_EVENTS: Final = marked("No change yet.")
_NO_COMMANDS: Final = marked("Nothing has been asked of this machine yet.")


def show(context: PageContext) -> None:
    """Draw the page."""
    name = st.query_params.get("id", "")
    with st.container(key="back"):
        st.page_link(context.pages[_FLEET], label=_("Fleet"), icon=":material/arrow_back:")
    known = last_good.read(context, f"machine.{name}", partial(_detail, context, name)) if is_id(name) else []
    if known is None:
        refresh.until_readable(context)
        return
    if not known:
        st.html(markup.empty(_(_UNKNOWN_TITLE), _(_UNKNOWN)))
        return
    dialog_steps.open_requested(context)
    dialog.open_if_asked(context)
    refresh.auto_refresh(partial(_now, context, name), seconds=context.refresh_seconds, key="machine_now")
    _range_row(name)
    refresh.auto_refresh(partial(_history, context, name), seconds=context.refresh_seconds, key="machine_history")


def _detail(context: PageContext, name: str) -> list[Row[Any]]:
    """The machine, or nothing."""
    row = machines.find_machine(context.engine, context.org, name)
    return [] if row is None else [row]


def _now(context: PageContext, name: str) -> None:
    """What refreshes above the range: the header and the vitals."""
    if dialog.asked():
        st.rerun()
    for row in last_good.read(context, f"machine.{name}", partial(_detail, context, name)) or ():
        _title(context, row)
        pending_changes.draw(context)
        st.html(markup.note(facts.subtitle(row, context.now())) + markup.tags(text.labels(row.labels)))
        alerts = "".join(markup.chip(word) for word in alert_rows.chips(_found_alerts(context, name)))
        if alerts:  # Streamlit refuses an empty text
            st.html(alerts)
        settings = last_good.read(
            context, "settings", partial(settings_queries.read_settings, context.engine, context.org)
        )
        thresholds = settings[0].thresholds if settings else None
        recent = last_good.read(context, f"recent.{name}", partial(_recent, context, row)) or []
        st.html(facts.vitals(row, machine_charts.metrics(row.info), thresholds, recent))


def _title(context: PageContext, row: Row[Any]) -> None:
    """The machine's name, and what may be done with it by whoever may."""
    if not context.may_act or row.presence == machines.RETIRED:
        st.html(facts.title(row))
        return
    why = system_status.obstacle(context)
    with st.container(horizontal=True, vertical_alignment="center", key="machine_title"):
        st.html(facts.title(row), width="content")
        st.space("stretch")
        st.button(
            _("Act …"),
            icon=":material/bolt:",
            on_click=partial(_act, context, row.name),
            disabled=bool(why),
            help=markup.plain(why) or None,
        )
    if why:
        st.html(markup.note(why))


def _act(context: PageContext, name: str) -> None:
    if context.may_act:
        dialog.ask((name,))


def _recent(context: PageContext, row: Row[Any]) -> list[dict[str, Any]]:
    """The last few samples."""
    step, end = charts.step(0, row.interval_seconds or _INTERVAL_SECONDS), context.now()
    return history_queries.read_history(context.engine, row.id, start=end - 10 * step, end=end, step=step)


def _range_row(name: str) -> None:
    if _RANGE not in st.session_state:
        wanted = st.query_params.get("range", "")
        st.session_state[_RANGE] = wanted if wanted in RANGES else "1h"
    with st.container(horizontal=True, vertical_alignment="center", key="machine_range_row"):
        st.html(markup.heading(_("History")), width="content")
        st.space("stretch")
        st.html(downloads.links(downloads.MACHINE, {"id": name, "range": st.session_state[_RANGE]}), width="content")
        st.segmented_control(
            _("Range"),
            list(RANGES),
            key=_RANGE,
            required=True,
            format_func=_range_label,
            label_visibility="collapsed",
            on_change=_range_chosen,
        )


def _range_label(code: str) -> str:
    hours = RANGES[code] // history.HOUR
    return text.hours(hours) if hours <= 24 else text.period(RANGES[code] // 1000)


def _range_chosen() -> None:
    st.query_params["range"] = st.session_state[_RANGE]


def _history(context: PageContext, name: str) -> None:
    """What refreshes below the range: the charts, the inventory, the events."""
    if dialog_steps.is_requested():
        st.rerun()
    for row in last_good.read(context, f"machine.{name}", partial(_detail, context, name)) or ():
        _charts(context, row)
        left, right = st.columns(2)
        with left.container(border=True, key="card_inventory"):
            st.html(markup.heading(_("Inventory"), 3))
            st.html(markup.facts(facts.inventory(row, context.now(), context.zone)))
        _alerts(context, right, name)
        with left.container(border=True, key="card_configuration"):
            st.html(markup.heading(_("Configuration"), 3))
            configuration.draw(context, row)
        if context.may_act:
            with left.container(border=True, key="card_service"):
                st.html(markup.heading(_("Service"), 3))
                decommission.draw(context, row)
        with right.container(border=True, key="card_events"):
            st.html(markup.heading(_("Presence"), 3))
            _events(context, row)
        with right.container(border=True, key="card_ledger"):
            st.html(markup.heading(_("Samples"), 3))
            _ledger(context, row)
        st.html(markup.heading(_("Last commands")))
        _commands(context, row)


def _charts(context: PageContext, row: Row[Any]) -> None:
    chosen = st.session_state[_RANGE]
    length, end = RANGES[chosen], context.now()
    interval = row.interval_seconds or _INTERVAL_SECONDS
    settings = _settings(context)
    if settings is None:
        return
    kept = history.choose_resolution(step=charts.step(length, 0), age=length, retention=settings[1])
    step = charts.step(length, interval, kept.length)
    extras = machine_charts.metrics(row.info)
    read = partial(
        history_queries.read_history,
        context.engine,
        row.id,
        start=end - length,
        end=end,
        step=step,
        resolution=kept,
        extras=[metric.name for metric in extras],
    )
    rows = last_good.read(context, f"history.{row.name}.{chosen}", read)
    if rows is None:
        return
    drawn = machine_charts.of_history(rows, extras, spacing=charts.spacing(step, interval))
    _draw(drawn, start=end - length, end=end, averages=kept != history.SAMPLES)


def _draw(drawn: Sequence[Chart], *, start: int, end: int, averages: bool) -> None:
    if not drawn:
        with st.container(border=True, key="card_no_history"):
            st.html(markup.note(_(_NO_HISTORY)))
    elif averages:
        st.html(markup.note(_(_AVERAGES)))
    for chart in (chart for chart in drawn if chart.wide):
        _chart(chart, start=start, end=end)
    with st.grid(2, min_column_width=360, key="machine_charts"):
        for chart in (chart for chart in drawn if not chart.wide):
            _chart(chart, start=start, end=end)


def _chart(chart: Chart, *, start: int, end: int) -> None:
    ink = theme.ink(st.context.theme.type)
    spec = charts.options(
        chart.lines, start=start, end=end, scale=chart.scale, bounds=chart.bounds, day=text.chart_day(), ink=ink
    )
    with st.container(border=True, key=f"card_{chart.key}"):
        st.html(markup.heading(chart.title, 3))
        st.echarts_chart(
            spec,
            height=_WIDE_CHART_HEIGHT if chart.wide else _CHART_HEIGHT,
            key=f"chart.{chart.key}",
            alt=_alt(chart),
        )


def _alt(chart: Chart) -> str:
    if any(line.high for line in chart.lines):
        return _("{title} over the chosen time: average, lowest and highest", title=chart.title)
    return _("{title} over the chosen time", title=chart.title)


def _alerts(context: PageContext, place: DeltaGenerator, name: str) -> None:
    """What is and was wrong with it; nothing when nothing ever was."""
    found = _found_alerts(context, name)
    if found:
        with place.container(border=True, key="card_alerts"):
            st.html(markup.heading(_("Alerts"), 3))
            st.html(markup.timeline(alert_rows.lines(found, context.now(), context.zone)))


def _found_alerts(context: PageContext, name: str) -> Sequence[Row[Any]]:
    read = partial(alert_queries.list_machine_alerts, context.engine, context.org, name, limit=_ALERTS)
    return last_good.read(context, f"alerts.{name}", read) or ()


def _events(context: PageContext, row: Row[Any]) -> None:
    read = partial(machines.list_transitions, context.engine, row.id, limit=_TRANSITIONS)
    found = last_good.read(context, f"transitions.{row.name}", read)
    if found:
        st.html(markup.timeline(facts.events(found, context.now(), context.zone)))
    else:
        st.html(markup.note(_(_NO_EVENTS)))


def _commands(context: PageContext, row: Row[Any]) -> None:
    read = partial(commands.list_machine_commands, context.engine, context.org, row.name, limit=_COMMANDS)
    found = last_good.read(context, f"commands.{row.name}", read)
    if not found:
        st.html(markup.note(_(_NO_COMMANDS)))
        return
    rows = activity_rows.of_a_machine(found, context.now(), context.zone, path=f"/{_ACTIVITY}")
    opened = table.draw(
        "machine_commands", _("Last commands"), cells.columns(activity_rows.OF_A_MACHINE), rows, total=len(rows)
    )
    if opened:
        st.switch_page(context.pages[_ACTIVITY], query_params={"command": opened})


def _settings(context: PageContext) -> tuple[OrgConfig, Retention] | None:
    return last_good.read(context, "settings", partial(settings_queries.read_settings, context.engine, context.org))


def _ledger(context: PageContext, row: Row[Any]) -> None:
    found = last_good.read(
        context, f"ledger.{row.name}", partial(machines.read_ledgers, context.engine, machine_id=row.id)
    )
    if found is not None:
        st.html(markup.facts(facts.ledger(found.get(row.id, Ledger()))))
