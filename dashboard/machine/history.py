"""The charts of a machine's history in the time range of the address, with marks of its events.

Invariants:
- A shorter range is read in finer steps, down to single samples.
- An empty range says so, and leads to the last data before its end.
"""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Final

import streamlit as st
from sqlalchemy import Row

from dashboard.events.event import Event
from dashboard.events.sources import presence
from dashboard.i18n import text
from dashboard.i18n.language import _, marked
from dashboard.machine import chart_data, period_row
from dashboard.machine import charts as machine_charts
from dashboard.machine.chart_data import ChartData
from dashboard.machine.charts import Chart
from dashboard.page import last_good
from dashboard.page.page import PageContext
from dashboard.page.period import Period, last_hour
from dashboard.widgets import chart_range, charts, markup, theme
from dashboard.widgets.charts import ChartFrame, ChartMark
from schemas.database.queries import history as history_queries
from schemas.fleet.history import SAMPLES, Retention

_INTERVAL_SECONDS: Final = 10.0
_CHART_HEIGHT: Final = 170
_WIDE_CHART_HEIGHT: Final = 240
_RANGE_KEY: Final = "machine_chart_range"
FOCUS: Final = "machine.focus"
"""Key in the session of the number of events that were opened; the charts scroll into view when it changes."""

REDRAW: Final = "machine.redraw"
"""Key in the session: the time range was changed inside what refreshes; the row that shows it is outside."""

_AVERAGES: Final = marked("Lines are averages; the bands around them reach from the lowest to the highest reading.")
_REDUCED: Final = marked(
    "This time has too many samples to draw, so the charts show minutes. The newest minute appears when it is complete."
)
_HOW: Final = marked("Vertical lines mark events. Drag across a chart to zoom in.")

Rows = Sequence[dict[str, Any]]


def draw(context: PageContext, row: Row[Any], retention: Retention, events: Sequence[Event]) -> None:
    """Draw the charts of a machine."""
    period = period_row.current(context)
    extras = machine_charts.metrics(row.info)
    names = [metric.name for metric in extras]
    found = read(context, row, period, retention, names, key="history")
    if found is None:
        return
    earlier: Rows = []
    if period.earlier:
        then = replace(period, start=period.start - period.earlier, end=period.end - period.earlier)
        before = read(context, row, then, retention, names, key="earlier")
        earlier = [{**each, "at": each["at"] + period.earlier} for each in (before.rows if before else ())]
    drawn = machine_charts.of_history(
        found.rows,
        extras,
        spacing=spacing(found, row),
        earlier=earlier,
        earlier_name=period_row.comparison_name(period),
    )
    if not drawn:
        _nothing(context, row, period)
        return
    notes = (_(_REDUCED) if found.is_reduced else "", _(_AVERAGES) if found.resolution != SAMPLES else "", _(_HOW))
    st.html(markup.note(" ".join(filter(None, notes))))
    draw_charts(context, drawn, period, marks=marks(events))


def read(
    context: PageContext, row: Row[Any], period: Period, retention: Retention, extras: Sequence[str], *, key: str
) -> ChartData | None:
    """Return the rows of a machine; None while they are unknown.

    `key`: where the session keeps the last result, for each machine and code of a range.
    """
    query = partial(
        chart_data.read,
        context.engine,
        row.id,
        end=period.end,
        length=period.length,
        age=max(0, context.now() - period.end),
        interval_seconds=row.interval_seconds or _INTERVAL_SECONDS,
        retention=retention,
        extras=extras,
        samples_max=context.chart_samples_max,
    )
    return last_good.read(context, f"{key}.{row.name}.{period.code}", query)


def spacing(found: ChartData, row: Row[Any]) -> float:
    """Return the milliseconds between two points without missing data."""
    return charts.spacing(found.step, row.interval_seconds or _INTERVAL_SECONDS)


def draw_charts(context: PageContext, drawn: Sequence[Chart], period: Period, marks: Sequence[ChartMark] = ()) -> None:
    """Draw charts with a common time: wide ones first, the others side by side."""
    with st.container(key="charts_area"):
        focus = int(st.session_state.get(FOCUS, 0))
        on_zoomed = partial(_zoomed, context)
        chart_range.draw(_RANGE_KEY, start=period.start, end=period.end, focus=focus, on_zoomed=on_zoomed)
        for chart in (chart for chart in drawn if chart.wide):
            draw_chart(chart, period, marks)
        with st.grid(3, min_column_width=340, key="machine_charts"):
            for chart in (chart for chart in drawn if not chart.wide):
                draw_chart(chart, period, marks)


def marks(events: Sequence[Event]) -> list[ChartMark]:
    """Return the marks of events; the time of a presence other than online is an area."""
    scheme = st.context.theme.type
    return [
        ChartMark(
            event.at,
            theme.tone(event.word.tone, scheme),
            event.ended_at if event.kind == presence.KIND and event.word.tone != "good" else None,
        )
        for event in events
    ]


def _zoomed(context: PageContext) -> None:
    chosen = chart_range.zoomed(_RANGE_KEY)
    if chosen is not None:
        show(period_row.current(context).free(*chosen, context.now()))


def _nothing(context: PageContext, row: Row[Any], period: Period) -> None:
    query = partial(history_queries.last_recorded, context.engine, row.id, before=period.end)
    at = last_good.read(context, f"recorded.{row.name}.{period.code}", query)
    with st.container(border=True, key="card_no_history"):
        st.html(markup.note(_("No data in this time range.")))
        if at is None:
            return
        st.html(markup.note(_("Last data: {at}", at=text.moment(at, context.now(), context.zone))))
        to = period.free(*last_hour(at), context.now())
        st.button(
            _("Show the last recorded hour"),
            icon=":material/history:",
            key="period_last",
            on_click=partial(show, to),
        )


def show(period: Period) -> None:
    """Change the time range from inside what refreshes."""
    period_row.change(period)
    st.session_state[REDRAW] = True


def draw_chart(chart: Chart, period: Period, marks: Sequence[ChartMark] = ()) -> None:
    """Draw a chart in a card."""
    scheme = st.context.theme.type
    frame = ChartFrame(
        period.start,
        period.end,
        chart.scale,
        chart.bounds,
        day=text.chart_day(),
        ink=theme.ink(scheme),
        colours=theme.line_colours(scheme),
        marks=marks,
    )
    title = chart.title if charts.is_short(chart.scale.unit) else f"{chart.title} ({chart.scale.unit})"
    with st.container(border=True, key=f"card_{chart.key}"):
        st.html(markup.heading(title, 3))
        st.echarts_chart(
            charts.options(chart.lines, frame),
            height=_WIDE_CHART_HEIGHT if chart.wide else _CHART_HEIGHT,
            key=f"chart.{chart.key}",
            alt=_alt(chart),
        )


def _alt(chart: Chart) -> str:
    if any(line.high for line in chart.lines):
        return _("{title} over the chosen time: average, lowest and highest", title=chart.title)
    return _("{title} over the chosen time", title=chart.title)
