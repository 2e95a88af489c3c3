"""Settings of the whole organisation: offline detection, health score, data retention."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Final

import streamlit as st

from dashboard.changes import change_dialog, pending_changes
from dashboard.i18n import text
from dashboard.i18n.external_texts import translated_error
from dashboard.i18n.language import Marked, _, marked, ngettext
from dashboard.page import dialog_steps, last_good
from dashboard.page.dialog_steps import CONFIRMATION, DialogState
from dashboard.page.page import PageContext
from dashboard.settings.health_preview import effects
from dashboard.settings.section import SettingsSection
from dashboard.widgets import markup
from runtime import durations
from runtime.sentences.validation_errors import FieldError
from schemas.contract.administration import ConfigureOrg
from schemas.contract.org_config import OrgConfig
from schemas.database.queries import settings as settings_queries
from schemas.fleet import organisation
from schemas.fleet.history import Retention
from schemas.fleet.organisation import HEALTH, PRESENCE, REACHABILITY, RETENTION, SETTINGS, Setting

SECTION = SettingsSection(title=marked("Organisation"), code="organisation", order=0)

TITLES: Final[Mapping[str, Marked]] = {
    "stale_seconds": marked("Stale after no data for"),
    "stale_intervals": marked("and for (number of intervals)"),
    "offline_seconds": marked("Offline after no data for"),
    "offline_intervals": marked("and for (number of intervals)"),
    "time_to_live_seconds": marked("Long offline after no data for"),
    "cpu_weight": marked("CPU weight"),
    "cpu_knee_percent": marked("CPU penalty starts at"),
    "memory_weight": marked("Memory weight"),
    "memory_knee_percent": marked("Memory penalty starts at"),
    "disk_weight": marked("Disk weight"),
    "disk_knee_percent": marked("Disk penalty starts at"),
    "ok_score": marked("OK at or above"),
    "warn_score": marked("Critical below"),
    "component_warn": marked("Warning if any component score is at or below"),
    "component_critical": marked("Critical if any component score is at or below"),
    "unreachable_machines": marked("Target down if unreachable from (number of machines)"),
    "keep_samples_seconds": marked("Keep samples for"),
    "keep_minutes_seconds": marked("Keep minute roll-ups for"),
    "keep_hours_seconds": marked("Keep hourly roll-ups for"),
    "keep_events_seconds": marked("Keep events, requests and commands for"),
}
"""The titles of `schemas.fleet.organisation`, for the catalogues."""

_GROUPS: Final = (
    ("presence", marked("Offline detection"), PRESENCE),
    ("reachability", marked("Reachability probes"), REACHABILITY),
    ("health", marked("Health score"), HEALTH),
    ("retention", marked("Data retention"), RETENTION),
)
_ADVANCED: Final = frozenset({"cpu_weight", "memory_weight", "disk_weight", "component_warn", "component_critical"})
"""Settings that are folded away: few need another value."""

_DEFAULTS: Final = organisation.read_values(OrgConfig(), Retention())
_FRACTIONS: Final = ("_weight", "component_warn", "component_critical")


def show(context: PageContext) -> None:
    """Draw the section."""
    found = last_good.read(context, "settings", partial(settings_queries.read_settings, context.engine, context.org))
    if found is None:
        return
    current = organisation.read_values(*found)
    requested = {
        name: value
        for request in pending_changes.pending(context)
        if isinstance(request.change, ConfigureOrg)
        for name, value in request.change.settings.items()
    }
    left, right = st.columns(2)
    for place, (code, title, settings) in zip((left, left, right, left), _GROUPS, strict=True):
        with place.container(border=True, key=f"card_{code}"):
            st.html(markup.heading(_(title), 3))
            usual, advanced = _divided(settings)
            st.html(markup.settings(_line(each, current, requested) for each in usual))
            if advanced:
                with st.expander(_("Advanced")):
                    st.html(markup.settings(_line(each, current, requested) for each in advanced))
            open_form = partial(dialog_steps.request, _(title), partial(_form, settings, current))
            st.button(_("Change …"), key=f"settings.change.{code}", on_click=open_form)


def _divided(settings: Sequence[Setting]) -> tuple[list[Setting], list[Setting]]:
    """Return the usual settings and the advanced ones."""
    return [each for each in settings if each.name not in _ADVANCED], [
        each for each in settings if each.name in _ADVANCED
    ]


def _line(setting: Setting, current: Mapping[str, float], requested: Mapping[str, float]) -> tuple[str, str, bool, str]:
    """Return a setting as its title, its value, whether another value is requested, and a mark if it is the default."""
    value, soon = _shown(setting, current, requested)
    default = not soon and current[setting.name] == _DEFAULTS[setting.name]
    return _(TITLES[setting.name]), value, soon, _("default") if default else ""


def _shown(setting: Setting, current: Mapping[str, float], requested: Mapping[str, float]) -> tuple[str, bool]:
    """Return a setting's value for display, and True if another value is requested."""
    now = _formatted(setting, current[setting.name])
    if setting.name not in requested:
        return now, False
    return _("{now}, soon {then}", now=now, then=_formatted(setting, requested[setting.name])), True


def _formatted(setting: Setting, value: float) -> str:
    if setting.kind == "duration" and value >= 1:
        return text.duration(value)
    unit = {"duration": "seconds", "percent": "percent"}.get(setting.kind, "")
    return f"{text.number(value)} {text.unit_symbol(unit)}".strip() if unit else text.number(value)


def _form(settings: Sequence[Setting], before: Mapping[str, float], context: PageContext, state: DialogState) -> None:
    if state.step == CONFIRMATION:
        _confirmation(before, context, state)
        return
    usual, advanced = _divided(settings)
    _inputs(state, usual, before)
    if advanced:
        with st.expander(_("Advanced")):
            _inputs(state, advanced, before)
    dialog_steps.buttons(state, _("Continue"), partial(_continue, settings, before, context, state))


def _inputs(state: DialogState, settings: Sequence[Setting], before: Mapping[str, float]) -> None:
    for start in range(0, len(settings), 2):  # row by row, so that the order holds where there is only one column
        columns = st.columns(2, vertical_alignment="bottom")
        for column, setting in zip(columns, settings[start : start + 2], strict=False):
            with column:
                _input(state, setting, before[setting.name])


def _input(state: DialogState, setting: Setting, value: float) -> None:
    hint = _("Default: {value}", value=markup.plain(_formatted(setting, _DEFAULTS[setting.name])))
    if setting.kind == "duration":
        hint = _("A duration, such as 90s, 15m, 1h or 7d") + f". {hint}"
    elif setting.name.endswith(_FRACTIONS):
        hint = _("A number from 0 to 1") + f". {hint}"
    title = markup.plain(_(TITLES[setting.name])) + (" (%)" if setting.kind == "percent" else "")
    st.text_input(title, written(setting, value), max_chars=20, key=state.key(setting.name), help=hint)
    dialog_steps.fault(state, setting.name)


def _continue(
    settings: Sequence[Setting], before: Mapping[str, float], context: PageContext, state: DialogState
) -> None:
    given, faults = _entered(settings, state)
    found = {name: value for name, value in given.items() if value != before[name]}
    if found and not faults:
        names = {name: _(title) for name, title in TITLES.items()}
        try:
            organisation.apply_changes(*settings_queries.read_settings(context.engine, context.org), found, names)
        except FieldError as error:
            faults = {error.field: translated_error(error)}
    if faults:
        state.refuse(faults.pop("", ""), faults)
        return
    if not found:
        state.refuse(_("Nothing has changed."))
        return
    state.about["changes"] = found
    state.go(CONFIRMATION)


def _entered(settings: Sequence[Setting], state: DialogState) -> tuple[dict[str, float], dict[str, str]]:
    """Return the values that can be read, and what is wrong with the others."""
    given, faults = {}, {}
    for each in settings:
        try:
            given[each.name] = read(each, str(state.value(each.name)))
        except ValueError as error:
            faults[each.name] = translated_error(error)
    return given, faults


def _confirmation(before: Mapping[str, float], context: PageContext, state: DialogState) -> None:
    found: dict[str, float] = state.about["changes"]
    st.html(
        markup.facts(
            (_(TITLES[name]), f"{_formatted(SETTINGS[name], before[name])} → {_formatted(SETTINGS[name], value)}")
            for name, value in found.items()
        )
    )
    _preview(context, found)
    if any(SETTINGS[name].kept and value < before[name] for name, value in found.items()):
        st.html(markup.banner(_("Data older than a shortened retention is permanently deleted within the hour.")))
    change = partial(change_dialog.publish, context, state, partial(ConfigureOrg, settings=found))
    label = ngettext("Change {n} setting", "Change {n} settings", len(found))
    dialog_steps.buttons(state, label, change, back=True)


def _preview(context: PageContext, found: Mapping[str, float]) -> None:
    """Draw what other health settings would change now."""
    if not any(SETTINGS[name] in HEALTH for name in found):
        return
    config, retention = settings_queries.read_settings(context.engine, context.org)
    after, _retention = organisation.apply_changes(config, retention, found)
    read = partial(settings_queries.preview_health, context.engine, context.org, config.thresholds, after.thresholds)
    preview = last_good.fresh(read)
    if preview is not None:
        sentences, tone = effects(preview)
        st.html(markup.banner(" ".join(sentences), tone))


def written(setting: Setting, value: float) -> str:
    """Return a value as it is entered in the form."""
    return durations.written(value) if setting.kind == "duration" else f"{value:g}"


def read(setting: Setting, given: str) -> float:
    """Return the value of what was entered. Raises ValueError."""
    if setting.kind == "duration":
        return durations.seconds(given)
    try:
        return float(given.strip().removesuffix("%").replace(",", "."))
    except ValueError:
        raise ValueError(_("{what} is not a number", what=repr(given))) from None
