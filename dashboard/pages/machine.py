"""The machine page: a machine's state, history, inventory, configuration, events and last commands."""

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
from dashboard.i18n.language import _, marked, ngettext
from dashboard.machine import chart_data, configuration, decommission, facts
from dashboard.machine import charts as machine_charts
from dashboard.machine.charts import Chart
from dashboard.page import dialog_steps, last_good, refresh, system_status
from dashboard.page.page import Page, PageContext
from dashboard.silences import buttons
from dashboard.widgets import cells, charts, markup, table, theme
from schemas.contract.org_config import OrgConfig
from schemas.contract.topics import is_id
from schemas.database.queries import alerts as alert_queries
from schemas.database.queries import commands, machines
from schemas.database.queries import history as history_queries
from schemas.database.queries import settings as settings_queries
from schemas.database.queries.dead_letters import count_dead_letters
from schemas.database.queries.fleet_order import RETIRED
from schemas.database.queries.history import RANGES
from schemas.database.queries.targets import list_action_titles
from schemas.fleet import history
from schemas.fleet.history import Retention
from schemas.fleet.ledger import Ledger

PAGE = Page(title=marked("Machine"), path="machine", icon=":material/computer:", order=10, in_menu=False)

_FLEET: Final = "fleet"
_ACTIVITY: Final = "activity"
_REJECTED: Final = "rejected"
_COMMANDS: Final = 10
_ALERTS: Final = 10
_TRANSITIONS: Final = 20
_RANGE: Final = "machine.range"
_INTERVAL_SECONDS: Final = 10.0
_CHART_HEIGHT: Final = 200
_WIDE_CHART_HEIGHT: Final = 260

_UNKNOWN: Final = marked(
    "Your organisation has no machine with this id. It may have been removed, or the link is mistyped."
)
_AVERAGES: Final = marked("Lines are averages; the bands around them reach from the lowest to the highest reading.")

_REDUCED: Final = marked(
    "This time has too many samples to draw, so the charts show minutes. The newest minute appears when it is complete."
)


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
    _range_row(name)
    refresh.auto_refresh(partial(_history, context, name), seconds=context.refresh_seconds, key="machine_history")


def _machine(context: PageContext, name: str) -> list[Row[Any]] | None:
    return last_good.find_org(context, f"machine.{name}", machines.find_machine, name)


def _settings(context: PageContext) -> tuple[OrgConfig, Retention] | None:
    return last_good.read_org(context, "settings", settings_queries.read_settings)


def _now(context: PageContext, name: str) -> None:
    """Draw what refreshes above the range: title, active alerts, vitals."""
    if dialog_steps.is_requested():
        st.rerun()
    for row in _machine(context, name) or ():
        _title(context, row)
        pending_changes.draw(context)
        st.html(markup.note(facts.subtitle(row, context.now())) + markup.tags(text.labels(row.labels)))
        alerts = "".join(markup.chip(word) for word in alert_rows.chips(_alerts(context, name)))
        if alerts:  # Streamlit refuses an empty text
            st.html(alerts)
        settings = _settings(context)
        step, end = charts.step(0, row.interval_seconds or _INTERVAL_SECONDS), context.now()
        samples = partial(history_queries.read_history, context.engine, row.id)
        read = partial(samples, start=end - 10 * step, end=end, step=step)
        recent = last_good.read(context, f"recent.{name}", read) or []
        thresholds = settings[0].thresholds if settings else None
        st.html(facts.vitals(row, machine_charts.metrics(row.info), thresholds, recent))


def _title(context: PageContext, row: Row[Any]) -> None:
    if not context.may_act or row.presence == RETIRED:
        st.html(facts.title(row))
        return
    why = system_status.obstacle(context)
    with st.container(horizontal=True, vertical_alignment="center", key="machine_title"):
        st.html(facts.title(row), width="content")
        st.space("stretch")
        st.button(
            _("Run action …"),
            icon=":material/bolt:",
            on_click=partial(dialog.request, context, (str(row.name),)),
            disabled=bool(why),
            help=markup.plain(why) or None,
        )
    if why:
        st.html(markup.note(why))


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
    """Draw what refreshes below the range: charts, and a card for each other subject."""
    if dialog_steps.is_requested():
        st.rerun()
    for row in _machine(context, name) or ():
        _charts(context, row)
        left, right = st.columns(2)
        with _card(left, "inventory", _("Inventory")):
            st.html(markup.facts(facts.inventory(row, context.now(), context.zone)))
        alerts = _alerts(context, name)
        if alerts:
            with _card(right, "alerts", _("Alerts")):
                st.html(markup.timeline(alert_rows.lines(alerts, context.now(), context.zone)))
                buttons.draw(context, name, [row for row in alerts if row.ended_at is None])
        with _card(left, "configuration", _("Configuration")):
            configuration.draw(context, row)
        if context.may_act:
            with _card(left, "service", _("Decommission")):
                decommission.draw(context, row)
        with _card(right, "events", _("Presence")):
            _events(context, row)
        with _card(right, "ledger", _("Samples")):
            _ledger(context, row)
        st.html(markup.heading(_("Last commands")))
        _commands(context, row)


def _card(place: DeltaGenerator, key: str, title: str) -> DeltaGenerator:
    card = place.container(border=True, key=f"card_{key}")
    card.html(markup.heading(title, 3))
    return card


def _charts(context: PageContext, row: Row[Any]) -> None:
    chosen, settings = st.session_state[_RANGE], _settings(context)
    if settings is None:
        return
    length, end = RANGES[chosen], context.now()
    interval = row.interval_seconds or _INTERVAL_SECONDS
    extras = machine_charts.metrics(row.info)
    read = partial(
        chart_data.read,
        context.engine,
        row.id,
        end=end,
        length=length,
        interval_seconds=interval,
        retention=settings[1],
        extras=[metric.name for metric in extras],
        samples_max=context.chart_samples_max,
    )
    found = last_good.read(context, f"history.{row.name}.{chosen}", read)
    if found is None:
        return
    drawn = machine_charts.of_history(found.rows, extras, spacing=charts.spacing(found.step, interval))
    if found.is_reduced:
        st.html(markup.note(_(_REDUCED)))
    if not drawn:
        with st.container(border=True, key="card_no_history"):
            st.html(markup.note(_("No data in this time range.")))
    elif found.resolution != history.SAMPLES:
        st.html(markup.note(_(_AVERAGES)))
    for chart in (chart for chart in drawn if chart.wide):
        _chart(chart, start=end - length, end=end)
    with st.grid(2, min_column_width=360, key="machine_charts"):
        for chart in (chart for chart in drawn if not chart.wide):
            _chart(chart, start=end - length, end=end)


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


def _alerts(context: PageContext, name: str) -> Sequence[Row[Any]]:
    return last_good.read_org(context, f"alerts.{name}", alert_queries.list_machine_alerts, name, limit=_ALERTS) or ()


def _events(context: PageContext, row: Row[Any]) -> None:
    read = partial(machines.list_transitions, context.engine, row.id, limit=_TRANSITIONS)
    found = last_good.read(context, f"transitions.{row.name}", read)
    if found:
        st.html(markup.timeline(facts.events(found, context.now(), context.zone)))
    else:
        st.html(markup.note(_("No events yet.")))


def _ledger(context: PageContext, row: Row[Any]) -> None:
    read = partial(machines.read_ledgers, context.engine, machine_id=row.id)
    found = last_good.read(context, f"ledger.{row.name}", read)
    if found is not None:
        st.html(markup.facts(facts.ledger(found.get(row.id, Ledger()))))
    if _REJECTED in context.pages:
        number = last_good.read_org(context, f"rejected.{row.name}", count_dead_letters, row.name)
        if number:
            label = ngettext("{n} rejected message", "{n} rejected messages", number)
            st.page_link(context.pages[_REJECTED], label=label, query_params={"machine": row.name})


def _commands(context: PageContext, row: Row[Any]) -> None:
    key = f"commands.{row.name}"
    found = last_good.read_org(context, key, commands.list_machine_commands, row.name, limit=_COMMANDS)
    if not found:
        st.html(markup.note(_("No commands yet.")))
        return
    titles = last_good.read_org(context, "machine.titles", list_action_titles, [str(row.name)]) or {}
    rows = activity_rows.of_a_machine(found, titles, context.now(), context.zone, path=f"/{_ACTIVITY}")
    columns = cells.columns(activity_rows.OF_A_MACHINE)
    opened = table.draw("machine_commands", _("Last commands"), columns, rows, total=len(rows))
    if opened:
        st.switch_page(context.pages[_ACTIVITY], query_params={"command": opened})
