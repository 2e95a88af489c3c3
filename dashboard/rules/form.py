"""The dialog that adds, changes or removes an alert rule: the form, then the preview, then the request.

Invariant: nothing is requested before the preview was shown.
"""

from collections.abc import Collection, Mapping
from functools import partial
from typing import Any, Final

import streamlit as st
from pydantic import ValidationError

from dashboard.changes import change_dialog
from dashboard.facts import texts as fact_texts
from dashboard.i18n.language import _, marked
from dashboard.page import dialog_steps, last_good
from dashboard.page.dialog_steps import DialogState, fault
from dashboard.page.page import PageContext
from dashboard.rules import preview, texts
from dashboard.rules.entered_rule import find_faults, has_clear, input_name, read_form
from dashboard.widgets import markup
from schemas.alerts.device_readings import about_devices
from schemas.contract.administration import DeleteRule, SetRule
from schemas.contract.alert_rules import DURATION_MAX_SECONDS, HEALTH_METRICS, MEASURED, AlertRule
from schemas.contract.machine_selector import SELECTOR_LABELS_MAX, SELECTOR_VALUES_MAX
from schemas.contract.messages import VITALS
from schemas.database.queries import machines
from schemas.database.queries.choices import list_choices
from schemas.database.queries.machines import Filters
from schemas.database.rules.rule_queries import list_rules, list_series_metrics

_PREVIEW, _DELETE = "preview", "delete"
_MOUNT_HELP: Final = marked(
    "Mount point or pattern, such as /data*. Of those that match, the first to be full is compared and is named in the "
    "alert."
)
_COUNTED: Final = {
    "disk-full": (marked("Days"), 7.0),
    "clock": (marked("Seconds"), 60.0),
    "rejected": (marked("Messages within an hour"), 10.0),
}
_CHANGE_LASTS_SECONDS: Final = 3600.0
"""How long an alert about a change lasts by default: it does not end by itself."""

_DELETE_NOTE: Final = marked("Active alerts of this rule end. Past alerts stay.")
_CHANGE_NOTE: Final = marked("Active alerts of this rule end, and begin again if the condition lasts.")
_NAME_HELP: Final = marked(
    "Lower-case letters, digits and hyphens; part of the topics of its alerts. "
    "Without a name it is derived from the title."
)
_DEVICE_HELP: Final = marked(
    "Name or pattern of the devices, such as /data* or eth0. "
    "Of the devices that match, the worst one is compared and is named in the alert."
)
_ITEM_HELP: Final = marked(
    "Name or pattern of the items, such as shop-* or nginx.service. Leave it empty for all items."
)
_CLEAR_HELP: Final = marked("While an alert is active this value counts, so that it does not end and begin again.")


def request_new() -> None:
    """Have the next run open the dialog for a new rule."""
    dialog_steps.request(_("New rule"), _draw, rule=None)


def request_rule(rule: AlertRule) -> None:
    """Have the next run open the dialog of a rule."""
    dialog_steps.request(rule.title, _draw, rule=rule)


def _draw(context: PageContext, state: DialogState) -> None:
    rule: AlertRule | None = state.about["rule"]
    if rule is not None and not context.may_administer:
        _facts(rule)
        dialog_steps.buttons(state)
    elif state.step == _PREVIEW:
        _confirm(context, state)
    elif state.step == _DELETE and rule is not None:
        st.html(markup.banner(_(_DELETE_NOTE)))
        delete = partial(change_dialog.publish, context, state, partial(DeleteRule, name=rule.name))
        dialog_steps.buttons(state, _("Delete rule"), delete, back=True, dangerous=True)
    else:
        _form(context, state, rule)


def _facts(rule: AlertRule) -> None:
    facts = [
        (_("Condition"), texts.condition(rule)),
        (_("Duration"), texts.duration(rule)),
        (_("Severity"), texts.severity(rule).label),
        (_("Machines"), texts.machines(rule)),
        (_("Name"), rule.name),
    ]
    st.html(markup.facts(facts))


def _form(context: PageContext, state: DialogState, rule: AlertRule | None) -> None:
    before: Mapping[str, Any] = {} if rule is None else dict(rule)
    left, right = st.columns(2)
    left.text_input(_("Title"), before.get("title", ""), max_chars=64, key=state.key("title"))
    fault(state, "title", left)
    if rule is None:
        right.text_input(
            _("Name"), max_chars=63, key=state.key("name"), placeholder=_("from the title"), help=_(_NAME_HELP)
        )
        fault(state, "name", right)
    else:
        right.toggle(_("Enabled"), rule.enabled, key=state.key("enabled"))
    kinds = list(texts.KINDS)
    kind = st.selectbox(
        _("Condition"),
        kinds,
        index=kinds.index(before.get("kind", "above")),
        format_func=lambda code: _(texts.KINDS[code]),
        key=state.key("kind"),
        on_change=partial(_leave_kind, state),
    )
    series = last_good.read_org(context, "rules.series", list_series_metrics) or ()
    _condition(state, kind, before, series)
    _durations(state, kind, before)
    st.segmented_control(
        _("Severity"),
        list(texts.SEVERITIES),
        default=before.get("severity", "warning"),
        required=True,
        format_func=lambda code: _(texts.SEVERITIES[code]),
        key=state.key("severity"),
    )
    _selector(context, state, rule)
    if rule is not None:
        st.button(_("Delete rule …"), key=state.button_key("delete"), on_click=partial(state.go, _DELETE))
    dialog_steps.buttons(state, _("Preview"), partial(_check, context, state, rule))


def _leave_kind(state: DialogState) -> None:
    """Keep what was entered in fields that the next kind may not have, in a handler."""
    names = ("threshold", "for", "clear", "clear_for")
    left = {name: state.value(name) for name in names if state.value(name) is not None}
    state.about["left"] = {**state.about.get("left", {}), **left}


def _condition(state: DialogState, kind: str, before: Mapping[str, Any], series: Collection[str]) -> None:
    same = before.get("kind") == kind
    metric = before.get("metric", "") if same else ""
    left, right = st.columns(2)
    if kind in texts.ABOUT_FACTS:
        _facts_condition(state, kind, before if same else {})
    elif kind in MEASURED or kind == "no-data":
        offered = [*([""] if kind == "no-data" else []), *texts.METRICS, *(series if kind in MEASURED else ())]
        offered = list(dict.fromkeys(offered))
        offered += [metric] if metric and metric not in offered else []
        left.selectbox(
            _("Metric"),
            offered,
            index=offered.index(metric) if metric in offered else 0,
            format_func=texts.metric,
            accept_new_options=True,
            key=state.key("metric"),
        )
        fault(state, "metric", left)
    if kind in MEASURED:
        given = before.get("threshold") if same else state.about.get("left", {}).get("threshold")
        label = _("Value per second") if kind.startswith("rate-") else _("Value")
        placeholder = (
            _("critical for the health") if state.value("metric") in HEALTH_METRICS and kind == "above" else ""
        )
        right.number_input(label, value=given, key=state.key("threshold"), placeholder=placeholder)
        fault(state, "threshold", right)
        _device(state, before.get("device", "") if same else "", series)
    elif kind in _COUNTED:
        label, usual = _(_COUNTED[kind][0]), _COUNTED[kind][1]
        given = before["threshold"] if same else usual
        left.number_input(label, value=given, min_value=0.0, key=state.key(input_name("threshold", kind)))
        fault(state, input_name("threshold", kind), left)
    if kind == "disk-full":
        _file_systems(state, before if same else {}, right)


def _file_systems(state: DialogState, before: Mapping[str, Any], place: Any) -> None:  # noqa: ANN401 - a column
    """Ask for the mount points of a rule about full disks."""
    place.text_input(
        _("File systems"),
        before.get("device", ""),
        max_chars=128,
        key=state.key("device"),
        placeholder=_("the disk of the machine"),
        help=_(_MOUNT_HELP),
    )
    fault(state, "device", place)


def _facts_condition(state: DialogState, kind: str, before: Mapping[str, Any]) -> None:
    """Ask for the kind of facts and the names of its items; for changes also for a property of the machine."""
    left, right = st.columns(2)
    offered = [*(texts.CHANGES if kind == "changed" else ()), *fact_texts.KINDS]
    metric = before.get("metric", "")
    offered += [metric] if metric and metric not in offered else []
    left.selectbox(
        _("What"),
        offered,
        index=offered.index(metric) if metric in offered else 0,
        format_func=texts.metric,
        accept_new_options=True,
        key=state.key(input_name("metric", kind)),
    )
    fault(state, input_name("metric", kind), left)
    if state.value(input_name("metric", kind)) not in texts.CHANGES:
        right.text_input(
            _("Names"),
            before.get("device", ""),
            max_chars=128,
            key=state.key("device"),
            placeholder=_("any"),
            help=_(_ITEM_HELP),
        )
        fault(state, "device", right)
    if kind == "unhealthy":
        st.toggle(_("Include warnings"), before.get("threshold") == 1, key=state.key("warnings"))


def _device(state: DialogState, pattern: str, series: Collection[str]) -> None:
    """Ask for the devices of a metric that is measured per device."""
    if not pattern and state.value("metric") not in series:
        return
    of_all = "" if state.value("metric") in VITALS else _("any device")
    st.text_input(
        _("Devices"), pattern, max_chars=128, key=state.key("device"), placeholder=of_all, help=_(_DEVICE_HELP)
    )
    fault(state, "device")


def _durations(state: DialogState, kind: str, before: Mapping[str, Any]) -> None:
    left, middle, right = st.columns(3, vertical_alignment="bottom")
    limits: dict[str, Any] = {"min_value": 0.0, "max_value": float(DURATION_MAX_SECONDS), "step": 10.0, "format": "%g"}
    kept = state.about.get("left", {})
    if kind == "changed":
        usual = before["clear_seconds"] if before.get("kind") == kind else _CHANGE_LASTS_SECONDS
        middle.number_input(_("Lasts (s)"), value=usual, key=state.key(input_name("clear_for", kind)), **limits)
    else:
        usual = kept.get("for", before.get("for_seconds", 300.0))
        left.number_input(_("Begins after (s)"), value=usual, key=state.key("for"), **limits)
        same = before if before.get("kind") != "changed" else {}
        usual = kept.get("clear_for", same.get("clear_seconds", 60.0))
        middle.number_input(_("Ends after (s)"), value=usual, key=state.key("clear_for"), **limits)
    fault(state, "for", left)
    fault(state, input_name("clear_for", kind), middle)
    if has_clear(kind, before):
        given = kept.get("clear", before.get("clear_threshold"))
        right.number_input(_("Ends at value"), value=given, key=state.key("clear"), help=_(_CLEAR_HELP))
        fault(state, "clear", right)


def _selector(context: PageContext, state: DialogState, rule: AlertRule | None) -> None:
    chosen = None if rule is None else rule.selector
    choices = last_good.read_org(context, "rules.choices", list_choices)
    names = last_good.read_org(context, "rules.machines", machines.matching_names, Filters()) or ()
    labels = [] if chosen is None else [f"{key}={value}" for key, value in chosen.labels.items()]
    lists = (
        ("labels", _("Labels"), choices.labels if choices else (), labels, SELECTOR_LABELS_MAX),
        ("systems", _("Operating systems"), choices.systems if choices else (), chosen and chosen.systems, None),
        ("versions", _("Agent versions"), choices.versions if choices else (), chosen and chosen.versions, None),
        ("machines", _("Machines"), names, chosen and chosen.machines, None),
    )
    with st.expander(_("Only some machines"), expanded=bool(chosen and chosen.described())):
        for name, label, offered, default, most in lists:
            options = list(dict.fromkeys((*(default or ()), *offered)))
            st.multiselect(
                label,
                options,
                default=list(default or ()),
                max_selections=most or SELECTOR_VALUES_MAX,
                placeholder=_("All"),
                key=state.key(name),
            )
            fault(state, name)


def _check(context: PageContext, state: DialogState, before: AlertRule | None) -> None:
    """Make the rule of the form and go to its preview, or show the problem."""
    taken = {each.rule.name for each in last_good.read_org(context, "rules", list_rules) or ()}
    try:
        rule = read_form(state.value, before, taken)
    except ValidationError as error:
        state.refuse(faults=find_faults(error, state.value))
        return
    rule = about_devices(rule, last_good.read_org(context, "rules.series", list_series_metrics) or ())
    if before is None and rule.name in taken:
        state.refuse(faults={"name": _("A rule named {name} exists: choose another name.", name=rule.name)})
        return
    state.about.update(made=rule, preview=None)
    state.go(_PREVIEW)


def _confirm(context: PageContext, state: DialogState) -> None:
    rule: AlertRule = state.about["made"]
    before: AlertRule | None = state.about["rule"]
    _facts(rule)
    preview.draw(context, state, rule)
    if before is not None and before != rule:
        st.html(markup.note(_(_CHANGE_NOTE)))
    save = partial(
        change_dialog.publish, context, state, partial(SetRule, rule=rule), title=_("Rule {name}", name=rule.name)
    )
    dialog_steps.buttons(state, _("Save rule"), save, back=True, disabled=rule == before)
