"""The routes of a destination: the list with a button to remove each, and the form of another one."""

import json
from collections.abc import Callable, Sequence
from hashlib import blake2b
from typing import Final

import streamlit as st
from pydantic import ValidationError

from dashboard.auth.passwords import AccountError
from dashboard.i18n import text
from dashboard.i18n.language import _, marked
from dashboard.page.dialog_steps import DialogState, fault
from dashboard.widgets import markup
from runtime.sentences.validation_errors import read_problems
from schemas.people.routing import Route

_NONE: Final = marked("No routes: every alert of the organisation is sent.")
_SEVERITIES: Final = {
    "": marked("All severities"),
    "warning": marked("Warnings only"),
    "critical": marked("Critical alerts only"),
}
_DELAYS: Final = (0, 300, 900, 1800, 3600)


def draw_list(state: DialogState, routes: Sequence[Route], remove: Callable[[Route], None]) -> None:
    """Draw the routes. `remove` takes the route whose button was clicked.

    A button is known by its route, not by its place: the list may change between a click and its handling.
    """
    if not routes:
        st.html(markup.note(_(_NONE)))
    for name, route in {identity(each): each for each in routes}.items():
        left, right = st.columns([5, 1], vertical_alignment="center")
        left.html(markup.note(sentence(route)))
        right.button(_("Remove"), key=state.button_key(f"route-{name}"), on_click=remove, args=(route,))


def identity(route: Route) -> str:
    """Return a name for a route that only equal routes share."""
    values = route.model_dump(mode="json")
    written = json.dumps({**values, "severities": sorted(values["severities"])}, sort_keys=True)
    return blake2b(written.encode(), digest_size=8).hexdigest()


def draw_form(state: DialogState) -> None:
    """Draw the inputs of another route."""
    st.html(markup.heading(_("Add a route"), 3))
    st.text_input(_("Labels"), placeholder="site=nantes, role=db", max_chars=500, key=state.key("labels"))
    fault(state, "labels")
    left, right = st.columns(2)
    left.text_input(_("Rules"), placeholder="disk, away", max_chars=500, key=state.key("rules"))
    fault(state, "rules", left)
    right.text_input(_("Machine ids"), placeholder="attic, cellar", max_chars=500, key=state.key("machines"))
    fault(state, "machines", right)
    left.selectbox(
        _("Severity"), list(_SEVERITIES), format_func=lambda code: _(_SEVERITIES[code]), key=state.key("severity")
    )
    right.selectbox(
        _("Only if not acknowledged after"),
        _DELAYS,
        format_func=lambda each: text.period(each) if each else _("At once"),
        key=state.key("after"),
    )


def entered(state: DialogState) -> Route:
    """Return the route that was entered. Raises AccountError."""
    pairs = [each.partition("=") for each in _words(state, "labels")]
    if any(not equals for _key, equals, _value in pairs):
        raise AccountError(_("Labels are written as key=value, with commas between them."), field="labels")
    severity = state.value("severity")
    try:
        return Route.model_validate(
            {
                "labels": {key: value for key, _equals, value in pairs},
                "rules": _words(state, "rules"),
                "machines": _words(state, "machines"),
                "severities": [severity] if severity else [],
                "after_seconds": state.value("after") or 0,
            }
        )
    except ValidationError as error:
        problem = read_problems(error, _names())[0]
        raise AccountError(problem.sentence, field=problem.field.partition(".")[0]) from None


def _names() -> dict[str, str]:
    return {"labels": _("Labels"), "rules": _("Rules"), "machines": _("Machine ids")}


def sentence(route: Route) -> str:
    """Return the criteria of a route in a line."""
    parts = [f"{key}={value}" for key, value in route.labels.items()]
    parts += [text.listed(list(names)) for names in (route.rules, route.machines) if names]
    parts += [_(_SEVERITIES[each]) for each in sorted(route.severities)]
    if route.after_seconds:
        parts.append(_("if not acknowledged after {time}", time=text.period(route.after_seconds)))
    return " · ".join(parts) or _("Every alert")


def _words(state: DialogState, name: str) -> list[str]:
    return str(state.value(name) or "").replace(",", " ").split()
