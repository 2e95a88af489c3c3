"""The sections of the page: destinations of the organisation, the user's own, templates, deliveries."""

from collections.abc import Sequence
from functools import partial
from typing import Final

import streamlit as st

from dashboard.changes import change_dialog
from dashboard.destinations.notification_centre import Caller, NotificationCentre
from dashboard.i18n import text
from dashboard.i18n.language import LANGUAGES, Marked, _, marked, name_of, ngettext
from dashboard.i18n.text import Word
from dashboard.notifications import destination_dialog
from dashboard.page import dialog_steps
from dashboard.page.dialog_steps import DialogState
from dashboard.page.page import PageContext
from dashboard.settings.section import SectionRow, SettingsSection, draw_table
from dashboard.widgets import cells, markup
from schemas.people.deliveries import CANCELLED, FAILED, QUEUED, REPORT, SENT, TEST, Delivery
from schemas.people.destinations import Destination
from schemas.people.message_templates import DEFAULT_BODY, DEFAULT_TITLE, SOURCE_MAX
from schemas.people.services import SERVICES

ORGANISATION: Final = SettingsSection(title=marked("Organisation"), code="organisation", path="/notifications")
OWN: Final = SettingsSection(title=marked("Personal"), code="personal", path="/notifications")
TEMPLATES: Final = SettingsSection(title=marked("Templates"), code="templates", path="/notifications")
DELIVERIES: Final = SettingsSection(title=marked("Deliveries"), code="deliveries", path="/notifications")

_SHOWN: Final = 200
_ORGANISATION: Final = marked("Destinations that are told about alerts and incidents of this organisation.")
_OWN: Final = marked("Your own destinations. Nobody else sees or changes them.")
_EMPTY: Final = marked("Nobody is notified yet. Add a mailbox, a chat or a webhook, and send it a test message.")
_NOTHING_SENT: Final = marked("Messages that are sent, wait or have failed appear here, with the service's answer.")
_TEMPLATES: Final = marked("Title and text of the messages, for each language that recipients have chosen.")
_FIELDS: Final = marked("The fields and filters of templates are described in the guide on alerting.")
_STATES: Final = {
    QUEUED: (marked("Waiting"), "fair"),
    SENT: (marked("Sent"), "good"),
    FAILED: (marked("Failed"), "bad"),
    CANCELLED: (marked("Cancelled"), "muted"),
}
_KINDS: Final = {TEST: marked("Test message"), REPORT: marked("Report")}
_DESTINATION_COLUMNS: Final = (
    ("name", marked("Name")),
    ("service", marked("Service")),
    ("receives", marked("Receives")),
    ("last", marked("Last message")),
    ("when", marked("Sent")),
)
_DELIVERY_COLUMNS: Final = (
    ("message", marked("Message")),
    ("destination", marked("Destination")),
    ("state", marked("State")),
    ("when", marked("Time")),
    ("attempts", marked("Attempts")),
    ("answer", marked("Answer")),
)
_TEMPLATE_COLUMNS: Final = (("language", marked("Language")), ("template", marked("Template")))


def draw_organisation(context: PageContext, centre: NotificationCentre) -> None:
    """Draw the destinations of the organisation, for admins."""
    _destinations(context, centre, "", ORGANISATION, _ORGANISATION)


def draw_own(context: PageContext, centre: NotificationCentre) -> None:
    """Draw the user's own destinations, and their preferences."""
    _destinations(context, centre, context.user, OWN, _OWN)


def draw_templates(context: PageContext, centre: NotificationCentre) -> None:
    """Draw the templates, for admins."""
    st.html(markup.note(_(_TEMPLATES)))
    own = centre.templates(Caller(context.user, context.org))
    rows = []
    for code in LANGUAGES:
        kind = _("Own") if code in own else _("Default")
        title, body = own.get(code, ("", ""))
        form = partial(_template_form, centre, code, title, body)
        rows.append(SectionRow(code, (cells.name(name_of(code)), cells.plain(kind)), form, name_of(code)))
    draw_table(TEMPLATES, _TEMPLATE_COLUMNS, rows)


def draw_deliveries(context: PageContext, centre: NotificationCentre, owners: Sequence[str]) -> None:
    """Draw the log of deliveries to the destinations of these owners."""
    caller = Caller(context.user, context.org)
    found = [each for owner in owners for each in centre.log(caller, owner, _SHOWN)]
    found.sort(key=lambda each: (-each.created_at, -each.id))
    if not found:
        st.html(markup.empty(_("No messages"), _(_NOTHING_SENT)))
        return
    draw_table(DELIVERIES, _DELIVERY_COLUMNS, [_delivery_row(context, each) for each in found[:_SHOWN]])


def _destinations(
    context: PageContext, centre: NotificationCentre, owner: str, section: SettingsSection, intro: Marked
) -> None:
    caller = Caller(context.user, context.org)
    st.html(markup.note(_(intro)))
    with st.container(horizontal=True):
        title = _("Add destination")
        add = partial(dialog_steps.request, title, partial(destination_dialog.add_form, centre, owner))
        st.button(f"{title} …", type="primary", key=f"notifications.{section.code}.new", on_click=add)
        if owner:
            form = partial(destination_dialog.preferences_form, centre, owner, "")
            change = partial(dialog_steps.request, _("Preferences"), form)
            st.button(_("Preferences …"), key="notifications.preferences", on_click=change)
    found = centre.listed(caller, owner)
    if not found:
        st.html(markup.empty(_("No destinations"), _(_EMPTY)))
        return
    last: dict[int | None, Delivery] = {}
    for each in centre.log(caller, owner, _SHOWN):
        last.setdefault(each.destination_id, each)
    rows = [_destination_row(context, centre, each, last.get(each.id)) for each in found]
    draw_table(section, _DESTINATION_COLUMNS, rows)


def _destination_row(
    context: PageContext, centre: NotificationCentre, found: Destination, last: Delivery | None
) -> SectionRow:
    count = len(found.routes)
    receives = ngettext("{n} route", "{n} routes", count) if count else _("Every alert")
    state = cells.plain(text.UNKNOWN) if last is None else cells.chip(_state(last), last.error)
    shown = (
        cells.name(found.name, found.shown),
        cells.plain(SERVICES[found.service]),
        cells.plain(receives),
        state,
        cells.plain(text.UNKNOWN if last is None else text.ago(last.created_at, context.now())),
    )
    form = partial(destination_dialog.details, centre, found.owner, found.name)
    return SectionRow(str(found.id), shown, form, found.name)


def _delivery_row(context: PageContext, found: Delivery) -> SectionRow:
    answer = found.error or found.answer
    shown = (
        cells.name(_title(found)),
        cells.plain(found.destination),
        cells.chip(_state(found)),
        cells.plain(context.moment(found.created_at)),
        cells.plain(text.count(found.attempts)),
        cells.plain(text.shortened(answer, 60), answer),
    )
    return SectionRow(str(found.id), shown, partial(_delivery_facts, found), _title(found))


def _delivery_facts(found: Delivery, context: PageContext, state: DialogState) -> None:
    pairs = [
        (_("Destination"), found.destination),
        (_("State"), _state(found).label),
        (_("Time"), context.moment(found.created_at)),
        (_("Attempts"), text.count(found.attempts)),
    ]
    if found.items:
        pairs.append((_("Alerts"), text.count(found.items)))
    if found.state == QUEUED and found.attempts:
        pairs.append((_("Next attempt"), context.moment(found.next_at)))
    pairs += [(label, said) for label, said in ((_("Answer"), found.answer), (_("Error"), found.error)) if said]
    st.html(markup.facts(pairs))
    dialog_steps.buttons(state)


def _template_form(
    centre: NotificationCentre, code: str, title: str, body: str, context: PageContext, state: DialogState
) -> None:
    caller = Caller(context.user, context.org)
    st.text_area(_("Title"), value=title or DEFAULT_TITLE, max_chars=SOURCE_MAX, height=100, key=state.key("title"))
    st.text_area(_("Text"), value=body or DEFAULT_BODY, max_chars=SOURCE_MAX, height=220, key=state.key("body"))
    st.html(markup.note(_(_FIELDS)))

    def save(given_title: str, given_body: str) -> None:
        change = partial(centre.set_template, caller, code, given_title, given_body)
        change_dialog.store(state, change, done=name_of(code))

    if title or body:
        st.button(_("Restore default"), key=state.button_key("restore"), on_click=partial(save, "", ""))

    def save_entered() -> None:
        save(str(state.value("title") or ""), str(state.value("body") or ""))

    dialog_steps.buttons(state, _("Save"), save_entered)


def _title(found: Delivery) -> str:
    kind = _KINDS.get(found.kind)
    return found.title or (_(kind) if kind else ngettext("{n} alert", "{n} alerts", found.items))


def _state(found: Delivery) -> Word:
    label, tone = _STATES[found.state]
    return Word(_(label), tone)
