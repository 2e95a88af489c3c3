"""What a page looks like: to people, and to axe-core."""

from pathlib import Path

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

SCREENSHOTS = Path(__file__).parents[2] / "screenshots"
GRAVE = ("serious", "critical")
LABELLED = """() => [...document.querySelectorAll('.stButton button')].every(
  (button) => button.ariaLabel || button.querySelector('[data-testid=stMarkdownContainer]')?.textContent)"""
"""Streamlit loads what draws the label of a button when the first one is there."""


def photograph(page: Page, name: str) -> None:
    """Keep a screenshot for people to look at."""
    SCREENSHOTS.mkdir(exist_ok=True)
    page.screenshot(path=SCREENSHOTS / f"{name}.png")


def settled(page: Page) -> None:
    """Wait until a page of Streamlit's is drawn: its script has ended once, and nothing is left of what was before."""
    drawn = page.locator(".stApp[data-test-connection-state=CONNECTED][data-test-script-state=notRunning]")
    expect(drawn).to_be_attached()
    expect(page.locator("[data-stale=true], [data-testid=stSkeleton]")).to_have_count(0)
    page.wait_for_function(LABELLED)


def grave(page: Page) -> list[str]:
    """What axe-core finds serious or critical, each with its element."""
    page.wait_for_function(LABELLED)
    return [
        f"{found['impact']} {found['id']}: {node['html'][:200]} {node['failureSummary'][:300]}"
        for found in Axe().run(page).response["violations"]
        if found["impact"] in GRAVE
        for node in found["nodes"]
    ]
