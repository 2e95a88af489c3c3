"""A report in a real browser: no request, readable in both schemes, no serious accessibility finding."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, Request
from screens import grave
from seeding import Fleet

from dashboard.report.html import page as written
from dashboard.report.summary import gather
from schemas.fleet.forecast import DAY


@pytest.fixture
def report(fleet: Fleet, tmp_path: Path) -> str:
    """The address of a report on the fleet of the browser tests."""
    file = tmp_path / "report.html"
    file.write_text(written(gather(fleet.engine, "home", (fleet.now - 30 * DAY, fleet.now), now=fleet.now)))
    return file.as_uri()


@pytest.fixture(params=["light", "dark"])
def opened(request: pytest.FixtureRequest, browser: Browser) -> Iterator[Page]:
    page = browser.new_page(color_scheme=request.param, viewport={"width": 1100, "height": 900})
    yield page
    page.close()


def test_a_report_asks_nothing_of_anybody_and_has_no_grave_finding(opened: Page, report: str) -> None:
    asked: list[str] = []

    def note(request: Request) -> None:
        asked.append(request.url)

    opened.on("request", note)
    opened.goto(report)
    assert asked == [report]
    assert opened.locator("section").count() == 6
    assert opened.locator("svg[role=img]").count() > 0
    assert grave(opened) == []
    wide = opened.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    assert wide == 0
