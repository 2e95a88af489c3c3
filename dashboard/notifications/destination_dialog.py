"""The dialogs of a destination: add it, test it, change its URL, routes, preferences and reports, remove it."""

from collections.abc import Callable
from functools import partial
from typing import Final

import streamlit as st

from dashboard.auth.passwords import AccountError
from dashboard.changes import change_dialog
from dashboard.destinations.notification_centre import Caller, NotificationCentre
from dashboard.i18n.language import _, marked
from dashboard.notifications import preference_form, route_form
from dashboard.notifications.service_forms import FORMS, FormField, make_url
from dashboard.page import dialog_steps, refresh
from dashboard.page.dialog_steps import DialogState
from dashboard.page.page import PageContext
from dashboard.settings.credential_section import step_buttons
from dashboard.widgets import markup
from dashboard.widgets.secret_input import secret_input
from schemas.people.deliveries import QUEUED, SENT
from schemas.people.destinations import Destination
from schemas.people.routing import Route
from schemas.people.services import MAIL_SCHEMES, SERVICES, WEBHOOK_SCHEMES, DestinationError

_POLL_SECONDS: Final = 0.5
_ONE_COLUMN_MAX: Final = 4
_FIELD_MAX: Final = 1000
"""Characters of a field."""
_PERIODS: Final = {"week": marked("On Mondays"), "month": marked("On the first of the month")}
_REMOVE: Final = marked("{name} receives nothing any more, and messages that wait are cancelled.")
_PUBLIC: Final = marked(
    "Messages are sent to public addresses only. Someone with access to the server can permit private ones, with "
    "dashfleet notify add --allow-private."
)
_WAITING: Final = marked("The message waits for the notifier.")


def add_form(centre: NotificationCentre, owner: str, context: PageContext, state: DialogState) -> None:
    """Draw the dialog that adds a destination."""
    st.text_input(_("Name"), max_chars=64, key=state.key("name"))
    dialog_steps.fault(state, "name")
    code = _service_input(state)

    def add() -> None:
        name = str(state.value("name") or "").strip()
        _store(state, lambda: centre.add(_caller(context), owner, name, _entered_url(state, code)), done=name)

    st.html(markup.note(_(_PUBLIC)))
    dialog_steps.buttons(state, _("Add destination"), add)


def details(centre: NotificationCentre, owner: str, name: str, context: PageContext, state: DialogState) -> None:
    """Draw the dialog of a destination: what it is, and a step for each change."""
    caller = _caller(context)
    try:
        found = centre.find(caller, owner, name)
    except AccountError as error:  # removed meanwhile
        st.html(markup.banner(str(error), "bad"))
        dialog_steps.buttons(state)
        return
    steps: dict[str, Callable[[], None]] = {
        "url": partial(_url_step, centre, owner, found, caller, state),
        "routes": partial(_routes_step, centre, owner, found, caller, state),
        "preferences": partial(preferences_form, centre, owner, name, context, state),
        "reports": partial(_reports_step, centre, found, caller, state),
        "remove": partial(_remove_step, centre, owner, found, caller, state),
    }
    steps.get(state.step, partial(_facts, centre, found, caller, state))()


def preferences_form(
    centre: NotificationCentre, owner: str, name: str, context: PageContext, state: DialogState
) -> None:
    """Draw the form of the preferences of a destination, or of all destinations of a user."""
    caller = _caller(context)
    before = centre.preferences(caller, owner, name)
    preference_form.draw(state, before)

    def change() -> None:
        centre.set_preferences(caller, owner, name, preference_form.value(state, before))

    save = partial(_store, state, change, done=_("Preferences"))
    dialog_steps.buttons(state, _("Save"), save, back=state.step != dialog_steps.FORM)


def _facts(centre: NotificationCentre, found: Destination, caller: Caller, state: DialogState) -> None:
    routes = [route_form.sentence(each) for each in found.routes] or [_("Every alert")]
    pairs = [(_("Service"), SERVICES[found.service]), (_("URL"), found.shown), (_("Receives"), "; ".join(routes))]
    if found.allow_private:
        pairs.append((_("Addresses"), _("Private addresses are permitted")))
    st.html(markup.facts(pairs))
    if found.service in WEBHOOK_SCHEMES:
        with st.expander(_("Secret of the signatures")):
            st.code(centre.secret(caller, found.owner, found.name), language=None, wrap_lines=True)
    send = partial(_send_test, centre, found, caller, state)
    st.button(_("Send test message"), key=state.button_key("test"), type="primary", on_click=send)
    if "test" in state.about:
        draw = partial(_test_outcome, centre, found, caller, state)
        refresh.auto_refresh(draw, seconds=_POLL_SECONDS, key="notification.test")
    steps = {"routes": _("Routes …")}
    if not found.owner:
        steps["preferences"] = _("Preferences …")
        if found.service in MAIL_SCHEMES:
            steps["reports"] = _("Reports …")
    step_buttons(state, {**steps, "url": _("Change URL …"), "remove": _("Remove …")})
    dialog_steps.buttons(state)


def _send_test(centre: NotificationCentre, found: Destination, caller: Caller, state: DialogState) -> None:
    try:
        state.about["test"] = centre.send_test(caller, found.owner, found.name)
        state.accept()
    except AccountError as error:
        change_dialog.refuse(state, error)


def _test_outcome(centre: NotificationCentre, found: Destination, caller: Caller, state: DialogState) -> None:
    delivery = centre.delivery(caller, found.owner, state.about["test"])
    if delivery is None or delivery.state == QUEUED:
        st.html(markup.banner(_(_WAITING)))
    elif delivery.state == SENT:
        st.html(markup.banner(_("Accepted: {answer}", answer=delivery.answer), "good"))
    else:
        answer = f" ({delivery.answer})" if delivery.answer else ""
        st.html(markup.banner(_("Not accepted: {error}", error=delivery.error + answer), "bad"))


def _url_step(centre: NotificationCentre, owner: str, found: Destination, caller: Caller, state: DialogState) -> None:
    code = _service_input(state)

    def change() -> None:
        centre.set_url(caller, owner, found.name, _entered_url(state, code))

    dialog_steps.buttons(state, _("Change URL"), partial(_store, state, change, done=found.name), back=True)


def _routes_step(
    centre: NotificationCentre, owner: str, found: Destination, caller: Caller, state: DialogState
) -> None:
    def remove(route: Route) -> None:
        _try(state, lambda: centre.remove_route(caller, owner, found.name, route))

    def add() -> None:
        _try(state, lambda: centre.add_route(caller, owner, found.name, route_form.entered(state)))

    route_form.draw_list(state, found.routes, remove)
    route_form.draw_form(state)
    dialog_steps.buttons(state, _("Add route"), add, back=True)


def _reports_step(centre: NotificationCentre, found: Destination, caller: Caller, state: DialogState) -> None:
    hours = centre.reports(caller).get(found.id, {})
    for period, label in _PERIODS.items():
        st.checkbox(_(label), value=period in hours, key=state.key(period))
    st.selectbox(
        _("At"),
        range(24),
        index=next(iter(hours.values()), 8),
        format_func=lambda hour: f"{hour:02}:00 ({found.preferences.zone})",
        key=state.key("hour"),
    )

    def change() -> None:
        for period in _PERIODS:
            hour = int(state.value("hour")) if state.value(period) else None
            centre.set_report(caller, found.name, period, hour)

    dialog_steps.buttons(state, _("Save"), partial(_store, state, change, done=_("Reports")), back=True)


def _remove_step(
    centre: NotificationCentre, owner: str, found: Destination, caller: Caller, state: DialogState
) -> None:
    st.html(markup.banner(_(_REMOVE, name=found.name)))
    remove = partial(_store, state, lambda: centre.remove(caller, owner, found.name), done=found.name)
    dialog_steps.buttons(state, _("Remove"), remove, back=True, dangerous=True)


def _service_input(state: DialogState) -> str:
    """Draw the inputs of a service, and return its code."""
    codes = list(FORMS)
    code = str(st.selectbox(_("Service"), codes, format_func=lambda code: FORMS[code].name, key=state.key("service")))
    fields = FORMS[code].fields
    across = 2 if len(fields) > _ONE_COLUMN_MAX else 1
    for first in range(0, len(fields), across):  # rows, so that the order stays where columns are below each other
        for column, field in zip(st.columns(across), fields[first : first + across], strict=False):
            with column:
                _field_input(state, code, field)
    return code


def _field_input(state: DialogState, code: str, field: FormField) -> None:
    label = _(field.label) if not field.optional else _("{field} (optional)", field=_(field.label))
    key = state.key(f"{code}.{field.name}")
    if field.options:
        st.selectbox(label, field.options, key=key)
    elif field.secret:
        secret_input(label, key=key, example=field.example, max_chars=_FIELD_MAX)
    else:
        st.text_input(label, placeholder=field.example, max_chars=_FIELD_MAX, autocomplete="off", key=key)
    dialog_steps.fault(state, f"{code}.{field.name}")


def _entered_url(state: DialogState, code: str) -> str:
    values = {field.name: str(state.value(f"{code}.{field.name}") or "") for field in FORMS[code].fields}
    try:
        return make_url(FORMS[code], values)
    except DestinationError as error:
        raise AccountError(error.args[0], field=f"{code}.{error.field}") from None


def _store(state: DialogState, change: Callable[[], None], *, done: str) -> None:
    change_dialog.store(state, change, done=done)


def _try(state: DialogState, change: Callable[[], None]) -> None:
    """Make a change after which the step stays."""
    try:
        change()
        state.accept()
    except AccountError as error:
        change_dialog.refuse(state, error)


def _caller(context: PageContext) -> Caller:
    return Caller(context.user, context.org)
