"""The map of the fleet with mouse, keyboard and screen reader."""

import io
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image
from playwright.sync_api import Locator, Page, expect
from seeding import Fleet
from sqlalchemy import select
from waiting import wait_until

from schemas.database.tables import machine

Visit = Callable[..., Page]
SCREENSHOTS = Path(__file__).parents[2] / "screenshots"
NAMES_HERE = "() => document.querySelector('.df-map-names')?.tiles !== undefined"
THREE_GROUPS = "() => document.querySelector('.df-map')?.view?.data.groups.length === 3"


def photograph(page: Page, name: str) -> None:
    SCREENSHOTS.mkdir(exist_ok=True)
    page.screenshot(path=SCREENSHOTS / f"{name}.png")


def field(page: Page) -> Locator:
    found = page.get_by_role("application", name=re.compile("Map of the machines"))
    expect(found).to_be_visible()
    page.wait_for_function(NAMES_HERE)
    return found


def tile(page: Page) -> int:
    """Return the width of a tile, which depends on the room."""
    return int(page.evaluate("document.querySelector('.df-map').view.laid.size"))


def legend(page: Page) -> list[str]:
    return page.locator(".df-map-legend li").all_inner_texts()


def tip(page: Page) -> Locator:
    return page.locator(".df-map-tip")


def said(page: Page) -> Locator:
    """Return the live text for screen readers."""
    return page.locator(".df-map-said[role=status]")


def colour_of(page: Page, number: int) -> tuple[int, int, int]:
    """Return a tile's colour near its left edge, beside its symbol."""
    png = field(page).locator("canvas").screenshot()
    image = Image.open(io.BytesIO(png)).convert("RGB")
    pixel = image.getpixel((number * tile(page) + 4, tile(page) // 2))
    assert isinstance(pixel, tuple)
    return pixel[0], pixel[1], pixel[2]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_map_has_a_tile_for_each_machine_with_signs_beside_colours(visit: Visit, scheme: str) -> None:
    page = visit(scheme=scheme)
    page.get_by_role("radio", name="Map").click()
    field(page)
    expect(page).to_have_url(re.compile(r"\?view=map&group=label%3Asite$"))
    assert legend(page) == [
        "Online, OK: 60",
        "×\nOnline, Critical: 3",
        "~\nStale: 1",
        "○\nOffline: 1",
        "¿\nUnverified: 1",
    ]
    photograph(page, f"map-{scheme}")
    page.get_by_role("radio", name="Table").click()
    expect(page.locator(".df-fleet tbody tr")).to_have_count(50)
    expect(page).not_to_have_url(re.compile("view"))


def test_the_keyboard_alone_reaches_a_machine_and_hears_which(visit: Visit) -> None:
    page = visit("/?view=map")
    tiles = field(page)
    tiles.focus()
    expect(said(page)).to_have_text(re.compile(r"^<img src=x.*\(evil\): Online, OK", re.DOTALL))
    page.keyboard.press("ArrowRight")
    expect(said(page)).to_contain_text("build-3: Stale")
    expect(tip(page)).to_contain_text("build-3: Stale")
    page.keyboard.press("End")
    expect(said(page)).to_contain_text("web-paris.example.org (web-paris): Online, OK")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowUp")
    page.keyboard.press("Home")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    expect(said(page)).to_contain_text("db-01.example.org (db-01): Online, Critical")
    page.keyboard.press("Tab")
    expect(tiles).not_to_be_focused()
    expect(tip(page)).to_be_hidden()
    page.keyboard.press("Shift+Tab")
    expect(said(page)).to_contain_text("db-01.example.org (db-01): Online, Critical")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="db-01.example.org")).to_be_visible()
    assert page.url.endswith("/machine?id=db-01")


def test_a_pointer_sees_the_name_and_a_click_opens_the_machine_and_back_is_the_map(visit: Visit) -> None:
    page = visit("/?view=map&q=db", scheme="dark")
    canvas = field(page).locator("canvas")
    canvas.hover(position={"x": tile(page) * 1.5, "y": tile(page) / 2})
    expect(tip(page)).to_contain_text("db-02.example.org (db-02): Online, Critical")
    photograph(page, "map-tip-dark")
    canvas.hover(position={"x": tile(page) * 5.5, "y": tile(page) / 2})
    expect(tip(page)).to_be_hidden()
    canvas.click(position={"x": tile(page) / 2, "y": tile(page) / 2})
    expect(page.get_by_role("heading", name="db-01.example.org")).to_be_visible()
    page.get_by_role("link", name="Fleet").last.click()
    field(page)
    expect(page).to_have_url(re.compile(r"\?q=db&view=map$"))


def test_groups_have_headings_and_a_line_down_goes_to_the_next_group(visit: Visit) -> None:
    page = visit("/?view=map")
    field(page)
    page.get_by_role("combobox", name="Group by").click()
    page.get_by_role("option", name="By label site").click()
    expect(page).to_have_url(re.compile(r"\?view=map&group=label%3Asite$"))
    page.wait_for_function(THREE_GROUPS)
    field(page).focus()
    page.keyboard.press("Home")
    expect(said(page)).to_contain_text("Not set · 6 · 5 need attention")
    page.keyboard.press("ArrowDown")
    expect(said(page)).to_contain_text("paris · 31 · 1 needs attention")
    for _line in range(3):
        page.keyboard.press("ArrowDown")
    expect(said(page)).to_contain_text("lyon · 29")
    photograph(page, "map-groups-light")


def test_tiles_are_coloured_by_a_reading_fill_the_room_and_tell_their_values(visit: Visit) -> None:
    page = visit("/?view=map", scheme="dark")
    field(page)
    page.get_by_role("combobox", name="Colour by").click()
    page.get_by_role("option", name="Colour: Disk").click()
    expect(page).to_have_url(re.compile(r"\?view=map&colour=disk$"))
    expect(page.locator(".df-map-legend li").nth(0)).to_contain_text("Disk: below 50 %")
    expect(page.locator(".df-map-legend li").last).to_contain_text("Unverified")
    canvas = field(page).locator("canvas")
    canvas.hover(position={"x": tile(page) / 2, "y": tile(page) / 2})
    expect(tip(page)).to_contain_text("CPU 20 %")
    photograph(page, "map-disk-dark")
    box = canvas.bounding_box()
    assert box is not None
    assert 450 < box["y"] + box["height"] < 900, "it fills the window, and nothing of it is below"
    cookies = {each["name"]: each["value"] for each in page.context.cookies()}
    assert cookies["dashfleet-map"] == "group=&colour=disk"
    page.context.clear_cookies(name="dashfleet-map")


def test_a_card_narrows_the_map_and_nothing_that_matches_says_so(visit: Visit) -> None:
    page = visit("/?view=map")
    field(page)
    page.get_by_role("button", name="Needs attention").click()
    expect(page).to_have_url(re.compile(r"\?need=attention&view=map$"))
    expect(page.locator(".df-map-legend li")).to_have_text(
        ["Online, OK: 1", "×Online, Critical: 3", "~Stale: 1", "○Offline: 1"]
    )
    page.get_by_role("searchbox").fill("no such machine")
    expect(page.get_by_role("heading", name="No machine matches")).to_be_visible()
    page.get_by_role("button", name="Clear filters").click()
    expect(page.locator(".df-map-legend li")).to_have_count(5)


def test_a_tile_follows_its_machine_and_the_keyboard_stays_with_it(visit: Visit, fleet: Fleet) -> None:
    page = visit("/?view=map&q=web-0")
    field(page).focus()
    page.keyboard.press("ArrowRight")
    expect(said(page)).to_contain_text("web-001.example.org (web-001): Online, OK")
    before = colour_of(page, 1)
    with fleet.engine.connect() as connection:
        key = connection.execute(select(machine.c.id).where(machine.c.name == "web-001")).scalar_one()
    fleet.set(key, presence="offline")
    try:
        expect(said(page)).to_contain_text("web-001.example.org (web-001): Offline")
        assert wait_until(lambda: colour_of(page, 1) != before, what="another colour")
        expect(field(page)).to_be_focused()
    finally:
        fleet.set(key, presence="online")
