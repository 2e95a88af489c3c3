"""The dashboard in each of its languages: the browser's, the chosen one, and no text is cut off."""

import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final, Protocol

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect
from screens import CUT, photograph, settled
from visiting import PASSWORD, sign_in

from dashboard.i18n import language
from dashboard.i18n.language import Marked, _, speaking

LOCALES: Final = {"en": "en-GB", "fr": "fr-FR", "es": "es-ES", "ru": "ru-RU"}
PAGES: Final = {"fleet": "/", "machine": "/machine?id=web-paris&range=6h", "activity": "/activity", "map": "/?view=map"}


class Site(Protocol):
    """A dashboard of conftest.py."""

    @property
    def url(self) -> str: ...


Enter = Callable[..., BrowserContext]


@pytest.fixture
def enter(browser: Browser, dashboard: Site) -> Iterator[Enter]:
    """Open a browser with a language and a time zone, signed in if a user is named."""
    opened: list[BrowserContext] = []

    def enter(code: str, user: str = "", zone: str = "Europe/Paris") -> BrowserContext:
        state = sign_in(browser, dashboard.url, user) if user else None
        opened.append(
            browser.new_context(
                base_url=dashboard.url,
                locale=LOCALES[code],
                timezone_id=zone,
                viewport={"width": 1440, "height": 900},
                reduced_motion="reduce",
                storage_state=state,
            )
        )
        return opened[-1]

    yield enter
    for context in opened:
        context.close()


def said(code: str, text: str | Marked) -> str:
    with speaking(code):
        return _(text)


def test_every_language_is_looked_at() -> None:
    assert set(LOCALES) == set(language.LANGUAGES)


@pytest.mark.parametrize("code", LOCALES)
def test_a_browser_is_answered_in_its_language_and_no_text_is_cut(enter: Enter, code: str) -> None:
    page = enter(code).new_page()
    page.goto("/")
    expect(page.locator("html")).to_have_attribute("lang", code)
    expect(page.get_by_role("heading", name=said(code, "Sign in"))).to_be_visible()
    photograph(page, f"sign-in-{code}")
    page.locator("#name").fill("olga")
    page.locator("#password").fill(PASSWORD)
    page.keyboard.press("Enter")
    cut: dict[str, list[str]] = {}
    for name, path in PAGES.items():
        if name != "fleet":
            page.goto(path)
        expect(page.get_by_role("heading", level=1).first).to_be_visible()
        expect(page.locator("html")).to_have_attribute("lang", code)
        settled(page)
        expect(page.get_by_role("alert")).to_have_count(0)
        photograph(page, f"{name}-{code}")
        cut[name] = page.evaluate(CUT)
    expect(page.get_by_role("radio", name=said(code, "Map"), exact=True)).to_be_visible()
    assert not any(cut.values()), json.dumps(cut, indent=1, ensure_ascii=False)


def test_a_language_is_chosen_in_the_menu_and_remembered_by_the_browser(enter: Enter) -> None:
    context = enter("fr", "olga")
    page = context.new_page()
    page.goto("/")
    expect(page.get_by_role("heading", name="Parc", exact=True)).to_be_visible()
    page.get_by_role("combobox", name="Langue").click()
    page.get_by_role("option", name="Русский").click()
    expect(page.get_by_role("heading", name="Парк", exact=True)).to_be_visible()
    expect(page.locator("html")).to_have_attribute("lang", "ru")
    expect(page.get_by_role("navigation", name="Страницы").or_(page.locator("[aria-label='Страницы']"))).to_be_visible()
    page.goto("/activity")
    expect(page.get_by_role("heading", name="Действия", exact=True)).to_be_visible()
    page.get_by_role("button", name="Выйти").click()
    expect(page.get_by_role("heading", name="Войти")).to_be_visible()
    page.get_by_role("link", name="Español").click()
    expect(page.get_by_role("heading", name="Iniciar sesión")).to_be_visible()
    page.locator("#name").fill("olga")
    page.locator("#password").fill(PASSWORD)
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Flota", exact=True)).to_be_visible()


def test_an_address_may_name_the_language(enter: Enter) -> None:
    page = enter("en", "olga").new_page()
    page.goto("/?lang=es&q=db-0")
    expect(page.get_by_role("heading", name="Flota", exact=True)).to_be_visible()
    expect(page).to_have_url(re.compile(r"/\?q=db-0$"))


def test_times_are_in_the_zone_of_who_looks(enter: Enter) -> None:
    with _stamps(enter, "Europe/Paris") as paris, _stamps(enter, "Asia/Kolkata") as kolkata:
        assert (_minutes(kolkata) - _minutes(paris)) % (24 * 60) in (270, 271, 210, 211)  # summer or winter in Paris


@contextmanager
def _stamps(enter: Enter, zone: str) -> Iterator[str]:
    page = enter("ru", "olga", zone).new_page()
    page.goto("/")
    yield stamp(page)


def stamp(page: Page) -> str:
    """Return the time of day at the foot of the fleet's table."""
    shown = page.get_by_text(re.compile(r"Обновлено в \d"))
    expect(shown).to_be_visible()
    return shown.inner_text()


def _minutes(text: str) -> int:
    found = re.search(r"(\d+):(\d+):\d+", text)
    assert found is not None
    return int(found[1]) * 60 + int(found[2])
