"""What is set for the whole organisation: presence, health, and for how long history is kept."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Final

import streamlit as st

from dashboard.changes import change_dialog, pending_changes
from dashboard.changes.change_dialog import Draft
from dashboard.i18n import text
from dashboard.i18n.language import Marked, _, marked, ngettext
from dashboard.i18n.shared_words import retold
from dashboard.page import refresh
from dashboard.page.page import PageContext
from dashboard.settings.section import SettingsSection
from dashboard.widgets import markup
from runtime import durations
from schemas.contract.administration import ConfigureOrg
from schemas.database.queries import settings as settings_queries
from schemas.fleet import organisation
from schemas.fleet.organisation import HEALTH, PRESENCE, RETENTION, SETTINGS, Setting

SECTION = SettingsSection(title=marked("Organisation"), code="organisation", order=0)

TITLES: Final[Mapping[str, Marked]] = {
    "stale_seconds": marked("Stale when silent for"),
    "stale_intervals": marked("and for so many of its intervals"),
    "offline_seconds": marked("Offline when silent for"),
    "offline_intervals": marked("and for so many of its intervals"),
    "time_to_live_seconds": marked("Expired when not heard for"),
    "cpu_weight": marked("Share of CPU in the score, 0 to 1"),
    "cpu_knee_percent": marked("CPU counts in full up to"),
    "memory_weight": marked("Share of Memory in the score, 0 to 1"),
    "memory_knee_percent": marked("Memory counts in full up to"),
    "disk_weight": marked("Share of Disk in the score, 0 to 1"),
    "disk_knee_percent": marked("Disk counts in full up to"),
    "ok_score": marked("Healthy from a score of"),
    "warn_score": marked("Not critical from a score of"),
    "component_warn": marked("At most fair when one of them is worth no more than, 0 to 1"),
    "component_critical": marked("Critical when one of them is worth no more than, 0 to 1"),
    "keep_samples_seconds": marked("Samples are kept for"),
    "keep_minutes_seconds": marked("Minutes are kept for"),
    "keep_hours_seconds": marked("Hours are kept for"),
    "keep_events_seconds": marked("Events, requests and commands are kept for"),
}
"""What `schemas.fleet.organisation` calls its settings, for the catalogues."""

_GROUPS: Final = (
    ("presence", marked("When a machine counts as gone"), PRESENCE),
    ("health", marked("How health is judged"), HEALTH),
    ("retention", marked("How long history is kept"), RETENTION),
)
_CHANGE: Final = marked("Change …")
_PENDING: Final = marked("{now}, soon {then}")
_SAME: Final = marked("Nothing is different from what is set.")
_DURATION: Final = marked("A length of time, such as 90s, 15m, 1h or 7d")
_NUMBER: Final = marked("{what} is not a number")
_DELETES: Final = marked("What is older than a shortened time is deleted within the hour, for good.")


def show(context: PageContext) -> None:
    """Draw the section."""
    current = _values(context)
    if current is None:
        return
    wanted = {
        name: value
        for asked in pending_changes.pending(context)
        if isinstance(asked.change, ConfigureOrg)
        for name, value in asked.change.settings.items()
    }
    left, right = st.columns(2)
    for place, (code, title, settings) in zip((left, right, left), _GROUPS, strict=True):
        with place.container(border=True, key=f"card_{code}"):
            st.html(markup.heading(_(title), 3))
            st.html(markup.settings((_(TITLES[each.name]), *_shown(each, current, wanted)) for each in settings))
            st.button(
                _(_CHANGE),
                key=f"settings.change.{code}",
                on_click=partial(change_dialog.ask, _(title), _form, settings=settings, before=current),
            )


def _values(context: PageContext) -> dict[str, float] | None:
    found = refresh.read(context, "settings", partial(settings_queries.settings, context.engine, context.org))
    return None if found is None else organisation.values(*found)


def _shown(setting: Setting, current: Mapping[str, float], wanted: Mapping[str, float]) -> tuple[str, bool]:
    """A setting's value as people read it, and whether another one is on its way."""
    now = _read(setting, current[setting.name])
    if setting.name not in wanted:
        return now, False
    return _(_PENDING, now=now, then=_read(setting, wanted[setting.name])), True


def _read(setting: Setting, value: float) -> str:
    """A value as people read it, in their language."""
    if setting.kind == "duration" and value >= 1:
        return text.duration(value)
    unit = {"duration": "seconds", "percent": "percent"}.get(setting.kind, "")
    return f"{text.number(value)} {text.unit_symbol(unit)}".strip() if unit else text.number(value)


def _form(context: PageContext, draft: Draft) -> None:
    if draft.confirming:
        _confirmation(context, draft)
        return
    settings: Sequence[Setting] = draft.about["settings"]
    for start in range(0, len(settings), 2):  # a row each, so that they stay in their order where there is one column
        for column, setting in zip(
            st.columns(2, vertical_alignment="bottom"), settings[start : start + 2], strict=False
        ):
            with column:
                _field(draft, setting)
    change_dialog.buttons(draft, _("Continue"), partial(_continue, context, draft))


def _field(draft: Draft, setting: Setting) -> None:
    title, key = markup.plain(_(TITLES[setting.name])), draft.key(setting.name)
    hint = _(_DURATION) if setting.kind == "duration" else None
    unit = " (%)" if setting.kind == "percent" else ""
    st.text_input(title + unit, written(setting, _begin(draft, setting)), max_chars=20, key=key, help=hint)


def _begin(draft: Draft, setting: Setting) -> float:
    value: float = draft.about.get("changes", {}).get(setting.name, draft.about["before"][setting.name])
    return value


def _continue(context: PageContext, draft: Draft) -> None:
    before: Mapping[str, float] = draft.about["before"]
    found: dict[str, float] = {}
    try:
        for setting in draft.about["settings"]:
            value = read(setting, str(draft.value(setting.name)))
            if value != before[setting.name]:
                found[setting.name] = value
        if found:
            organisation.changed(*settings_queries.settings(context.engine, context.org), found)
    except ValueError as error:
        draft.problem = retold(error)
        return
    draft.problem = "" if found else _(_SAME)
    draft.about["changes"], draft.confirming = found, bool(found)


def _confirmation(context: PageContext, draft: Draft) -> None:
    before, found = draft.about["before"], draft.about["changes"]
    st.html(
        markup.facts(
            (_(TITLES[name]), f"{_read(SETTINGS[name], before[name])} → {_read(SETTINGS[name], value)}")
            for name, value in found.items()
        )
    )
    if any(SETTINGS[name].kept and value < before[name] for name, value in found.items()):
        st.html(markup.banner(_(_DELETES)))
    label = ngettext("Change {n} setting", "Change {n} settings", len(found))
    change = ConfigureOrg(settings=found)
    change_dialog.buttons(draft, label, partial(change_dialog.request, context, draft, change), back=True)


def written(setting: Setting, value: float) -> str:
    """A value as somebody would write it into the form."""
    return durations.written(value) if setting.kind == "duration" else f"{value:g}"


def read(setting: Setting, given: str) -> float:
    """The value that somebody wrote. Raises ValueError with a sentence."""
    if setting.kind == "duration":
        return durations.seconds(given)
    try:
        return float(given.strip().removesuffix("%").replace(",", "."))
    except ValueError:
        raise ValueError(_(_NUMBER, what=repr(given))) from None
