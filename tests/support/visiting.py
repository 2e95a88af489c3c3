"""Browser contexts with a session in a dashboard."""

from collections.abc import Callable
from threading import Thread
from typing import Literal

from playwright.sync_api import Browser, BrowserContext, StorageState

PASSWORD = "correct horse battery"

Scheme = Literal["light", "dark"]
Size = tuple[int, int]


class Visitors:
    """A pool of browser contexts: a new one would load all of Streamlit again.

    Each keeps a page without scripts open: Chromium shares one renderer process among the pages of a context, and
    while that process lives the next page finds Streamlit's scripts compiled. This halves the cost of a page.
    """

    def __init__(self, browser: Browser, url: str) -> None:
        self.browser = browser
        self.url = url
        self._kept: dict[tuple[str, Scheme, Size], BrowserContext] = {}
        self._signed_in: dict[BrowserContext, set[str]] = {}
        """Names of the cookies of each sign-in."""

    def context(self, user: str, scheme: Scheme, size: Size) -> BrowserContext:
        """Return the context of a signed-in user; a new one if `user` is empty."""
        key = (user, scheme, size)
        if user and key in self._kept:
            return self._kept[key]
        context = self.browser.new_context(
            viewport={"width": size[0], "height": size[1]},
            color_scheme=scheme,
            locale="en-GB",
            timezone_id="Europe/Paris",
            reduced_motion="reduce",
            storage_state=sign_in(self.browser, self.url, user) if user else None,
        )
        if user:
            context.new_page().goto(f"{self.url}/readyz")
            self._kept[key] = context
            self._signed_in[context] = {str(cookie.get("name")) for cookie in context.cookies()}
        return context

    def leave(self, context: BrowserContext) -> None:
        """Close the pages of a context but the one that keeps its process; close a context without a user.

        A choice that a page remembers in a cookie is forgotten, so that the next test begins without it.
        """
        if context not in self._kept.values():
            context.close()
            return
        for page in context.pages[1:]:
            page.close()
        for name in {str(cookie.get("name")) for cookie in context.cookies()} - self._signed_in[context]:
            context.clear_cookies(name=name)

    def close(self) -> None:
        """Close all contexts."""
        for context in self._kept.values():
            context.close()


def sign_in(browser: Browser, url: str, user: str, password: str = PASSWORD) -> StorageState:
    """Sign in and return the cookies."""
    context = browser.new_context()
    form: dict[str, str | float | bool] = {"name": user, "password": password, "next": "/readyz"}
    answer = context.request.post(f"{url}/sign-in", form=form, headers={"origin": url})
    assert answer.ok
    state = context.storage_state()
    context.close()
    return state


def elsewhere(work: Callable[[], None]) -> None:
    """Run in another thread: Playwright's event loop runs in this one."""
    thread = Thread(target=work)
    thread.start()
    thread.join(60)
