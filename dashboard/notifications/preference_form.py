"""The form of preferences: language, time zone, quiet hours, severity, reminders, grouping."""

from datetime import time
from typing import Any, Final
from zoneinfo import available_timezones

import streamlit as st
from pydantic import ValidationError

from dashboard.auth.passwords import AccountError
from dashboard.i18n import text
from dashboard.i18n.language import LANGUAGES, _, marked, name_of
from dashboard.page.dialog_steps import DialogState, fault
from dashboard.silences import texts
from runtime.sentences.validation_errors import read_problems
from schemas.people.routing import Preferences

_NO_DAY: Final = marked("Choose at least one day for quiet hours, or remove them.")
_REPEATS: Final = (0, 1800, 3600, 4 * 3600, 12 * 3600, 86_400)
_GROUPS: Final = (0.5, 10.0, 30.0, 60.0, 300.0)
_SEVERITIES: Final = {"warning": marked("Warnings and critical alerts"), "critical": marked("Critical alerts only")}


def draw(state: DialogState, now: Preferences) -> None:
    """Draw the inputs, with these preferences as their values."""
    left, right = st.columns(2)
    zones = _zones()
    with left:
        st.selectbox(
            _("Language of the messages"),
            LANGUAGES,
            index=LANGUAGES.index(now.language),
            format_func=name_of,
            key=state.key("language"),
        )
        _choice(
            state, "severity", _("Notify of"), {code: _(label) for code, label in _SEVERITIES.items()}, now.severity
        )
    with right:
        st.selectbox(_("Time zone"), zones, index=zones.index(now.zone), key=state.key("zone"))
        repeats = {each: text.period(each) if each else _("Never") for each in _with(_REPEATS, now.repeat_seconds)}
        _choice(state, "repeat", _("Remind until acknowledged every"), repeats, now.repeat_seconds)
    groups = {each: text.duration(each) if each >= 1 else _("At once") for each in _with(_GROUPS, now.group_seconds)}
    _choice(state, "group", _("Collect alerts into one message for"), groups, now.group_seconds)
    st.text_input(
        _("Separate messages by these labels"),
        value=", ".join(now.group_by),
        placeholder="site",
        max_chars=500,
        key=state.key("group_by"),
    )
    fault(state, "group_by")
    st.checkbox(_("Also notify when an alert is over"), value=now.recovery, key=state.key("recovery"))
    _quiet(state, now)


def value(state: DialogState, before: Preferences) -> Preferences:
    """Return what was entered. Raises AccountError."""
    quiet: list[Any] = []
    if state.value("quiet"):
        start, end = state.value("quiet_start"), state.value("quiet_end")
        days = [number for number, day in enumerate(texts.DAYS) if day in (state.value("quiet_days") or ())]
        if not days:
            raise AccountError(_(_NO_DAY), field="quiet_days")
        quiet = [{"start": f"{start:%H:%M}", "end": f"{end:%H:%M}", "days": days}]
        quiet += [each.model_dump() for each in before.quiet[1:]]
    given = {
        "language": state.value("language"),
        "zone": state.value("zone"),
        "severity": state.value("severity"),
        "repeat_seconds": state.value("repeat"),
        "group_seconds": state.value("group"),
        "group_by": str(state.value("group_by") or "").replace(",", " ").split(),
        "recovery": bool(state.value("recovery")),
        "quiet": quiet,
        "quiet_for_critical": bool(state.value("quiet_critical")),
    }
    try:
        return Preferences.model_validate({**before.model_dump(), **given})
    except ValidationError as error:
        problem = read_problems(error, {"group_by": _("Separate messages by these labels")})[0]
        field = problem.field.partition(".")[0]
        raise AccountError(problem.sentence, field=field if field == "group_by" else "") from None


def _quiet(state: DialogState, now: Preferences) -> None:
    first = now.quiet[0] if now.quiet else None
    if st.checkbox(_("Quiet hours"), value=first is not None, key=state.key("quiet")):
        left, right = st.columns(2)
        start, end = (first.start, first.end) if first else ("22:00", "07:00")
        left.time_input(_("From"), value=time.fromisoformat(start), key=state.key("quiet_start"))
        right.time_input(_("To"), value=time.fromisoformat(end), key=state.key("quiet_end"))
        st.pills(
            _("Days on which they begin"),
            list(texts.DAYS),
            default=[day for number, day in enumerate(texts.DAYS) if first is None or number in first.days],
            selection_mode="multi",
            format_func=lambda day: _(texts.DAYS[day]),
            key=state.key("quiet_days"),
        )
        fault(state, "quiet_days")
        st.checkbox(_("Hold back critical alerts, too"), value=now.quiet_for_critical, key=state.key("quiet_critical"))


def _choice(state: DialogState, name: str, label: str, options: dict[Any, str], now: Any) -> None:  # noqa: ANN401 - the value of an option
    codes = list(options)
    st.selectbox(label, codes, index=codes.index(now), format_func=options.__getitem__, key=state.key(name))


def _with(known: tuple[Any, ...], now: Any) -> list[Any]:  # noqa: ANN401 - numbers
    return sorted({*known, now})


def _zones() -> list[str]:
    return ["UTC", *sorted(available_timezones() - {"UTC"})]
