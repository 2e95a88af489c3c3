"""Every dialog by keyboard alone, under axe-core: opened, left with Escape, and the focus is where it was.

Each is looked at in one scheme, and with DASHFLEET_FAULTS=whole in both, on a telephone, and in all languages; with
DASHFLEET_SHOTS=DIRECTORY it is also photographed.
"""

import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final, Literal

import pytest
from alert_rules import set_rules
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Locator, Page, expect
from screens import CUT, GRAVE, LABELLED, settled
from seeding import ACTIONS, INFO, Fleet
from sqlalchemy import delete, insert, select
from waiting import wait_until

from broker.access.credentials import hash_secret
from dashboard.api.tokens import ApiTokens
from dashboard.auth.auth_database import account_change, open_auth_database
from dashboard.auth.users import UserRole
from runtime.clock import SystemClock
from runtime.urls import sqlite_url
from schemas.contract.alert_rules import DEFAULT_RULES
from schemas.contract.machine_selector import MachineSelector
from schemas.database import tables
from schemas.database.silence_rows import silence_values
from schemas.fleet.silences import Silence
from schemas.people.api_token_table import api_token
from schemas.people.destinations import add_destination, find_destination, remove_destination
from schemas.people.secret_box import SecretBox

Visit = Callable[..., Page]
WHOLE: Final = os.environ.get("DASHFLEET_FAULTS") == "whole"
SHOTS: Final = os.environ.get("DASHFLEET_SHOTS", "")
LANGUAGES: Final = ("en", "fr", "es", "ru")
PHONE, ZOOMED = (390, 844), (720, 450)
SCHEMES: Final[tuple[Literal["light", "dark"], ...]] = ("light", "dark")
CONTRAST: Final = """element => {
  const light = (colour) => {
    const [r, g, b] = colour.match(/[\\d.]+/g).slice(0, 3).map((each) => each / 255)
      .map((each) => (each <= 0.04045 ? each / 12.92 : ((each + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b + 0.05;
  };
  const { borderTopColor, backgroundColor } = getComputedStyle(element);
  const pair = [light(borderTopColor), light(backgroundColor)];
  return Math.max(...pair) / Math.min(...pair);
}"""
"""Contrast of a border with what it surrounds, as WCAG defines it."""

HAS_FOCUS: Final = "element => element === document.activeElement"


@dataclass(frozen=True)
class Opening:
    """A dialog: its address, what opens it, and what is pressed before that and inside it."""

    name: str
    address: str
    opener: str
    before: tuple[str, ...] = ()
    inside: tuple[str, ...] = ()


def row(id_: str) -> str:
    return f".df-fleet tr[data-id='{id_}'] a"


def button(key: str) -> str:
    return f".st-key-{key} button"


DIALOGS: Final = (
    Opening("run an action", "/machine?id=db-01", ".st-key-machine_title button"),
    Opening("configure", "/machine?id=ready", button("machine-configure"), ("[role=tab] >> nth=1",)),
    Opening("retire", "/machine?id=db-02", button("machine-service"), ("[role=tab] >> nth=-1",)),
    Opening("acknowledge", "/machine?id=db-01", button("alerts-acknowledge")),
    Opening("new silence", "/silences", button("silences-new")),
    Opening("silence", "/silences", ".df-fleet tbody tr a"),
    Opening("new rule", "/rules", button("rules-new")),
    Opening("rule", "/rules", row("cpu")),
    Opening("add machines", "/", button("fleet_add")),
    Opening("clear rejected messages", "/rejected", button("rejected-clear")),
    Opening("add a destination", "/notifications", button("notifications-organisation-new")),
    Opening("destination", "/notifications", ".df-fleet tbody tr a"),
    Opening("routes", "/notifications", ".df-fleet tbody tr a", inside=("[role=dialog] [class*=-routes] button",)),
    Opening("preferences", "/notifications?section=personal", button("notifications-preferences")),
    Opening("template", "/notifications?section=templates", row("fr")),
    Opening("organisation", "/settings", button("settings-change-health")),
    Opening("user", "/settings?section=people", row("olga")),
    Opening("add a user", "/settings?section=people", button("settings-people-new")),
    Opening("add a token", "/settings?section=tokens", button("settings-tokens-new")),
    Opening("token", "/settings?section=tokens", row("spring")),
    Opening("add a client", "/settings?section=programs", button("settings-programs-new")),
    Opening("client", "/settings?section=programs", row("grafana")),
    Opening("add an API token", "/settings?section=api-tokens", button("settings-api-tokens-new")),
    Opening("API token", "/settings?section=api-tokens", ".df-fleet tbody tr a"),
    Opening("add a key", "/settings?section=keys", button("settings-keys-new")),
    Opening("label", "/settings?section=labels", row("role=database")),
    Opening("version", "/settings?section=versions", row("0.1.0")),
)


@pytest.fixture(scope="module", autouse=True)
def credentials(fleet: Fleet, directory: Path) -> Iterator[None]:
    """Something to open in every list."""
    home, record = fleet.org(), hash_secret("made-up")
    set_rules(fleet.engine, *DEFAULT_RULES)
    silence = Silence(
        MachineSelector(labels={"site": "oslo"}), fleet.now, reason="Maintenance", ends_at=fleet.now + 10**8
    )
    ready = fleet.machine("ready", info={**INFO, "actions": [*ACTIONS, {**ACTIONS[0], "name": "configure"}]})
    names = {"spring": "enrol", "grafana": "reader"}
    who = [
        {"username": f"home._{name}", "role": role, "org": "home", "name": name, "secret_hash": record, "created_at": 1}
        for name, role in names.items()
    ]
    token = {"username": "home._spring", "uses": 3, "used": 1, "expires_at": fleet.now + 10**8}
    with fleet.engine.begin() as connection:
        connection.execute(insert(tables.principal), who)
        connection.execute(insert(tables.token).values(**token, created_at=1, created_by="ada"))
        connection.execute(insert(tables.silence).values(org_id=home, **silence_values(silence)))
    accounts = open_auth_database(sqlite_url(directory / "auth.db"))
    ApiTokens(accounts, SystemClock()).create("home", "backup", UserRole.VIEWER, seconds=86_400, by="ada")
    box = SecretBox.load(directory / "secrets" / "notification-key")
    add_destination(accounts, box, "home", "On call", "https://hooks.example.org/x", by="ada", now=fleet.now)
    yield
    remove_destination(accounts, find_destination(accounts, "home", "On call"))
    with accounts.begin() as connection:
        for table in (api_token, account_change):
            connection.execute(delete(table).where(table.c.org == "home", table.c.name == "backup"))
    accounts.dispose()
    set_rules(fleet.engine)
    mine = select(tables.principal.c.username).where(tables.principal.c.name.in_(names))
    with fleet.engine.begin() as connection:
        connection.execute(delete(tables.token).where(tables.token.c.username.in_(mine)))
        connection.execute(delete(tables.principal).where(tables.principal.c.name.in_(names)))
        connection.execute(delete(tables.silence).where(tables.silence.c.org_id == home))
        connection.execute(delete(tables.state).where(tables.state.c.machine_id == ready))
        connection.execute(delete(tables.machine).where(tables.machine.c.id == ready))


def opened(page: Page, opening: Opening) -> tuple[Locator, Locator]:
    """Open a dialog with Enter alone; return what opened it, and the dialog."""
    dialog = page.get_by_role("dialog")
    for each in opening.before:
        page.locator(each).press("Enter")
    opener = page.locator(opening.opener).first
    expect(opener).to_be_enabled()
    settled(page)
    opener.press("Enter")
    expect(dialog).to_be_visible()
    settled(page)
    for each in opening.inside:
        page.locator(each).press("Enter")
        settled(page)
    expect(dialog.get_by_role("button").last).to_be_visible()
    return opener, dialog


def findings(page: Page) -> list[str]:
    """Return what axe-core finds in the dialog alone, which takes a third of the whole page."""
    page.wait_for_function(LABELLED)
    found = Axe().run(page, context="[role=dialog]").response["violations"]
    return [f"{each['id']}: {each['nodes'][0]['html'][:200]}" for each in found if each["impact"] in GRAVE]


def shoot(page: Page, name: str) -> None:
    if SHOTS:
        Path(SHOTS).mkdir(parents=True, exist_ok=True)
        page.screenshot(path=Path(SHOTS) / f"{name.replace(' ', '-').lower()}.png")


def looked_at(page: Page, opening: Opening, scheme: str) -> list[str]:
    """Open a dialog, and leave it with Escape; return its findings."""
    opener, dialog = opened(page, opening)
    found = findings(page)
    shoot(page, f"{opening.name} {scheme}")
    assert dialog.evaluate("dialog => dialog.contains(document.activeElement)"), opening.name
    page.keyboard.press("Escape")
    expect(dialog, opening.name).to_have_count(0)
    wait_until(partial(opener.evaluate, HAS_FOCUS), seconds=30, what=f"the focus to return from {opening.name}")
    return found


@pytest.mark.timeout(300)
def test_every_dialog_opens_and_closes_by_the_keyboard_and_has_no_grave_finding(visit: Visit) -> None:
    wrong: dict[str, list[str]] = {}
    page = visit()
    url = page.url.rstrip("/")
    addresses = list(dict.fromkeys(opening.address for opening in DIALOGS))
    for number, address in enumerate(addresses):
        for scheme in SCHEMES if WHOLE else (SCHEMES[number % 2],):
            page.emulate_media(color_scheme=scheme)
            page.goto(f"{url}{address}")
            for opening in (each for each in DIALOGS if each.address == address):
                wrong[f"{opening.name} {scheme}"] = looked_at(page, opening, scheme)
    assert not any(wrong.values()), json.dumps(wrong, indent=1)


@pytest.mark.skipif(not WHOLE, reason="only in the whole form, DASHFLEET_FAULTS=whole: it takes minutes")
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("language", LANGUAGES)
def test_every_dialog_fits_a_telephone_and_a_zoom_of_200_percent_in_every_language(visit: Visit, language: str) -> None:
    wrong: dict[str, list[str]] = {}
    page = visit(size=PHONE)
    url = page.url.rstrip("/")
    page.emulate_media(color_scheme="dark" if language in ("fr", "ru") else "light")
    for opening in DIALOGS:
        path, _, query = opening.address.partition("?")
        page.goto(f"{url}{path}?{query}{'&' if query else ''}lang={language}")
        opened(page, opening)
        for width, height in (PHONE, ZOOMED):
            page.set_viewport_size({"width": width, "height": height})
            wrong[f"{opening.name} {language} {width}"] = page.evaluate(CUT)
            shoot(page, f"{opening.name} {language} {width}")
        page.set_viewport_size({"width": PHONE[0], "height": PHONE[1]})
    assert not any(wrong.values()), json.dumps(wrong, indent=1)


def test_a_box_and_a_circle_that_are_not_chosen_are_seen(visit: Visit) -> None:
    page = visit()
    client = next(opening for opening in DIALOGS if opening.name == "add a client")
    address = f"{page.url.rstrip('/')}{client.address}"
    circle = page.locator("[role=dialog] [data-testid=stRadioOption]:not([data-selected]) > div > div").first
    for scheme in SCHEMES:
        page.emulate_media(color_scheme=scheme)
        page.goto(address)
        opened(page, client)
        wait_until(lambda: circle.evaluate(CONTRAST) >= 3, seconds=30, what=f"a circle that is seen, {scheme}")
