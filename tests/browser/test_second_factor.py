"""The second factor in a real browser: the account page, the code at the sign-in, and passkeys of a virtual key."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol

import pyotp
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, CDPSession, Page, expect
from screens import GRAVE, photograph
from sqlalchemy import Engine
from visiting import PASSWORD

from dashboard.auth.auth_database import open_auth_database
from dashboard.auth.users import UserRole, add_user
from runtime.urls import sqlite_url


class Dashboard(Protocol):
    """The type of the fixture with this name in conftest.py."""

    url: str
    port: int


@pytest.fixture
def accounts(directory: Path, dashboard: Dashboard) -> Iterator[Engine]:
    assert dashboard
    engine = open_auth_database(sqlite_url(directory / "auth.db"))
    yield engine
    engine.dispose()


@pytest.fixture
def open_browser(browser: Browser, dashboard: Dashboard) -> Iterator[Callable[..., Page]]:
    """Return a page of a new browser at the sign-in, under a host name: passkeys are not made for an address."""
    opened: list[Page] = []

    def open_browser(*, dark: bool = False, width: int = 1280) -> Page:
        size = {"width": width, "height": 900}
        context = browser.new_context(viewport=size, color_scheme="dark" if dark else "light", locale="en-GB")  # type: ignore[arg-type]
        page = context.new_page()
        page.goto(f"http://localhost:{dashboard.port}/sign-in?next=/account")
        opened.append(page)
        return page

    yield open_browser
    for page in opened:
        page.context.close()


def enter(page: Page, name: str) -> None:
    page.get_by_label("User").fill(name)
    page.get_by_label("Password").fill(PASSWORD)
    page.keyboard.press("Enter")


def virtual_key(page: Page) -> CDPSession:
    """Give the browser a security key that answers by itself."""
    devtools = page.context.new_cdp_session(page)
    devtools.send("WebAuthn.enable")
    options = {"protocol": "ctap2", "transport": "usb", "automaticPresenceSimulation": True}
    devtools.send("WebAuthn.addVirtualAuthenticator", {"options": options})
    return devtools


def grave(page: Page) -> list[str]:
    return [each["id"] for each in Axe().run(page).response["violations"] if each["impact"] in GRAVE]


def test_a_passkey_is_added_and_signs_in_and_another_browser_has_none(
    open_browser: Callable[..., Page], accounts: Engine
) -> None:
    add_user(accounts, "peggy", PASSWORD, UserRole.VIEWER, "home")
    page = open_browser()
    devtools = virtual_key(page)
    enter(page, "peggy")
    page.get_by_label("Name of the passkey").fill("Blue key")
    page.locator("#password-passkey").fill("wrong horse battery")
    page.get_by_role("button", name="Add a passkey").click()
    expect(page.get_by_text("The password is wrong.")).to_be_visible()
    page.locator("#password-passkey").fill(PASSWORD)
    page.get_by_role("button", name="Add a passkey").click()
    expect(page.get_by_text("The passkey is added.")).to_be_visible()
    expect(page.locator(".codes li")).to_have_count(10)
    photograph(page, "account-codes-light")
    page.get_by_role("link", name="Continue").click()
    page.goto(page.url.partition("/account")[0].rstrip("/") + "/account")
    expect(page.get_by_text("Remove: Blue key").first).to_be_visible()
    page.context.clear_cookies()
    page.goto(f"{page.url.partition('/account')[0]}/sign-in?next=/account")
    enter(page, "peggy")
    expect(page.get_by_role("heading", name="Confirm that it is you")).to_be_visible()
    photograph(page, "second-step-light")
    assert grave(page) == []
    page.get_by_role("button", name="Use a passkey").click()
    expect(page.get_by_role("heading", name="Your account")).to_be_visible()
    photograph(page, "account-light")
    assert grave(page) == []
    devtools.detach()
    thief = open_browser(dark=True, width=390)
    virtual_key(thief)
    enter(thief, "peggy")
    thief.get_by_role("button", name="Use a passkey").click()
    expect(thief.get_by_text("The passkey was not used. Try again.")).to_be_visible()
    photograph(thief, "second-step-narrow-dark")


def test_an_app_is_set_up_and_its_code_completes_the_sign_in_without_a_mouse(
    open_browser: Callable[..., Page], accounts: Engine
) -> None:
    add_user(accounts, "trent", PASSWORD, UserRole.VIEWER, "home")
    page = open_browser(dark=True, width=390)
    enter(page, "trent")
    page.locator("#password-app").fill(PASSWORD)
    page.keyboard.press("Enter")
    secret = page.locator("code").inner_text()
    assert re.fullmatch("[A-Z2-7]{32}", secret)
    assert page.locator(".qr").evaluate("image => image.complete && image.naturalWidth > 100")
    photograph(page, "account-app-narrow-dark")
    assert grave(page) == []
    assert secret not in page.url
    totp = pyotp.TOTP(secret)
    page.get_by_label("Code", exact=True).fill(totp.now())
    page.keyboard.press("Enter")
    expect(page.get_by_text("The authenticator app is set up.")).to_be_visible()
    recovery = page.locator(".codes li").first.inner_text()
    page.context.clear_cookies()
    page.goto(page.url.partition("/account")[0] + "/sign-in?next=/account")
    enter(page, "trent")
    page.get_by_label("Code of your authenticator app").fill(recovery)
    page.keyboard.press("Enter")
    expect(page.get_by_text("Unused codes: 9")).to_be_visible()
