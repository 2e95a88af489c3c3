"""Nothing that a visitor chooses, types, ticks or opens is lost while the answers of the server are late."""

import re
from collections.abc import Callable

from playwright.sync_api import Page, WebSocketRoute, expect

Visit = Callable[..., Page]


class LateAnswers:
    """The connection of a page, on which the messages of the server can be held back."""

    def __init__(self, page: Page) -> None:
        self._held: list[tuple[WebSocketRoute, str | bytes]] = []
        self._holding = False
        page.route_web_socket(re.compile("/_stcore/stream"), self._connect)

    def hold(self) -> None:
        self._holding = True

    def wait_for(self, page: Page, content: bytes) -> None:
        """Wait until the server has sent this."""
        for _attempt in range(600):
            if any(content in message for _socket, message in self._held if isinstance(message, bytes)):
                return
            page.wait_for_timeout(50)
        raise AssertionError(f"the server did not send {content!r}")

    def release(self) -> None:
        self._holding = False
        for socket, message in self._held:
            socket.send(message)
        self._held.clear()

    def _connect(self, socket: WebSocketRoute) -> None:
        server = socket.connect_to_server()
        server.on_message(lambda message: self._answer(socket, message))

    def _answer(self, socket: WebSocketRoute, message: str | bytes) -> None:
        if self._holding:
            self._held.append((socket, message))
        else:
            socket.send(message)


def opened(visit: Visit, path: str) -> tuple[Page, LateAnswers]:
    page = visit("/readyz")
    answers = LateAnswers(page)
    page.goto(page.url.replace("/readyz", path))
    return page, answers


def shows(page: Page, *parts: str) -> None:
    """Wait until the address has these parts."""
    expect(page).to_have_url(re.compile("".join(f"(?=.*{re.escape(part)})" for part in parts)))


def choose(page: Page, label: str, option: str) -> None:
    page.get_by_role("combobox", name=label).click()
    page.get_by_role("option", name=option).click()


def test_a_choice_does_not_undo_the_one_before_that_was_not_answered_yet(visit: Visit) -> None:
    page, answers = opened(visit, "/machine?id=web-paris")
    six = page.get_by_role("radio", name="6 h")
    expect(six).to_be_visible()
    answers.hold()
    six.click()
    choose(page, "Compare with", "Day before")
    answers.release()
    shows(page, "id=web-paris", "range=6h", "compare=day")
    expect(six).to_be_checked()
    expect(page.get_by_role("combobox", name="Compare with")).to_have_value("Day before")
    page.go_back()
    expect(page).not_to_have_url(re.compile("compare=day"))
    expect(page.get_by_role("combobox", name="Compare with")).not_to_have_value("Day before")


def test_search_filters_and_ticks_are_kept_while_answers_are_late(visit: Visit) -> None:
    page, answers = opened(visit, "/")
    search = page.get_by_role("searchbox")
    expect(search).to_be_visible()
    answers.hold()
    search.press_sequentially("db", delay=20)
    answers.wait_for(page, b"q=db")
    search.press_sequentially("-0", delay=20)
    answers.release()
    shows(page, "q=db-0")
    expect(search).to_have_value("db-0")
    expect(page.locator(".df-fleet tbody tr")).to_have_count(2)
    for name in ("db-01", "db-02"):
        page.get_by_role("checkbox", name=f"Select {name}", exact=True).click()
    answers.hold()
    page.get_by_role("button", name="Filters").click()
    choose(page, "Operating system", "Ubuntu")
    page.keyboard.press("Escape")
    page.get_by_role("radio", name="Map").click()
    answers.release()
    shows(page, "q=db-0", "os=Ubuntu", "view=map")
    page.get_by_role("radio", name="Table").click()
    expect(page.locator(".df-selected")).to_contain_text("2 selected")
