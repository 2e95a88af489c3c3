"""Lists of facts in the browser: from all containers to the machine, and the whole of a long list."""

import re
from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Page, expect
from seeding import Fleet
from sqlalchemy import delete, select

from schemas.database import tables

Open = Callable[..., Page]


@pytest.fixture
def containers(fleet: Fleet) -> Iterator[None]:
    """Twelve containers on the machine `nas`, one of them stopped."""
    with fleet.engine.connect() as connection:
        key = connection.scalars(select(tables.machine.c.id).where(tables.machine.c.name == "nas")).one()
    up = {f"shop-web-{number}": ("good", {"state": "running"}) for number in range(11)}
    fleet.facts(key, "containers", {**up, "<b>db</b>": ("critical", {"state": "exited"})})
    yield
    with fleet.engine.begin() as connection:
        connection.execute(delete(tables.fact))
        connection.execute(delete(tables.fact_list))


@pytest.mark.usefixtures("containers")
def test_a_stopped_container_leads_from_the_list_of_all_to_its_machine(visit: Open) -> None:
    page = visit("/containers", user="vera")
    table = page.get_by_role("table", name="Containers")
    expect(table.get_by_role("row").nth(1)).to_contain_text("<b>db</b>")
    page.get_by_role("searchbox", name="Search").fill("running")
    expect(table.get_by_text("<b>db</b>")).to_have_count(0)
    expect(page).to_have_url(re.compile("q=running"))
    page.get_by_role("searchbox", name="Search").fill("exited")
    table.get_by_role("link", name="<b>db</b>").click()
    section = page.get_by_role("region", name="Containers")
    expect(section.get_by_role("row")).to_have_count(11)
    expect(section.get_by_role("row").nth(1)).to_contain_text("exited")
    page.get_by_role("button", name="Show all 12").click()
    expect(section.get_by_role("row")).to_have_count(13)
