"""The address while the browser still sends one that was left: a choice that follows another at once undoes nothing."""

from types import SimpleNamespace
from typing import Any

import pytest

from dashboard.page import address


class Browser(dict[str, str]):
    """The query that a request carries, and what a run changes of it."""

    def __init__(self) -> None:
        super().__init__()
        self.sent: list[dict[str, str]] = []

    def from_dict(self, query: dict[str, str]) -> None:
        self.sent.append(query)
        self.requests(**query)

    def requests(self, **query: str) -> None:
        self.clear()
        self.update(query)


@pytest.fixture
def browser(monkeypatch: pytest.MonkeyPatch) -> Browser:
    browser = Browser()
    monkeypatch.setattr(address, "st", SimpleNamespace(query_params=browser, session_state={}))
    return browser


def test_an_address_that_the_browser_shows_is_not_sent_again(browser: Browser) -> None:
    browser.requests(q="db")
    assert address.read() == {"q": "db"}
    assert not address.change({"q": "db"})
    assert browser.sent == []


def test_a_request_with_the_address_that_was_left_counts_as_one_with_the_present_and_is_told_again(
    browser: Browser,
) -> None:
    assert address.change({"range": "6h"})
    browser.requests()  # before it received that
    assert address.read() == {"range": "6h"}
    assert address.change({**address.read(), "compare": "day"})
    for late in ({}, {"range": "6h"}):
        browser.requests(**late)
        assert address.read() == {"range": "6h", "compare": "day"}
    assert address.change(address.read())
    assert browser.sent[-1] == {"range": "6h", "compare": "day"}


def test_a_change_back_to_an_address_that_the_browser_still_shows_is_sent(browser: Browser) -> None:
    address.change({"q": "db"})
    browser.requests()
    assert address.change({})
    browser.requests(q="db")
    assert address.read() == {}


def test_a_new_address_counts_as_the_browser_sends_it(browser: Browser) -> None:
    address.change({"q": "db"})
    browser.requests(q="web")
    assert address.read() == {"q": "web"}


def test_the_way_back_in_the_browsers_history_and_another_page_are_no_late_requests(
    browser: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    run: Any = SimpleNamespace(is_history_navigation=True)
    address.change({"q": "db"})
    browser.requests()
    monkeypatch.setattr(address, "get_script_run_ctx", lambda: run)
    assert address.read() == {}
    run.is_history_navigation = False
    assert address.read() == {}

    address.change({"q": "db"})
    browser.requests()
    address.forget()
    assert address.read() == {}


def test_the_number_of_addresses_that_were_left_is_bounded(browser: Browser) -> None:
    for number in range(100):
        address.change({"page": str(number)})
    browser.requests(page="98")
    assert address.read() == {"page": "99"}
    browser.requests(page="1")
    assert address.read() == {"page": "1"}
