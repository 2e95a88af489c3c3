"""A slow server does not make the page harder to read."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
from playwright.sync_api import Browser, Page, expect

SLOWLY: Final = """
import time
from schemas.database.queries import history

def slowly(*given, read=history.read_history, **named):
    time.sleep(3)
    return read(*given, **named)

history.read_history = slowly
"""
FAINTEST: Final = """async () => {
  const shown = element => {
    let opacity = 1;
    for (; element; element = element.parentElement) opacity *= getComputedStyle(element).opacity;
    return opacity;
  };
  let looked = 0, faintest = 1;
  for (const end = Date.now() + 30000; looked < 120 && Date.now() < end; await new Promise(requestAnimationFrame)) {
    const old = [...document.querySelectorAll("[data-stale=true] .df-heading")];
    looked += old.length > 0;
    faintest = Math.min(faintest, ...old.map(shown));
  }
  return {looked, faintest};
}"""
"""Return the lowest opacity of the headings in 120 frames, at least two seconds, that wait for a refresh."""


@pytest.fixture
def page(directory: Path, browser: Browser, request: pytest.FixtureRequest) -> Iterator[Page]:
    serve, visit_at = (request.getfixturevalue(name) for name in ("serve", "visit_at"))
    with (
        serve(directory, "mqtt://127.0.0.1:1", preparation=SLOWLY) as dashboard,
        visit_at(browser, dashboard.url) as visit,
    ):
        yield visit("/machine?id=web-paris&range=6h")


def test_what_is_shown_does_not_fade_while_a_refresh_takes_long(page: Page) -> None:
    expect(page.get_by_role("heading", name="Network")).to_be_visible()
    assert page.evaluate(FAINTEST) == {"looked": 120, "faintest": 1}
