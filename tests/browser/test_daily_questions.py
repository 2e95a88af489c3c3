"""Questions of a day about single machines, each with its budget of clicks: why was it offline, what happened before,
how do machines compare.
"""

import math
import re
from collections.abc import Callable
from typing import Any, Final

import pytest
from playwright.sync_api import Locator, Page, expect
from screens import photograph, settled
from seeding import Fleet
from waiting import wait_until

from schemas.fleet.history import HOUR

Visit = Callable[..., Page]
TIPS: Final = """() => [...document.querySelectorAll('[data-testid=stEChartsChart] > div:last-child')].filter(
  (tip) => tip.innerText).length"""
"""Number of charts that show the time below the pointer."""


@pytest.fixture(scope="module", autouse=True)
def late(fleet: Fleet) -> Fleet:
    """An organisation with a machine that has been offline since nine hours, and one that was for a while."""
    ids: dict[int, int] = {}
    for number, presence in ((1, "offline"), (2, "online")):
        until = fleet.now - 9 * HOUR if number == 1 else fleet.now
        seen: dict[str, Any] = {"since_at": until, "last_seen_at": until - 20_000, "sampled_at": until - 20_000}
        reason = "lost" if number == 1 else "connected"
        machine = ids[number] = fleet.machine(f"till-{number}", org="late", presence=presence, reason=reason, **seen)
        fleet.samples(
            machine,
            [until - i * 30_000 for i in range(3 * 120, 0, -1)],
            cpu_percent=lambda i, number=number: 20 * number + 9 * math.sin(i / 9),
            memory_percent=40.0,
            load_1m=0.5,
        )
    fleet.transition(ids[1], fleet.now - 30 * HOUR, "unknown", "online", "connected")
    fleet.transition(ids[1], fleet.now - 9 * HOUR, "online", "offline", "lost")
    fleet.transition(ids[2], fleet.now - 2 * HOUR, "online", "offline", "rebooting")
    fleet.transition(ids[2], fleet.now - 2 * HOUR + 300_000, "offline", "online", "connected")
    fleet.alert(ids[1], "away", fleet.now - 9 * HOUR, title="Machine offline", severity="critical")
    return fleet


def events(page: Page) -> Locator:
    return page.get_by_role("table", name="Events")


def chart(page: Page) -> Locator:
    return page.locator(".st-key-card_usage canvas").first


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_why_a_machine_went_offline_last_night_takes_two_clicks(visit: Visit, scheme: str) -> None:
    page = visit("/", user="nora", scheme=scheme)
    page.get_by_role("link", name="till-1", exact=True).click()
    expect(events(page).get_by_role("row", name=re.compile("Offline the connection was lost 9 h"))).to_be_visible()
    expect(page.locator(".st-key-card_problems li")).to_contain_text("Machine offline")
    expect(page.locator(".df-gauges.df-aged")).to_have_count(2)
    photograph(page, f"machine-offline-{scheme}")
    events(page).get_by_role("link", name="the connection was lost").click()
    expect(page).to_have_url(re.compile(r"/machine\?id=till-1&from=\d+&to=\d+$"))
    expect(chart(page)).to_be_in_viewport()
    photograph(page, f"machine-event-{scheme}")


def test_an_empty_range_leads_to_the_last_data(visit: Visit) -> None:
    page = visit("/machine?id=till-1", user="nora")
    expect(page.get_by_text("No data in this time range.")).to_be_visible()
    page.get_by_role("button", name="Show the last recorded hour").click()
    expect(chart(page)).to_be_visible()
    expect(page).to_have_url(re.compile(r"from=\d+&to=\d+$"))
    page.reload()
    expect(chart(page)).to_be_visible()
    page.get_by_role("radio", name="24 h").click()
    expect(page).to_have_url(re.compile(r"/machine\?id=till-1&range=24h$"))


def test_charts_share_the_pointers_time_and_a_drag_zooms_in(visit: Visit) -> None:
    page = visit("/machine?id=till-2&compare=day", user="nora")
    expect(chart(page)).to_be_visible()
    settled(page)
    page.locator(".st-key-charts_area").evaluate("area => area.scrollIntoView()")
    box = chart(page).bounding_box()
    assert box is not None
    left, y = box["x"], box["y"] + box["height"] / 2

    def share_the_time() -> bool:
        """Move the pointer again: charts that are still drawn hear nothing of a first move."""
        page.mouse.move(left + 390, y)
        page.mouse.move(left + 400, y)
        return bool(page.evaluate(TIPS) >= 2)

    wait_until(share_the_time, what="the time in several charts")
    page.mouse.down()
    page.mouse.move(left + 500, y, steps=3)
    page.mouse.move(left + 600, y, steps=3)
    page.mouse.up()
    expect(page).to_have_url(re.compile(r"from=\d+&to=\d+&compare=day$"))
    start, end = map(int, re.findall(r"(?:from|to)=(\d+)", page.url))
    assert end - start == pytest.approx(HOUR * 200 / (box["width"] - 72), rel=0.02)
    page.get_by_role("button", name="Zoom out").click()
    expect(page).not_to_have_url(re.compile(f"from={start}&"))


def test_a_free_range_needs_no_mouse(visit: Visit) -> None:
    page = visit("/machine?id=till-2", user="nora")
    expect(chart(page)).to_be_visible()
    settled(page)
    page.get_by_role("button", name="Custom …").press("Enter")
    page.get_by_role("button", name="Apply").press("Enter")
    expect(page).to_have_url(re.compile(r"from=\d+&to=\d+$"))
    settled(page)
    before = page.url
    page.get_by_role("button", name="Earlier").press("Enter")
    expect(page).not_to_have_url(before)
    settled(page)
    before = page.url
    events(page).get_by_role("link", name="the machine is rebooting").press("Enter")
    expect(page).not_to_have_url(before)


def test_the_kinds_of_events_are_chosen(visit: Visit) -> None:
    page = visit("/machine?id=till-1", user="nora")
    expect(events(page).get_by_role("row")).to_have_count(4)
    page.get_by_role("button", name="Alerts", exact=True).click()
    expect(events(page).get_by_role("row")).to_have_count(2)
    expect(events(page)).to_contain_text("Machine offline")


@pytest.mark.parametrize(("scheme", "size"), [("light", (1440, 900)), ("dark", (390, 844))])
def test_the_timeline_of_the_fleet_is_one_list_and_leads_to_the_machine_at_that_time(
    visit: Visit, scheme: str, size: tuple[int, int]
) -> None:
    page = visit("/timeline?kinds=presence", user="nora", scheme=scheme, size=size)
    rows = page.get_by_role("table", name="Timeline").locator("tbody tr")
    expect(rows).to_have_count(4)
    photograph(page, f"timeline-{scheme}")
    assert page.evaluate("document.documentElement.scrollWidth") <= size[0]
    page.get_by_role("searchbox").fill("till-2")
    expect(rows).to_have_count(2)
    expect(page).to_have_url(re.compile(r"/timeline\?q=till-2&kinds=presence$"))
    page.reload()
    expect(rows).to_have_count(2)
    rows.first.get_by_role("link").click()
    expect(page).to_have_url(re.compile(r"/machine\?id=till-2&from=\d+&to=\d+$"))
    expect(page.get_by_role("heading", name="till-2")).to_be_visible()


def test_the_machine_page_is_short_and_fits_a_telephone(visit: Visit) -> None:
    height = "document.querySelector('[data-testid=stMainBlockContainer]').scrollHeight"
    for size, most in (((1440, 900), 2200), ((390, 844), 4000)):
        page = visit("/machine?id=web-paris&range=6h", user="vera", size=size)
        expect(page.get_by_role("heading", name="Print queue")).to_be_visible()
        settled(page)
        page.get_by_role("tab", name="Configuration").click()
        expect(page.get_by_text("Local setting (not managed)").first).to_be_visible()
        assert page.evaluate(height) <= most
        assert page.evaluate("document.documentElement.scrollWidth") <= size[0]
        photograph(page, f"machine-{size[0]}")


@pytest.mark.parametrize(("scheme", "size"), [("light", (1440, 900)), ("dark", (390, 844))])
def test_comparing_two_machines_takes_three_clicks_and_the_address_keeps_them(
    visit: Visit, scheme: str, size: tuple[int, int]
) -> None:
    page = visit("/", user="nora", scheme=scheme, size=size)
    for name in ("till-1", "till-2"):
        page.locator(f".df-fleet tr[data-id='{name}'] input").click()
    page.get_by_role("button", name="Compare").click()
    expect(page).to_have_url(re.compile(r"/compare\?ids=till-1%2Ctill-2$"))
    page.get_by_role("radio", name="6 h").click()
    expect(page.get_by_role("heading", name="CPU", exact=True)).to_be_visible()
    expect(page.locator(".st-key-card_load_1m canvas").first).to_be_visible()
    photograph(page, f"compare-{scheme}")
    assert page.evaluate("document.documentElement.scrollWidth") <= size[0]
    page.reload()
    expect(page.get_by_role("heading", name="CPU", exact=True)).to_be_visible()
    expect(page.get_by_role("table", name="Machines").get_by_role("row")).to_have_count(3)
    page.get_by_role("button", name="Remove till-1").click()
    expect(page).to_have_url(re.compile(r"ids=till-2"))


def test_a_machine_is_compared_with_another_from_its_page_also_by_a_viewer(visit: Visit) -> None:
    page = visit("/machine?id=db-01", user="vera")
    page.get_by_role("link", name="Compare …").click()
    expect(page).to_have_url(re.compile(r"/compare\?ids=db-01$"))
    page.get_by_role("searchbox").fill("db-02")
    page.get_by_role("button", name="Add db-02").click()
    expect(page).to_have_url(re.compile(r"/compare\?ids=db-01%2Cdb-02$"))
    expect(page.get_by_role("table", name="Machines").get_by_role("row")).to_have_count(3)
