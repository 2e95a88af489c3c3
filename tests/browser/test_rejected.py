"""The page of rejected messages in a browser: from the machine's page to one message, and clearing."""

from collections.abc import Callable

from playwright.sync_api import Page, expect
from screens import settled

Visit = Callable[..., Page]


def test_rejected_messages_are_reached_from_the_machine_read_and_cleared(visit: Visit) -> None:
    page = visit("/machine?id=evil")
    page.get_by_role("tab", name="Samples").click()
    page.get_by_role("link", name="1 rejected message").click()
    expect(page.get_by_role("heading", name="Rejected messages", level=1)).to_be_visible()
    page.get_by_role("row", name="evil").get_by_role("link").click()
    expect(page.get_by_text("<img src=y onerror=alert(6)>")).to_be_visible()
    expect(page.get_by_text("Only the start of the message is kept.")).to_be_visible()
    page.get_by_test_id("stMain").get_by_role("link", name="Rejected messages").click()
    expect(page.get_by_role("row", name="db-02").first).to_be_visible()
    settled(page)
    page.get_by_role("button", name="Clear …").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_role("button", name="Clear", exact=True).click()
    expect(dialog.get_by_text("Done")).to_be_visible()
