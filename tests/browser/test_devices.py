"""The devices of a machine on its page: chosen by group, the worst first, with a chart per metric."""

from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect
from screens import photograph, settled

Visit = Callable[..., Page]


@pytest.mark.parametrize("size", [(1440, 900), (390, 844)])
def test_the_devices_of_a_machine_are_listed_and_drawn_by_group(visit: Visit, size: tuple[int, int]) -> None:
    page = visit("/machine?id=nas", size=size)
    mounts = page.get_by_role("region", name="File system")
    expect(mounts.get_by_role("rowheader")).to_have_count(8)
    shares = [float(text.split()[0]) for text in mounts.locator("tbody td").all_inner_texts()]
    assert shares == sorted(shares, reverse=True)
    expect(page.get_by_role("heading", name="File system: Disk", exact=True)).to_be_visible()
    settled(page)
    page.get_by_role("heading", name="Readings by device", exact=True).scroll_into_view_if_needed()
    page.mouse.wheel(0, 400)
    photograph(page, f"devices-{size[0]}")
    page.get_by_role("radio", name="Processor cores").click()
    cores = page.get_by_role("region", name="Core")
    expect(cores.get_by_role("rowheader")).to_have_count(10)
    page.get_by_role("button", name="Show all 16").click()
    expect(cores.get_by_role("rowheader")).to_have_count(16)
    expect(page.get_by_role("heading", name="Core · worst 10 of 16")).to_be_visible()
    expect(page.get_by_role("region", name="File system")).to_have_count(0)


def test_a_machine_without_series_has_no_section_of_devices(visit: Visit) -> None:
    page = visit("/machine?id=db-01")
    expect(page.get_by_role("heading", name="db-01.example.org")).to_be_visible()
    settled(page)
    expect(page.get_by_role("heading", name="Readings by device", exact=True)).to_have_count(0)
