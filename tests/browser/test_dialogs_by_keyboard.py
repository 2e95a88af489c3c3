"""Every dialog is opened, filled in and confirmed by keyboard alone: no click, fill or focus call. What it did is in
the database, and the focus is back in a place that can be seen.

In an organisation of its own, whose requests are applied as by the ingestor. `make test` goes through the dialogs with
all kinds of inputs; with DASHFLEET_FAULTS=whole through all of them.
"""

import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import pytest
from alert_rules import set_rules
from answering import Answerer
from playwright.sync_api import Locator, Page, expect
from screens import settled
from seeding import ACTIONS, INFO, Fleet
from sqlalchemy import Engine, Table, select
from waiting import wait_until

from dashboard.auth.auth_database import open_auth_database, session, user
from runtime.urls import sqlite_url
from schemas.contract.alert_rules import DEFAULT_RULES
from schemas.database import tables
from schemas.database.alert_tables import alert, alert_rule, silence
from schemas.people.api_token_table import api_token
from schemas.people.notification_tables import destination, message_template

Visit = Callable[..., Page]
ORG: Final = "keys"
WHOLE: Final = os.environ.get("DASHFLEET_FAULTS") == "whole"
STEPS_MAX: Final = 70
_TEXT: Final = {"type": "string", "minLength": 1, "maxLength": 300}
FILES: Final = [
    {
        "name": name,
        "title": title,
        "arguments_schema": {
            "type": "object",
            "properties": {"path": {**_TEXT, "title": "Path"}, **more},
            "required": ["path", *more],
        },
    }
    for name, title, more in (
        ("push", "Push a file", {"sha256": {**_TEXT, "title": "SHA-256 of the file"}}),
        ("pull", "Pull a file", {}),
    )
]
CONFIGURE: Final = {
    "name": "configure",
    "title": "Configure",
    "arguments_schema": {
        "type": "object",
        "properties": {
            "interval_seconds": {"type": "number"},
            "labels": {"type": "object"},
            "collectors_off": {"type": "array"},
            "probes": {"type": "object"},
        },
    },
}

_HAS_FOCUS: Final = "element => element === document.activeElement"
_WHERE: Final = "document.activeElement.outerHTML.slice(0, 200)"
_IN_VIEW: Final = """() => {
  const active = document.activeElement, box = active.getBoundingClientRect();
  return active !== document.body && box.width > 0 && box.bottom > 0 && box.top < innerHeight;
}"""

Step = Callable[[Page, Locator], None]


@dataclass(frozen=True)
class Flow:
    """A dialog: its page, what opens it, what is pressed in it, and what is then in the database.

    `done`: what it says at the end. `before`: tabs of the page. `short`: whether it is a part of `make test`.
    """

    name: str
    address: str
    opener: str
    steps: tuple[Step, ...]
    did: Callable[["State"], object]
    done: str = "Done"
    before: tuple[str, ...] = ()
    short: bool = False


@dataclass(frozen=True)
class State:
    """The databases, and the organisation's key in that of the fleet."""

    fleet: Engine
    people: Engine
    org: int

    def rows(self, table: Table, **wanted: Any) -> list[Any]:  # noqa: ANN401 - values of any type
        """Return the rows of a table with these values."""
        engine = self.fleet if table.metadata is tables.machine.metadata else self.people
        query = select(table).where(*(table.c[name] == value for name, value in wanted.items()))
        with engine.connect() as connection:
            return list(connection.execute(query))


def tab_to(page: Page, wanted: Locator) -> None:
    """Press Tab until this element has the focus."""
    expect(wanted).to_be_visible()
    expect(wanted).to_be_enabled()
    for _ in range(STEPS_MAX):
        if wanted.evaluate(_HAS_FOCUS):
            return
        page.keyboard.press("Tab")
    raise AssertionError(f"{STEPS_MAX} times Tab do not lead to {wanted}, but to {page.evaluate(_WHERE)}")


def write(label: str, words: str, *, role: Any = "textbox") -> Step:  # noqa: ANN401 - a role of Playwright
    """Replace what an input has."""

    def step(page: Page, dialog: Locator) -> None:
        tab_to(page, dialog.get_by_role(role, name=label, exact=True))
        page.keyboard.press("Control+A")
        page.keyboard.type(words)
        page.keyboard.press("Tab")
        settled(page)

    return step


def choose(label: str, words: str) -> Step:
    """Choose an entry of a list by words that no other one has."""

    def step(page: Page, dialog: Locator) -> None:
        tab_to(page, dialog.get_by_role("combobox", name=re.compile(f"{re.escape(label)}$")))
        page.keyboard.type(words)
        expect(page.get_by_role("option", name=words).first).to_be_visible()
        page.keyboard.press("Enter")
        page.keyboard.press("Tab")  # the list of a choice of several stays open
        settled(page)

    return step


def one_of(label: str, *, role: Any = "radio") -> Step:  # noqa: ANN401 - as above
    """Choose one of a group, which Tab reaches as a whole, with the arrows and Space."""

    def step(page: Page, dialog: Locator) -> None:
        wanted = dialog.get_by_role(role, name=re.compile(f"^{re.escape(label)}"))
        expect(wanted).to_be_visible()
        siblings = (
            "element => element.closest('[role=radiogroup], [role=group], [role=toolbar], .stButtonGroup')"
            "?.contains(document.activeElement)"
        )
        for _ in range(STEPS_MAX):
            if wanted.evaluate(siblings):
                break
            page.keyboard.press("Tab")
        for _ in range(STEPS_MAX):
            if wanted.evaluate(_HAS_FOCUS):
                break
            page.keyboard.press("ArrowRight")
        assert wanted.evaluate(_HAS_FOCUS), f"{label}: {page.evaluate(_WHERE)}"
        page.keyboard.press("Space")
        settled(page)

    return step


def press(label: str, key: str = "Enter", *, role: Any = "button") -> Step:  # noqa: ANN401 - as above
    """Press a button, or tick a box with Space."""

    def step(page: Page, dialog: Locator) -> None:
        tab_to(page, dialog.get_by_role(role, name=label, exact=True))
        page.keyboard.press(key)
        settled(page)

    return step


def tick(label: str) -> Step:
    return press(label, "Space", role="checkbox")


def button(key: str) -> str:
    return f".st-key-{key} button"


def row(words: str) -> str:
    return f".df-fleet tbody tr:has-text('{words}') a"


MACHINE = "/machine?id=kb-1"
FLOWS: Final = (
    Flow(
        "acknowledge",
        MACHINE,
        button("alerts-acknowledge"),
        (write("Comment (optional)", "on it"), press("Acknowledge")),
        lambda state: state.rows(alert, acknowledged_by="kim", acknowledged_comment="on it"),
    ),
    Flow(
        "silence once",
        "/silences",
        button("silences-new"),
        (choose("Machines", "kb-2"), choose("Duration", "8 hours"), write("Reason", "new disk"), press("Silence")),
        lambda state: [each.selector["machines"] for each in state.rows(silence, reason="new disk")] == [["kb-2"]],
    ),
    Flow(
        "silence every week",
        "/silences",
        button("silences-new"),
        (
            one_of("Every week"),
            one_of("Mon", role="button"),
            write("Reason", "backups"),
            press("Silence"),
        ),
        lambda state: state.rows(silence, reason="backups")[0].weekly["days"] == ["mon"],
        short=True,
    ),
    Flow(
        "end a silence",
        "/silences",
        row("backups"),
        (press("End silence"),),
        lambda state: state.rows(silence, reason="backups")[0].ended_by,
        short=True,
    ),
    Flow(
        "new rule",
        "/rules",
        button("rules-new"),
        (
            write("Title", "Very busy"),
            write("Value", "80", role="spinbutton"),
            press("Preview"),
            press("Save rule"),
        ),
        lambda state: [each.threshold for each in state.rows(alert_rule, org_id=state.org, name="very-busy")] == [80],
        short=True,
    ),
    Flow(
        "change a rule",
        "/rules",
        row("Very busy"),
        (write("Title", "Rather busy"), press("Preview"), press("Save rule")),
        lambda state: state.rows(alert_rule, org_id=state.org, title="Rather busy"),
    ),
    Flow(
        "delete a rule",
        "/rules",
        row("Rather busy"),
        (press("Delete rule …"), press("Delete rule")),
        lambda state: not state.rows(alert_rule, org_id=state.org, name="very-busy"),
    ),
    Flow(
        "add machines",
        "/",
        button("fleet_add"),
        (write("Number of machines", "3", role="spinbutton"), choose("Valid for", "7 days"), press("Create token")),
        lambda state: [each.uses for each in state.rows(tables.token)][-1:] == [3],
    ),
    Flow(
        "revoke a token",
        "/settings?section=tokens",
        ".df-fleet tbody tr a",
        (press("Revoke"),),
        lambda state: any(each.revoked_at for each in state.rows(tables.principal, org=ORG, role="enrol")),
    ),
    Flow(
        "add a destination",
        "/notifications",
        button("notifications-organisation-new"),
        (
            write("Name", "hook"),
            choose("Service", "Webhook"),
            write("URL", "https://example.org/hook"),
            press("Add destination"),
        ),
        lambda state: state.rows(destination, org=ORG, name="hook"),
    ),
    Flow(
        "preferences of a destination",
        "/notifications",
        row("hook"),
        (
            press("Preferences …"),
            choose("Notify of", "Critical alerts only"),
            tick("Quiet hours"),
            one_of("Sat", role="button"),
            press("Save"),
        ),
        lambda state: state.rows(destination, org=ORG, name="hook")[0].preferences["severity"] == "critical",
    ),
    Flow(
        "change the URL of a destination",
        "/notifications",
        row("hook"),
        (press("Change URL …"), choose("Service", "ntfy"), write("Topic", "fleet-alerts"), press("Change URL")),
        lambda state: state.rows(destination, org=ORG, name="hook")[0].service == "ntfys",
    ),
    Flow(
        "remove a destination",
        "/notifications",
        row("hook"),
        (press("Remove …"), press("Remove")),
        lambda state: not state.rows(destination, org=ORG),
    ),
    Flow(
        "template",
        "/notifications?section=templates",
        ".df-fleet tr[data-id='fr'] a",
        (write("Title", "Attention"), press("Save")),
        lambda state: state.rows(message_template, org=ORG, title="Attention"),
    ),
    Flow(
        "health settings",
        "/settings",
        button("settings-change-health"),
        (write("CPU penalty starts at (%)", "55"), press("Continue"), press("Change 1 setting")),
        lambda state: state.rows(tables.org, name=ORG)[0].config["thresholds"]["cpu"]["knee_percent"] == 55,
    ),
    Flow(
        "add a user",
        "/settings?section=people",
        button("settings-people-new"),
        (write("User name", "kay"), one_of("Operator"), press("Add user")),
        lambda state: state.rows(user, name="kay", role="operator"),
        short=True,
    ),
    Flow(
        "change the role of a user",
        "/settings?section=people",
        row("kit"),
        (press("Change role …"), one_of("Admin"), press("Change role")),
        lambda state: state.rows(user, name="kit", role="admin"),
    ),
    Flow(
        "reset the password of a user",
        "/settings?section=people",
        row("kit"),
        (press("Reset password …"), press("Reset password")),
        lambda state: not state.rows(session, user_id=state.rows(user, name="kit")[0].id),
    ),
    Flow(
        "remove a user",
        "/settings?section=people",
        row("kit"),
        (press("Remove …"), press("Remove user")),
        lambda state: not state.rows(user, name="kit"),
    ),
    Flow(
        "add an API client",
        "/settings?section=programs",
        button("settings-programs-new"),
        (write("Name", "grafana"), one_of("Operator"), press("Add client")),
        lambda state: state.rows(tables.principal, org=ORG, name="grafana", role="operator"),
    ),
    Flow(
        "new secret of an API client",
        "/settings?section=programs",
        row("grafana"),
        (press("New secret …"), press("Create secret")),
        lambda state: state.rows(tables.principal, org=ORG, name="grafana")[0].previous_until,
    ),
    Flow(
        "revoke an API client",
        "/settings?section=programs",
        row("grafana"),
        (press("Revoke …"), press("Revoke")),
        lambda state: state.rows(tables.principal, org=ORG, name="grafana")[0].revoked_at,
    ),
    Flow(
        "add an API token",
        "/settings?section=api-tokens",
        button("settings-api-tokens-new"),
        (write("Name", "backup"), one_of("Viewer"), choose("Valid for", "30 days"), press("Add token")),
        lambda state: state.rows(api_token, org=ORG, name="backup"),
    ),
    Flow(
        "revoke an API token",
        "/settings?section=api-tokens",
        row("backup"),
        (press("Revoke …"), press("Revoke")),
        lambda state: not state.rows(api_token, org=ORG),
    ),
    Flow(
        "rename a label",
        "/settings?section=labels",
        row("site"),
        (write("New value on all of these machines", "lyon"), press("Continue"), press("Change 2 machines")),
        lambda state: len(state.rows(tables.command, action="configure")) == 2,
    ),
    Flow(
        "configure a machine",
        MACHINE,
        button("machine-configure"),
        (
            write("Sampling interval", "30s"),
            press("Continue"),
            press("Configure: 1 machine"),
        ),
        lambda state: any(
            each.arguments.get("interval_seconds") == 30 for each in state.rows(tables.command, action="configure")
        ),
        done="1 Succeeded",
        before=("Configuration",),
    ),
    Flow(
        "push a file",
        MACHINE,
        ".st-key-machine_title button",
        (
            choose("Action", "Push a file"),
            write("Path", "/srv/files/motd"),
            write("SHA-256 of the file", "0" * 64),
            press("Continue"),
            press("Push a file: 1 machine"),
        ),
        lambda state: state.rows(tables.command, action="push")[0].arguments["path"] == "/srv/files/motd",
        done="1 Succeeded",
    ),
    Flow(
        "pull a file",
        MACHINE,
        ".st-key-machine_title button",
        (
            choose("Action", "Pull a file"),
            write("Path", "/var/log/syslog"),
            press("Continue"),
            press("Pull a file: 1 machine"),
        ),
        lambda state: state.rows(tables.command, action="pull")[0].arguments["path"] == "/var/log/syslog",
        done="1 Succeeded",
    ),
    Flow(
        "clear rejected messages",
        "/rejected",
        button("rejected-clear"),
        (press("Clear"),),
        lambda state: not state.rows(tables.dead_letter, org=ORG),
    ),
    Flow(
        "retire a machine",
        "/machine?id=kb-2",
        button("machine-service"),
        (write("Type kb-2 to confirm", "kb-2"), press("Retire kb-2")),
        lambda state: state.rows(tables.principal, org=ORG, name="kb-2")[0].revoked_at,
        before=("Decommission",),
    ),
)


@pytest.fixture(scope="module")
def state(fleet: Fleet, directory: Path, ingestor: Answerer) -> Iterator[State]:
    """An organisation with machines, an alert, a rejected message, and rules."""
    ingestor.forget()
    ingestor.applying = frozenset({ORG})
    info = {**INFO, "actions": [*ACTIONS, *FILES, CONFIGURE]}
    keys = [fleet.machine(f"kb-{n}", org=ORG, info=info, labels={"site": "paris"}) for n in (1, 2)]
    for number in range(3, 10):
        fleet.machine(f"kb-{number}", org=ORG, info={**INFO, "actions": ACTIONS})
    fleet.alert(keys[0], "cpu", fleet.now - 60_000, title="High CPU usage")
    fleet.dead_letter("kb-1", org=ORG, reason="invalid", detail="no JSON")
    set_rules(fleet.engine, *DEFAULT_RULES, org=ORG)
    people = open_auth_database(sqlite_url(directory / "auth.db"))
    yield State(fleet.engine, people, fleet.org(ORG))
    people.dispose()
    ingestor.forget()
    with fleet.engine.begin() as connection:  # with their alerts
        connection.execute(tables.machine.delete().where(tables.machine.c.org_id == fleet.org(ORG)))
        connection.execute(tables.dead_letter.delete().where(tables.dead_letter.c.org == ORG))


def opened(page: Page, flow: Flow) -> Locator:
    """Open the dialog of a flow with Tab and Enter; return what opened it."""
    for tab in flow.before:
        wanted = page.get_by_role("tab", name=tab, exact=True)
        group = page.get_by_role("tablist").filter(has=wanted)
        while not group.evaluate("group => group.contains(document.activeElement)"):
            page.keyboard.press("Tab")
        while not wanted.evaluate(_HAS_FOCUS):
            page.keyboard.press("ArrowRight")
        page.keyboard.press("Enter")
    opener = page.locator(flow.opener).first
    tab_to(page, opener)
    page.keyboard.press("Enter")
    expect(page.get_by_role("dialog")).to_be_visible()
    settled(page)
    return opener


def confirmed(page: Page, flow: Flow) -> None:
    """Fill in and confirm the open dialog, and leave it."""
    dialog = page.get_by_role("dialog")
    for step in flow.steps:
        step(page, dialog)
    expect(dialog).to_contain_text(flow.done)
    closing = dialog.get_by_role("button", name="Close", exact=True)
    if flow.done == "Done":
        tab_to(page, closing)
        page.keyboard.press("Enter")
    else:
        page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)


@pytest.mark.timeout(600)
def test_every_dialog_is_filled_in_and_confirmed_by_the_keyboard(visit: Visit, state: State) -> None:
    page = visit(user="kim")
    url = page.url.rstrip("/")
    for flow in FLOWS:
        if not (WHOLE or flow.short):
            continue
        page.goto(f"{url}{flow.address}")
        settled(page)
        opened(page, flow)
        confirmed(page, flow)
        wait_until(partial(flow.did, state), seconds=30, what=f"{flow.name} in the database")
        wait_until(lambda: page.evaluate(_IN_VIEW), seconds=30, what=f"a focus that is seen after {flow.name}")


def test_a_careful_reboot_of_many_machines_is_ordered_by_the_keyboard(visit: Visit, state: State) -> None:
    page = visit("/", user="kim")
    dialog = page.get_by_role("dialog")
    settled(page)
    press("Select all on this page", "Space", role="checkbox")(page, page.locator("body"))
    press("Run action …")(page, page.locator("body"))
    for step in (choose("Action", "Reboot"), press("Continue")):
        step(page, dialog)
    machines = len(state.rows(tables.machine, org_id=state.org))
    write(f"Type {machines} to confirm", str(machines))(page, dialog)
    press(f"Reboot: {machines} machines")(page, dialog)
    expect(dialog).to_contain_text("Succeeded")
    request = max(state.rows(tables.request, kind="act", actor="kim"), key=lambda each: each.created_at)
    assert len(state.rows(tables.command, request_id=request.id, action="reboot")) == machines
    page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)
