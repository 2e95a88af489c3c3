"""The dialog that adds a silence, and the one that shows and ends one.

Invariant: local times are those of the visitor's time zone, or of the one that the visitor chooses for a schedule.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, time, timedelta, tzinfo
from functools import cache, partial
from typing import Any, Final
from zoneinfo import ZoneInfo, available_timezones

import streamlit as st
from pydantic import ValidationError

from dashboard.changes import change_dialog
from dashboard.i18n import text
from dashboard.i18n.external_texts import translated_error
from dashboard.i18n.language import _, marked
from dashboard.page import dialog_steps, last_good
from dashboard.page.dialog_steps import DialogState, fault
from dashboard.page.page import PageContext
from dashboard.silences import texts
from dashboard.widgets import markup
from runtime.sentences.validation_errors import read_problems
from schemas.contract.alerts import COMMENT_MAX, AddSilence, EndSilence
from schemas.contract.machine_selector import SELECTOR_LABELS_MAX, SELECTOR_VALUES_MAX
from schemas.database.queries import machines
from schemas.database.queries.alerts import list_rule_titles
from schemas.database.queries.choices import list_choices
from schemas.database.queries.machines import Filters
from schemas.fleet.silences import Silence, SilenceState

HOUR: Final = 3600
_LIFETIMES: Final = (HOUR // 2, HOUR, 2 * HOUR, 4 * HOUR, 8 * HOUR, 24 * HOUR, 72 * HOUR, 168 * HOUR, 720 * HOUR)
_ONCE, _LATER, _WEEKLY = "once", "later", "weekly"
_KINDS: Final = {_ONCE: marked("From now"), _LATER: marked("Later"), _WEEKLY: marked("Every week")}
_INPUTS: Final = {
    "selector.machines": "machines",
    "selector.labels": "labels",
    "starts_at": "start",
    "lifetime_seconds": "lifetime",
    "weekly.days": "days",
    "weekly.start": "from",
    "weekly.end": "until",
    "weekly.zone": "zone",
    "rule": "rule",
    "reason": "reason",
}
"""Inputs of the form by the field that they give."""

_NOTE: Final = marked(
    "Nobody is notified of alerts during a silence. Everything is recorded and shown as usual, and what lasts when "
    "the silence ends is notified then."
)
_EVERYTHING: Final = marked("Without machines, labels and rule, all alerts of the organisation are silenced.")
_END: Final = marked("If you end it, alerts that are still active are notified again.")


def request(machine_names: Sequence[str] = (), rule: str = "") -> None:
    """Have the next run open the dialog, with these machines and this rule filled in."""
    dialog_steps.request(_("New silence"), _form, machines=tuple(machine_names)[:SELECTOR_VALUES_MAX], rule=rule)


def request_details(silence: Silence) -> None:
    """Have the next run open the dialog of one silence."""
    dialog_steps.request(_("Silence {id}", id=silence.id), partial(_details, silence), dismissible=False)


def rule_titles(context: PageContext) -> Mapping[str, str]:
    """Return the titles of the organisation's rules, and of those that its alerts name, by rule."""
    return last_good.read_org(context, "silences.rules", list_rule_titles) or {}


def _form(context: PageContext, state: DialogState) -> None:
    st.html(markup.note(_(_NOTE)))
    _what(context, state)
    kind = st.segmented_control(
        _("When"),
        list(_KINDS),
        default=_ONCE,
        required=True,
        format_func=lambda code: _(_KINDS[code]),
        key=state.key("kind"),
    )
    if kind == _WEEKLY:
        _schedule_inputs(context, state)
    else:
        if kind == _LATER:
            start = datetime.fromtimestamp(context.now() / 1000, context.zone).replace(tzinfo=None)
            begin = start.replace(minute=0, second=0, microsecond=0) + timedelta(hours=1)
            st.datetime_input(_("Start"), begin, key=state.key("start"))
            fault(state, "start")
        st.selectbox(_("Duration"), _LIFETIMES, index=2, format_func=text.period, key=state.key("lifetime"))
        fault(state, "lifetime")
    reason = st.text_input(_("Reason"), max_chars=COMMENT_MAX, key=state.key("reason"), live="300ms")
    fault(state, "reason")
    complete = bool(reason.strip()) and (kind != _WEEKLY or bool(state.value("days")))
    add = partial(_add, context, state)
    dialog_steps.buttons(state, _("Silence"), add, disabled=not complete)


def _what(context: PageContext, state: DialogState) -> None:
    known: Sequence[str] = last_good.read_org(context, "silences.machines", machines.matching_names, Filters()) or []
    named = state.about["machines"]
    offered = list(dict.fromkeys((*named, *known)))
    st.multiselect(
        _("Machines"),
        offered,
        default=named,
        max_selections=SELECTOR_VALUES_MAX,
        placeholder=_("All machines"),
        key=state.key("machines"),
    )
    fault(state, "machines")
    choices = last_good.read_org(context, "silences.choices", list_choices)
    st.multiselect(
        _("Labels"),
        [] if choices is None else list(choices.labels),
        max_selections=SELECTOR_LABELS_MAX,
        placeholder=_("Any label"),
        key=state.key("labels"),
    )
    fault(state, "labels")
    titles = rule_titles(context)
    rules = list(dict.fromkeys(("", *titles, state.about["rule"])))
    st.selectbox(
        _("Rule"),
        rules,
        index=rules.index(state.about["rule"]),
        format_func=lambda name: texts.rule(name, titles),
        key=state.key("rule"),
    )
    fault(state, "rule")
    if not (state.value("machines") or state.value("labels") or state.value("rule")):
        st.html(markup.note(_(_EVERYTHING)))


def _schedule_inputs(context: PageContext, state: DialogState) -> None:
    st.pills(
        _("Days"),
        list(texts.DAYS),
        selection_mode="multi",
        format_func=lambda day: _(texts.DAYS[day]),
        key=state.key("days"),
    )
    fault(state, "days")
    start, end = st.columns(2)
    start.time_input(_("Start"), time(22), step=timedelta(minutes=15), key=state.key("from"))
    fault(state, "from", start)
    end.time_input(_("End"), time(6), step=timedelta(minutes=15), key=state.key("until"))
    fault(state, "until", end)
    zones = _zones()
    own = zone_name(context.zone)
    st.selectbox(_("Time zone"), zones, index=zones.index(own) if own in zones else 0, key=state.key("zone"))
    fault(state, "zone")


def _add(context: PageContext, state: DialogState) -> None:
    title = _("New silence: {reason}", reason=str(state.value("reason") or "").strip())
    change_dialog.publish(context, state, partial(_change, context.zone, state), title=title, faults=find_faults)


def find_faults(error: ValidationError) -> dict[str, str]:
    """Return what is wrong with a silence, by the names of the inputs of the form."""
    labels = {
        "selector.machines": _("Machines"),
        "selector.labels": _("Labels"),
        "starts_at": _("Start"),
        "lifetime_seconds": _("Duration"),
        "weekly.days": _("Days"),
        "weekly.start": _("Start"),
        "weekly.end": _("End"),
        "weekly.zone": _("Time zone"),
        "rule": _("Rule"),
        "reason": _("Reason"),
    }
    faults: dict[str, str] = {}
    for problem in read_problems(error, labels):
        field = next((each for each in labels if f"{problem.field}.".startswith(f"{each}.")), "reason")
        faults.setdefault(_INPUTS[field], translated_error(problem.sentence))
    return faults


def _change(zone: tzinfo, state: DialogState) -> AddSilence:
    """Return the change that was entered. Raises ValidationError if it is not valid."""
    pairs = [str(label).partition("=") for label in state.value("labels") or ()]
    selector = {"labels": {key: value for key, _equals, value in pairs}, "machines": state.value("machines") or ()}
    fields: dict[str, Any] = {"lifetime_seconds": int(state.value("lifetime") or HOUR)}
    if state.value("kind") == _LATER:
        start: datetime = state.value("start")
        fields["starts_at"] = round(start.replace(tzinfo=zone).astimezone(UTC).timestamp() * 1000)
    if state.value("kind") == _WEEKLY:
        times = {"start": f"{state.value('from'):%H:%M}", "end": f"{state.value('until'):%H:%M}"}
        days = [day for day in texts.DAYS if day in (state.value("days") or ())]
        fields = {"weekly": {"days": days, **times, "zone": state.value("zone")}}
    fields |= {"rule": state.value("rule") or None, "reason": str(state.value("reason") or "").strip()}
    return AddSilence.model_validate({"selector": selector, **fields})


def _details(silence: Silence, context: PageContext, state: DialogState) -> None:
    now = context.now()
    window = silence.window(now)
    more: list[tuple[str, str]] = []
    if silence.weekly is not None and window is not None:
        more.append((_("Next window"), " – ".join(context.moment(at) for at in window)))
    if silence.ended_by is not None:
        more.append((_("Ended by"), silence.ended_by))
    facts = (
        (_("State"), texts.state(silence.state(now)).label),
        (_("Machines"), texts.machines(silence.selector)),
        (_("Rule"), texts.rule(silence.rule, rule_titles(context))),
        (_("When"), texts.when(silence, now, context.zone)),
        (_("Reason"), silence.reason),
        (_("Created"), context.moment(silence.created_at)),
        (_("Created by"), silence.created_by or text.UNKNOWN),
        *more,
    )
    st.html(markup.facts(facts))
    if silence.state(now) is SilenceState.PAST or not context.may_act:
        dialog_steps.buttons(state)
        return
    if silence.state(now) is SilenceState.ACTIVE:
        st.html(markup.note(_(_END)))
    title = _("End silence {id}", id=silence.id)
    end = partial(change_dialog.publish, context, state, partial(EndSilence, id=silence.id), title=title)
    dialog_steps.buttons(state, _("End silence"), end)


def zone_name(zone: tzinfo) -> str:
    """Return the name of a time zone, UTC for one without a name."""
    return zone.key if isinstance(zone, ZoneInfo) else "UTC"


@cache
def _zones() -> list[str]:
    return ["UTC", *sorted(name for name in available_timezones() if "/" in name and not name.startswith("Etc/"))]
