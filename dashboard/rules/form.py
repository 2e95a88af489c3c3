"""The dialog that adds, changes or removes an alert rule: the form, then the preview, then the request.

Invariant: nothing is requested before the preview was shown.
"""

import re
from collections.abc import Callable, Collection, Mapping
from functools import partial
from itertools import chain, count
from typing import Any, Final

import streamlit as st

from dashboard.changes import change_dialog
from dashboard.facts import texts as fact_texts
from dashboard.i18n.language import _, marked
from dashboard.page import dialog_steps, last_good
from dashboard.page.dialog_steps import DialogState
from dashboard.page.page import PageContext
from dashboard.rules import preview, texts
from dashboard.widgets import markup
from schemas.alerts.device_readings import about_devices
from schemas.contract.administration import DeleteRule, SetRule
from schemas.contract.alert_rules import DURATION_MAX_SECONDS, HEALTH_METRICS, AlertRule
from schemas.contract.machine_selector import SELECTOR_LABELS_MAX, SELECTOR_VALUES_MAX
from schemas.contract.messages import VITALS
from schemas.contract.topics import slug
from schemas.database.queries import machines
from schemas.database.queries.choices import list_choices
from schemas.database.queries.machines import Filters
from schemas.database.rules.rule_queries import list_rules, list_series_metrics

_DERIVED_MAX: Final = 56
"""Characters of a name derived from a title, which leaves room for a number."""

_PREVIEW, _DELETE = "preview", "delete"
_MOUNT_HELP: Final = marked(
    "Mount point or pattern, such as /data*. Of those that match, the first to be full is compared and is named in the "
    "alert."
)
_MEASURED: Final = ("above", "below", "rate-above", "rate-below")
_COUNTED: Final = {
    "disk-full": (marked("Days"), 7.0),
    "clock": (marked("Seconds"), 60.0),
    "rejected": (marked("Messages within an hour"), 10.0),
}
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
    if rule is None:
        right.text_input(
            _("Name"), max_chars=63, key=state.key("name"), placeholder=_("from the title"), help=_(_NAME_HELP)
        )
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
    left = {name: state.value(name) for name in ("threshold", "for", "clear") if state.value(name) is not None}
    state.about["left"] = {**state.about.get("left", {}), **left}


def _condition(state: DialogState, kind: str, before: Mapping[str, Any], series: Collection[str]) -> None:
    same = before.get("kind") == kind
    metric = before.get("metric", "") if same else ""
    left, right = st.columns(2)
    if kind in texts.ABOUT_FACTS:
        _facts_condition(state, kind, before if same else {})
    elif kind in _MEASURED or kind == "no-data":
        offered = [*([""] if kind == "no-data" else []), *texts.METRICS, *(series if kind in _MEASURED else ())]
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
    if kind in _MEASURED:
        given = before.get("threshold") if same else state.about.get("left", {}).get("threshold")
        label = _("Value per second") if kind.startswith("rate-") else _("Value")
        placeholder = (
            _("critical for the health") if state.value("metric") in HEALTH_METRICS and kind == "above" else ""
        )
        right.number_input(label, value=given, key=state.key("threshold"), placeholder=placeholder)
        _device(state, before.get("device", "") if same else "", series)
    elif kind in _COUNTED:
        label, usual = _(_COUNTED[kind][0]), _COUNTED[kind][1]
        given = before["threshold"] if same else usual
        left.number_input(label, value=given, min_value=0.0, key=state.key(f"threshold.{kind}"))
    if kind == "disk-full":
        right.text_input(
            _("File systems"),
            before.get("device", "") if same else "",
            max_chars=128,
            key=state.key("device"),
            placeholder=_("the disk of the machine"),
            help=_(_MOUNT_HELP),
        )


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
        key=state.key(f"metric.{kind}"),
    )
    if state.value(f"metric.{kind}") not in texts.CHANGES:
        right.text_input(
            _("Names"),
            before.get("device", ""),
            max_chars=128,
            key=state.key("device"),
            placeholder=_("any"),
            help=_(_ITEM_HELP),
        )
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


def _durations(state: DialogState, kind: str, before: Mapping[str, Any]) -> None:
    left, middle, right = st.columns(3, vertical_alignment="bottom")
    limits: dict[str, Any] = {"min_value": 0.0, "max_value": float(DURATION_MAX_SECONDS), "step": 10.0, "format": "%g"}
    if kind != "changed":
        usual = state.about.get("left", {}).get("for", before.get("for_seconds", 300.0))
        left.number_input(_("Begins after (s)"), value=usual, key=state.key("for"), **limits)
    usual = 3600.0 if kind == "changed" else 60.0
    label = _("Lasts (s)") if kind == "changed" else _("Ends after (s)")
    middle.number_input(label, value=before.get("clear_seconds", usual), key=state.key("clear_for"), **limits)
    if _has_clear(kind, before):
        given = state.about.get("left", {}).get("clear", before.get("clear_threshold"))
        right.number_input(_("Ends at value"), value=given, key=state.key("clear"), help=_(_CLEAR_HELP))


def _has_clear(kind: str, before: Mapping[str, Any]) -> bool:
    """Return whether the form asks for a clear threshold: for readings, and where the rule has one already."""
    return kind in _MEASURED or (before.get("kind") == kind and before.get("clear_threshold") is not None)


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


def _check(context: PageContext, state: DialogState, before: AlertRule | None) -> None:
    """Make the rule of the form and go to its preview, or show the problem."""
    taken = {each.rule.name for each in last_good.read_org(context, "rules", list_rules) or ()}
    try:
        rule = read_form(state.value, before, taken)
    except ValueError as error:
        state.problem = _problem(error)
        return
    rule = about_devices(rule, last_good.read_org(context, "rules.series", list_series_metrics) or ())
    if before is None and rule.name in taken:
        state.problem = _("A rule named {name} exists: choose another name.", name=rule.name)
        return
    state.about.update(made=rule, preview=None)
    state.go(_PREVIEW)


def read_form(value: Callable[[str], Any], before: AlertRule | None, taken: Collection[str] = ()) -> AlertRule:
    """Return the rule that was entered. Raises ValueError if it is not valid.

    A new rule without a name gets one from its title that is not among the names `taken`.
    """
    pairs = [str(label).partition("=") for label in value("labels") or ()]
    lists = {name: tuple(value(name) or ()) for name in ("systems", "versions", "machines")}
    kind = str(value("kind") or "")
    title, name = (str(value(field) or "").strip() for field in ("title", "name"))
    fields: dict[str, Any] = {
        "name": before.name if before is not None else name or _derived_name(title, taken),
        "title": title,
        "kind": kind,
        **_compared(value, kind),
        "for_seconds": 0.0 if kind == "changed" else float(value("for") or 0),
        "clear_threshold": value("clear") if _has_clear(kind, {} if before is None else dict(before)) else None,
        "clear_seconds": float(value("clear_for") or 0),
        "severity": value("severity") or "warning",
        "selector": {"labels": {key: label for key, _equals, label in pairs}, **lists},
        "enabled": True if before is None else bool(value("enabled")),
    }
    return AlertRule.model_validate(fields)


def _compared(value: Callable[[str], Any], kind: str) -> dict[str, Any]:
    """Return the fields of what a rule compares."""
    metric = str(_own(value, "metric", kind) or "") if kind in (*_MEASURED, *texts.ABOUT_FACTS, "no-data") else ""
    pattern = str(value("device") or "").strip() if kind in (*_MEASURED, *texts.ABOUT_FACTS, "disk-full") else ""
    if kind == "changed":
        pattern = "" if metric in texts.CHANGES else pattern or "*"
    threshold = _own(value, "threshold", kind) if kind in (*_MEASURED, *_COUNTED) else None
    if kind == "unhealthy":
        threshold = 1.0 if value("warnings") else None
    return {"metric": metric, "device": pattern, "threshold": threshold}


def _own(value: Callable[[str], Any], name: str, kind: str) -> Any:  # noqa: ANN401 - the value of any widget
    """Return the value of a widget that only this kind has, or else of the one that it shares with others."""
    own = value(f"{name}.{kind}")
    return value(name) if own is None else own


def _derived_name(title: str, taken: Collection[str]) -> str:
    """Return a free name; a title without a letter or digit that a name may have gives `rule`."""
    usable = re.search("[a-z0-9]", title.lower())
    name = slug(title, _DERIVED_MAX) if usable else "rule"
    names = chain([name], (f"{name}-{number}" for number in count(2)))
    return next(each for each in names if each not in taken)


def _problem(error: ValueError) -> str:
    problems: Any = error.errors(include_url=False) if hasattr(error, "errors") else []
    where = str(problems[0]["loc"][0]) if problems and problems[0]["loc"] else ""
    if where == "name":
        return _("A name is 1 to 63 lower-case letters, digits and inner hyphens.")
    if where == "title":
        return _("Enter a title.")
    if where == "metric":
        return _("A metric is named in lower-case letters, digits and underscores.")
    return _("This rule cannot be evaluated: check the metric, the value, and the value at which it ends.")


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
