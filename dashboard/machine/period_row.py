"""The row that shows and changes the time range of the charts, and the range itself, which the address keeps."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Final

import streamlit as st

from dashboard.export import downloads
from dashboard.i18n import text
from dashboard.i18n.language import Marked, _, marked
from dashboard.page import address
from dashboard.page.page import PageContext
from dashboard.page.period import Period, without
from dashboard.widgets import markup
from schemas.database.queries.history import RANGES
from schemas.fleet import history

_RANGE: Final = "machine.range"
_COMPARE: Final = "machine.compare"
_FROM: Final = "machine.from"
_TO: Final = "machine.to"
_COMPARISONS: Final[Mapping[str, Marked]] = {
    "": marked("No comparison"),
    "day": marked("Day before"),
    "week": marked("Week before"),
}
_COMPARE_WIDTH: Final = 175


def current(context: PageContext) -> Period:
    """Return the time range that the address names."""
    return Period.parse(address.read(), context.now())


def change(period: Period) -> None:
    """Change the address to this time range."""
    address.change({**without(address.read()), **period.address()})


def comparison_name(period: Period) -> str:
    """Return the name of the compared time range; empty without one."""
    return _(_COMPARISONS[period.compare]).lower() if period.compare else ""


def shown(period: Period, context: PageContext) -> str:
    """Return a free range in words; empty for one that ends now."""
    if period.code:
        return ""
    start, end = (text.moment(at, context.now(), context.zone) for at in (period.start, period.end))
    return f"{start} – {end}"


def draw(context: PageContext, title: str, *, export: Mapping[str, str] | None = None, comparing: bool = True) -> None:
    """Draw the row. `export`: query of a machine's download, without the range; `comparing`: with earlier times."""
    period = current(context)
    with st.container(horizontal=True, vertical_alignment="center", key="period_row"):
        st.html(markup.heading(title), width="content")
        if export is not None:
            query = {**export, **({"range": period.code} if period.code else period.address())}
            st.html(downloads.links(downloads.MACHINE, query), width="content")
        st.space("stretch")
        if comparing:
            _comparison(context, period)
        _choice(context, period)
        _form(context, period)
    _moves(context, period)


def _comparison(context: PageContext, period: Period) -> None:
    st.session_state[_COMPARE] = period.compare
    st.selectbox(
        _("Compare with"),
        list(_COMPARISONS),
        key=_COMPARE,
        format_func=lambda code: _(_COMPARISONS[code]),
        label_visibility="collapsed",
        width=_COMPARE_WIDTH,
        on_change=partial(_compare_chosen, context),
    )


def _compare_chosen(context: PageContext) -> None:
    period = current(context)
    change(Period(period.start, period.end, period.code, str(st.session_state[_COMPARE] or "")))


def _choice(context: PageContext, period: Period) -> None:
    st.session_state[_RANGE] = period.code or None
    st.segmented_control(
        _("Range"),
        list(RANGES),
        key=_RANGE,
        format_func=range_label,
        label_visibility="collapsed",
        on_change=partial(_range_chosen, context),
    )


def _range_chosen(context: PageContext) -> None:
    code = st.session_state[_RANGE]
    if code:
        change(Period.latest(code, context.now(), current(context).compare))


def range_label(code: str) -> str:
    """Return the label of a range that ends now."""
    hours = RANGES[code] // history.HOUR
    return text.hours(hours) if hours <= 24 else text.period(RANGES[code] // 1000)


def _form(context: PageContext, period: Period) -> None:
    """Draw the form for a free range; a range that stays has inputs of its own, which show its ends."""
    ends = {_FROM: (_("From"), period.start), _TO: (_("To"), period.end)}
    keys = {name: f"{name}.{period.code or at}" for name, (_label, at) in ends.items()}
    with st.popover(_("Custom …"), icon=":material/date_range:", key="period_more"):
        for name, (label, at) in ends.items():
            local = datetime.fromtimestamp(at / 1000, context.zone).replace(tzinfo=None, second=0, microsecond=0)
            st.datetime_input(label, local, key=keys[name], step=timedelta(minutes=1))
        st.button(_("Apply"), type="primary", key="period_apply", on_click=partial(_entered, context, *keys.values()))


def _entered(context: PageContext, start_key: str, end_key: str) -> None:
    start, end = (_milliseconds(st.session_state.get(key), context) for key in (start_key, end_key))
    if start is not None and end is not None:
        change(current(context).free(start, end, context.now()))


def _milliseconds(local: object, context: PageContext) -> int | None:
    if not isinstance(local, datetime):
        return None
    return int(local.replace(tzinfo=context.zone).astimezone(UTC).timestamp() * 1000)


def _moves(context: PageContext, period: Period) -> None:
    """Draw what a free range is, and the buttons that move it."""
    if period.code:
        return
    now = context.now()
    with st.container(horizontal=True, vertical_alignment="center", key="period_moves"):
        st.html(markup.note(shown(period, context)), width="content")
        for label, icon, to in (
            (_("Earlier"), "chevron_left", period.moved(-1, now)),
            (_("Later"), "chevron_right", period.moved(1, now)),
            (_("Zoom out"), "zoom_out", period.widened(now)),
        ):
            st.button(
                label,
                icon=f":material/{icon}:",
                type="tertiary",
                key=f"period_{icon}",
                on_click=partial(change, to),
                disabled=to == period,
            )
