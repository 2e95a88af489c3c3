"""Browser contexts that are signed in to a dashboard."""

from collections.abc import Callable
from threading import Thread
from typing import Literal

from playwright.sync_api import Browser, BrowserContext, StorageState

PASSWORD = "correct horse battery"

Scheme = Literal["light", "dark"]
Size = tuple[int, int]


class Visitors:
    """Browser contexts, one for each kind of visitor: a new one would load all of Streamlit again."""

    def __init__(self, browser: Browser, url: str) -> None:
        self.browser = browser
        self.url = url
        self._kept: dict[tuple[str, Scheme, Size], BrowserContext] = {}

    def context(self, user: str, scheme: Scheme, size: Size) -> BrowserContext:
        """A context that is signed in as this user; a fresh one for nobody."""
        key = (user, scheme, size)
        if not user or key not in self._kept:
            self._kept[key] = self.browser.new_context(
                viewport={"width": size[0], "height": size[1]},
                color_scheme=scheme,
                locale="en-GB",
                timezone_id="Europe/Paris",
                reduced_motion="reduce",
                storage_state=sign_in(self.browser, self.url, user) if user else None,
            )
        return self._kept[key]

    def close(self) -> None:
        """Close what was kept."""
        for context in self._kept.values():
            context.close()


def sign_in(browser: Browser, url: str, user: str, password: str = PASSWORD) -> StorageState:
    """The cookies of a visitor who has signed in."""
    context = browser.new_context()
    form: dict[str, str | float | bool] = {"name": user, "password": password, "next": "/readyz"}
    answer = context.request.post(f"{url}/sign-in", form=form, headers={"origin": url})
    assert answer.ok
    state = context.storage_state()
    context.close()
    return state


def elsewhere(work: Callable[[], None]) -> None:
    """Work in another thread: Playwright's event loop runs in this one."""
    thread = Thread(target=work)
    thread.start()
    thread.join(60)
