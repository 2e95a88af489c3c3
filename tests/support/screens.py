"""Screenshots of pages, waiting for them, and checks with axe-core."""

from pathlib import Path

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

SCREENSHOTS = Path(__file__).parents[2] / "screenshots"
GRAVE = ("serious", "critical")
LABELLED = """() => [...document.querySelectorAll('.stButton button')].every(
  (button) => button.ariaLabel || button.querySelector('[data-testid=stMarkdownContainer]')?.textContent)"""
"""True once all buttons have labels, whose script Streamlit loads with the first button."""

CUT = """() => {
  const watched = "button, .stPageLink a, th > *, h1, h2, h3, label, dt, .df-chip, .df-card, .df-card *, [role=radio]";
  const cut = [...document.querySelectorAll(watched)].filter((element) =>
    element.checkVisibility() && element.scrollWidth > element.clientWidth + 1 && element.clientWidth > 0
      && getComputedStyle(element).overflowX !== "visible" && element.textContent.trim());
  const wide = document.documentElement.scrollWidth > innerWidth ? ["the page is wider than the window"] : [];
  return [...wide, ...new Set(cut.map((element) => `${element.tagName}: ${element.textContent.trim().slice(0, 80)}`))];
}"""
"""Texts of buttons, column heads, cards and the menu that do not fit."""


def photograph(page: Page, name: str) -> None:
    """Store a screenshot for review."""
    SCREENSHOTS.mkdir(exist_ok=True)
    page.screenshot(path=SCREENSHOTS / f"{name}.png")


def settled(page: Page) -> None:
    """Wait until Streamlit has drawn a page: its script has ended, and no element is left of the previous page."""
    drawn = page.locator(".stApp[data-test-connection-state=CONNECTED][data-test-script-state=notRunning]")
    expect(drawn).to_be_attached()
    expect(page.locator("[data-stale=true], [data-testid=stSkeleton]")).to_have_count(0)
    page.wait_for_function(LABELLED)


def grave(page: Page) -> list[str]:
    """Return the serious and critical violations that axe-core finds, each with its element."""
    page.wait_for_function(LABELLED)
    return [
        f"{found['impact']} {found['id']}: {node['html'][:200]} {node['failureSummary'][:300]}"
        for found in Axe().run(page).response["violations"]
        if found["impact"] in GRAVE
        for node in found["nodes"]
    ]
