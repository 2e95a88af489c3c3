"""The section of the machine page with its devices: a group at a time, the worst first. Nothing without series."""

from collections.abc import Mapping
from functools import partial
from typing import Any, Final

import streamlit as st
from sqlalchemy import Row

from dashboard.i18n import disk_outlook, text
from dashboard.i18n.language import _
from dashboard.machine import history, period_row
from dashboard.page import last_good
from dashboard.page.page import PageContext
from dashboard.page.period import Period
from dashboard.series import device_lines
from dashboard.series.device_groups import DeviceGroup, device_groups
from dashboard.series.device_lines import DeviceTable, History
from dashboard.widgets import charts, markup
from schemas.database.rules.days_left import read_mount_forecasts
from schemas.database.series.history import read_device_history
from schemas.database.series.latest import LatestSeries, read_latest
from schemas.fleet.history import HOURS, SAMPLES, Retention, choose_resolution

SHOWN_FIRST: Final = 10
_DETAIL_SECONDS: Final = 60.0
_GROUP: Final = "series.group"
_ALL: Final = "series.all"


def draw(context: PageContext, row: Row[Any], retention: Retention) -> None:
    """Draw the chosen group of a machine's devices."""
    found = last_good.read_org(context, f"series.{row.name}", read_latest, [row.name]) or {}
    latest = found.get(row.name)
    groups = {} if latest is None else {each.key: each for each in device_groups(row.info, latest.readings)}
    if latest is None or not groups:
        return
    if st.session_state.get(_GROUP) not in groups:
        st.session_state[_GROUP] = next(iter(groups))
    st.html(markup.heading(_("Readings by device")))
    chosen = st.pills(
        _("Group"),
        list(groups),
        key=_GROUP,
        required=True,
        format_func=lambda key: groups[key].title,
        label_visibility="collapsed",
    )
    _group(context, row, retention, groups[chosen or next(iter(groups))], latest)


def _group(context: PageContext, row: Row[Any], retention: Retention, group: DeviceGroup, latest: LatestSeries) -> None:
    period = period_row.current(context)
    detail = (row.info or {}).get("detail_interval_seconds") or _DETAIL_SECONDS
    age = max(0, context.now() - period.start)
    is_rolled_up = choose_resolution(step=charts.step(period.length, 0), age=age, retention=retention) == HOURS
    resolution = HOURS if is_rolled_up else SAMPLES
    step = charts.step(period.length, detail, resolution.length)
    query = partial(
        read_device_history,
        context.engine,
        row.id,
        [metric.name for metric in group.metrics],
        start=period.start,
        end=period.end,
        step=step,
        resolution=resolution,
        counters=[metric.name for metric in group.metrics if metric.is_counter],
    )
    lines: History = last_good.read(context, f"series.{row.name}.{group.key}.{period.code}", query) or {}
    spacing = charts.spacing(step, detail)
    full = _forecasts(context, row.name) if device_lines.MOUNT in group.kinds else {}
    for table in device_lines.tables(group, latest.readings, lines, spacing, full):
        _table(table, group.key)
    said = _("Readings of {at}.", at=text.moment(latest.as_of, context.now(), context.zone))
    st.html(markup.note(f"{said} {left_out(row.info)}".rstrip()))
    _charts(group, latest, lines, spacing, period)


def left_out(info: Mapping[str, Any] | None) -> str:
    """Return how many devices each collector left out because there were more than it reports; empty if none did."""
    counts = {str(name): number for name, number in ((info or {}).get("truncated") or {}).items() if number}
    named = [f"{text.readable(name)} {text.count(number)}" for name, number in sorted(counts.items())]
    return _("Left out, as there were more than the agent reports: {counts}.", counts=", ".join(named)) if named else ""


def _forecasts(context: PageContext, name: str) -> dict[str, str]:
    """Return when each file system will be full."""
    rows = last_good.read_org(context, f"forecasts.{name}", read_mount_forecasts, name) or []
    return {row.mount: disk_outlook.full_in(row.full_at, row.outlook, context.now()) for row in rows}


def _charts(group: DeviceGroup, latest: LatestSeries, lines: History, spacing: float, period: Period) -> None:
    drawn = device_lines.device_charts(group, latest.readings, lines, spacing)
    with st.grid(2, min_column_width=420, key="series_charts"):
        for chart in drawn:
            history.draw_chart(chart, period)


def _table(table: DeviceTable, group: str) -> None:
    key = f"{group}.{table.title}"
    shows_all = st.session_state.get(_ALL) == key
    rows = table.rows if shows_all else table.rows[:SHOWN_FIRST]
    st.html(markup.readings(table.title, table.heads, rows))
    if len(table.rows) > SHOWN_FIRST:
        label = _("Show fewer") if shows_all else _("Show all {n}", n=text.count(len(table.rows)))
        st.button(label, type="tertiary", key=f"series_more_{key}", on_click=_toggle, args=(key, shows_all))


def _toggle(key: str, shows_all: bool) -> None:
    st.session_state[_ALL] = "" if shows_all else key
