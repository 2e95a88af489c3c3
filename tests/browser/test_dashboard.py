import io
import re
import signal
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Final, Protocol

import pytest
from PIL import Image
from playwright.sync_api import Locator, Page, expect
from seeding import Fleet
from servers import listens
from sqlalchemy import select
from waiting import wait_until

from schemas.database.tables import machine

Visit = Callable[..., Page]


class Dashboard(Protocol):
    """The type of the fixture with this name in conftest.py."""

    port: int

    def start(self) -> None: ...
    def stop(self) -> int: ...


PASSWORD = "correct horse battery"
SCREENSHOTS = Path(__file__).parents[2] / "screenshots"


def photograph(page: Page, name: str) -> None:
    """Save a screenshot for review."""
    SCREENSHOTS.mkdir(exist_ok=True)
    page.screenshot(path=SCREENSHOTS / f"{name}.png")


def machines(page: Page) -> list[str]:
    """Return the names on the fleet page in display order."""
    return page.locator(".df-fleet tbody .df-name").all_inner_texts()


def row(page: Page, name: str) -> Locator:
    return page.locator(f".df-fleet tr[data-id='{name}']")


def test_signing_in_leads_to_where_somebody_wanted_to_go(visit: Visit) -> None:
    page = visit("/machine?id=nas&range=6h", user="")
    page.get_by_label("User").fill("admin")
    page.get_by_label("Password").fill("not this one")
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("alert")).to_have_text("The name or the password is wrong.")
    expect(page.get_by_label("User")).to_have_value("admin")
    expect(page.get_by_label("Password")).to_be_focused()
    page.get_by_label("Password").fill(PASSWORD)
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="nas")).to_be_visible()
    assert page.url.endswith("/machine?id=nas&range=6h")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_sign_in_page_follows_the_scheme(visit: Visit, scheme: str) -> None:
    page = visit("/", user="", scheme=scheme)
    expect(page.get_by_label("User")).to_be_focused()
    photograph(page, f"sign-in-{scheme}")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_fleet_shows_its_machines_the_worst_first(visit: Visit, scheme: str) -> None:
    page = visit(scheme=scheme)
    expect(page.locator(".df-fleet tbody tr")).to_have_count(50)
    worst = ["kassa7", "build-3", "unsure", "db-01", "db-02", "nas"]
    assert machines(page)[:6] == worst
    expect(row(page, "till-7")).to_contain_text("as of")
    expect(row(page, "db-01")).to_contain_text("Online")
    expect(row(page, "db-01")).to_contain_text("97 %")
    expect(row(page, "db-01").get_by_text("floor: 2")).to_be_visible()
    # The start of the last 30 minutes, which advance while the tests run.
    expect(row(page, "db-01").get_by_role("img", name=re.compile(r"CPU from [4-9]\d % to 98 %"))).to_be_visible()
    expect(page.locator(".df-card[data-code=attention] strong")).to_have_text("6")
    expect(page).to_have_title("(6) DashFleet")
    expect(page.locator(".df-card[data-code=all] strong")).to_have_text("66")
    photograph(page, f"fleet-{scheme}")


@pytest.mark.parametrize("path", ["/", "/problems", "/settings?section=people"])
def test_no_column_is_out_of_sight_where_the_table_does_not_scroll(visit: Visit, path: str) -> None:
    page = visit(path, user="admin")
    expect(page.locator(".df-fleet tbody tr").first).to_be_visible()
    beyond = "table => table.scrollWidth - table.parentElement.clientWidth"
    for width in (1210, 1300, 1440, 1600, 1760, 1920):
        page.set_viewport_size({"width": width, "height": 900})
        wait_until(lambda: page.locator(".df-fleet").evaluate(beyond) <= 0, seconds=30, what=f"room at {width}")


def test_the_fleet_fits_a_telephone(visit: Visit) -> None:
    page = visit(size=(390, 844))
    expect(row(page, "db-01")).to_be_visible()
    photograph(page, "fleet-telephone")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


def test_search_and_cards_narrow_and_the_address_says_so(visit: Visit) -> None:
    page = visit()
    page.get_by_role("searchbox").fill("kassa")
    expect(page.locator(".df-fleet tbody tr")).to_have_count(1)
    expect(page).to_have_url(re.compile(r"\?q=kassa$"))
    page.get_by_role("searchbox").fill("")
    expect(page.locator(".df-fleet tbody tr")).to_have_count(50)
    page.get_by_role("button", name="Offline").click()
    expect(page.locator(".df-fleet tbody tr")).to_have_count(1)
    expect(page).to_have_url(re.compile(r"\?status=offline$"))
    expect(page.locator(".df-card[data-code=offline]")).to_have_attribute("aria-pressed", "true")
    page.reload()
    expect(page.locator(".df-fleet tbody tr")).to_have_count(1)
    assert machines(page) == ["kassa7"]


def test_health_narrows_and_no_match_can_be_cleared(visit: Visit) -> None:
    page = visit("/?q=kassa", scheme="dark")
    expect(row(page, "till-7")).to_be_visible()
    page.get_by_role("button", name="Critical").click()
    expect(page.get_by_role("heading", name="No machine matches")).to_be_visible()
    expect(page).to_have_url(re.compile(r"\?q=kassa&health=critical$"))
    photograph(page, "fleet-no-match-dark")
    page.get_by_role("button", name="Clear filters").click()
    expect(page.locator(".df-fleet tbody tr")).to_have_count(50)
    expect(page.get_by_role("searchbox")).to_have_value("")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_chosen_system_narrows_the_table_and_the_address_can_be_loaded_again(visit: Visit, scheme: str) -> None:
    page = visit(scheme=scheme)
    page.get_by_role("button", name="Filters").click()
    page.get_by_role("combobox", name="Operating system").click()
    expect(page.get_by_role("option", name="<script>alert(2)</script>")).to_be_visible()
    page.get_by_role("option", name="FreeBSD").click()
    expect(page.locator(".df-fleet tbody tr")).to_have_count(1)
    expect(page).to_have_url(re.compile(r"\?os=FreeBSD$"))
    expect(page.get_by_role("combobox", name="Operating system")).to_be_visible()
    photograph(page, f"fleet-filters-{scheme}")
    page.reload()
    expect(page.get_by_role("button", name="Filters (1)")).to_be_visible()
    expect(page.locator(".df-fleet tbody tr")).to_have_count(1)
    assert machines(page) == ["nas"]
    page.get_by_role("button", name="Filters (1)").click()
    page.get_by_role("button", name="Clear filters").click()
    expect(page.locator(".df-fleet tbody tr")).to_have_count(50)
    expect(page.get_by_role("button", name="Filters (1)")).to_have_count(0)


def test_a_label_has_a_column_and_a_click_on_its_value_narrows_until_it_is_removed(visit: Visit) -> None:
    page = visit("/?columns=site&q=site=paris")
    expect(page.get_by_role("columnheader", name="site")).to_be_visible()
    row(page, "db-01").get_by_role("button", name="paris").click()
    expect(page).to_have_url(re.compile(r"label=site%3Dparis.*columns=site|columns=site.*label=site%3Dparis"))
    photograph(page, "fleet-label-column")
    page.get_by_role("searchbox").fill("")
    chip = page.get_by_role("button", name="site: paris")
    expect(chip).to_be_visible()
    chip.click()
    expect(page.locator(".df-fleet tbody tr")).to_have_count(50)
    expect(page).to_have_url(re.compile(r"\?columns=site$"))
    header = page.get_by_role("columnheader", name="site")
    header.get_by_role("button").click()
    expect(header).to_have_attribute("aria-sort", "ascending")
    expect(page).to_have_url(re.compile("sort=label-site"))
    expect(page.locator(".df-fleet tbody tr").first).to_contain_text("lyon")
    photograph(page, "fleet-label-sorted")


def test_readings_and_lists_have_columns_that_the_browser_remembers(visit: Visit) -> None:
    page = visit("/")
    page.get_by_role("button", name="Filters").click()
    page.get_by_role("combobox", name="Readings and lists with a column").fill("File system")
    page.get_by_role("option", name="File system: Disk, highest").click()
    header = page.get_by_role("columnheader", name="File system: Disk, highest")
    expect(page).to_have_url(re.compile("readings=series-disk_used_percent"))
    page.keyboard.press("Escape")
    page.keyboard.press("Escape")  # the list, then what it is in: meanwhile the table is hidden from screen readers
    expect(header).to_be_visible()
    header.get_by_role("button").click()
    expect(header).to_have_attribute("aria-sort", "descending")
    expect(page.locator(".df-fleet tbody tr").first).to_contain_text("nas")
    expect(page.locator(".df-fleet tbody tr").first.locator(".df-col-series-disk_used_percent")).to_contain_text("%")
    photograph(page, "fleet-chosen-columns")
    page.goto(page.url.partition("?")[0])
    expect(page.get_by_role("columnheader", name="File system: Disk, highest")).to_be_visible()


def test_a_hostile_choice_in_an_address_is_text(visit: Visit) -> None:
    page = visit("/?os=![x](http://evil.example/x.png),**b** :red[c],<img src=z onerror=alert(5)>", scheme="dark")
    page.get_by_role("button", name="Filters (3)").click()
    chosen = page.get_by_test_id("stMultiSelect").first
    for text in ("![x](http://evil.example/x.png)", "**b** :red[c]", "<img src=z onerror=alert(5)>"):
        expect(chosen.get_by_text(text, exact=True).first).to_be_visible()
    photograph(page, "fleet-filters-hostile-dark")


def test_a_header_sorts_the_whole_fleet_and_pages_follow(visit: Visit) -> None:
    page = visit()
    header = page.get_by_role("columnheader", name="Machine")
    header.get_by_role("button").click()
    expect(header).to_have_attribute("aria-sort", "ascending")
    expect(page.locator(".df-fleet tbody .df-name").nth(1)).to_have_text("build-3")
    header.get_by_role("button").click()
    expect(header).to_have_attribute("aria-sort", "descending")
    expect(page.locator(".df-fleet tbody .df-name").first).to_have_text("web-paris")
    expect(page).to_have_url(re.compile(r"sort=machine&dir=desc"))
    page.get_by_role("button", name="Page 2").click()
    expect(page.locator(".df-fleet tbody tr")).to_have_count(16)
    expect(page).to_have_url(re.compile(r"page=2"))
    assert machines(page)[-1].startswith("<img")


def test_figures_move_but_rows_scroll_and_focus_stay(visit: Visit, fleet: Fleet) -> None:
    page = visit("/?sort=cpu&dir=desc")
    expect(page.locator(".df-fleet tbody tr")).to_have_count(50)
    before = machines(page)
    page.get_by_role("searchbox").focus()
    page.locator("[data-testid=stMain]").evaluate("main => main.scrollTop = 300")
    key = _key(fleet, "db-01")
    fleet.set(key, cpu_percent=3.0)
    expect(row(page, "db-01")).to_contain_text("3 %")
    assert machines(page) == before
    assert page.locator("[data-testid=stMain]").evaluate("main => main.scrollTop") == 300
    expect(page.get_by_role("searchbox")).to_be_focused()
    page.get_by_role("button", name=re.compile("Re-sort")).click()
    expect(page.locator(".df-fleet tbody .df-name").first).to_have_text("db-02")
    fleet.set(key, cpu_percent=97.0)


def test_a_row_opens_its_machine_and_back_keeps_the_filters(visit: Visit) -> None:
    page = visit("/?q=paris&sort=machine")
    page.locator(".df-fleet tbody tr", has_text="web-paris").locator("td").nth(4).click()
    expect(page.get_by_role("heading", name="web-paris.example.org")).to_be_visible()
    assert page.url.endswith("/machine?id=web-paris")
    page.get_by_role("link", name="Fleet").last.click()
    expect(page.get_by_role("searchbox")).to_have_value("paris")
    expect(page).to_have_url(re.compile(r"\?q=paris&sort=machine$"))


_THERE_AND_BACK: Final = """async () => {
  const until = find => new Promise(done => {
    const look = () => { const found = find(); found ? done(found) : requestAnimationFrame(look) }
    look()
  })
  const rows = () => [...document.querySelectorAll('.df-fleet tbody tr')]
  const row = await until(() => rows().find(row => row.textContent.includes('web-paris')))
  row.querySelectorAll('td')[4].click()
  const back = await until(() => document.querySelector('.st-key-back a'))
  back.click()
}"""


def test_who_comes_back_before_the_machine_is_drawn_finds_the_filters_as_they_were(visit: Visit) -> None:
    page = visit("/?q=paris&sort=machine")
    for _ in range(5):
        page.evaluate(_THERE_AND_BACK)
        expect(page).to_have_url(re.compile(r"\?q=paris&sort=machine$"))
        expect(page.get_by_role("searchbox")).to_have_value("paris")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_machine_shows_its_history_with_the_gap_where_nothing_was_measured(visit: Visit, scheme: str) -> None:
    page = visit("/machine?id=web-paris&range=6h", scheme=scheme)
    chart = page.locator(".st-key-card_usage canvas").first
    expect(chart).to_be_visible()
    expect(page.get_by_role("heading", name="Fan speed")).to_be_visible()
    expect(page.get_by_role("table", name="Events").get_by_role("link", name="the connection was lost")).to_be_visible()
    page.get_by_role("tab", name="Samples").click()
    expect(page.locator(".st-key-card_ledger")).to_contain_text("20,160")
    line = (0x2F, 0x5F, 0xD0) if scheme == "light" else (0x7A, 0xA5, 0xFF)
    gap = wait_until(lambda: _widest_gap(chart.screenshot(), line), what="the chart")
    assert 0.06 < gap < 0.14  # 36 minutes of 6 hours
    photograph(page, f"machine-{scheme}")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_month_is_averages_with_a_band_and_its_gap(visit: Visit, scheme: str) -> None:
    page = visit("/machine?id=web-paris&range=6h", scheme=scheme)
    page.get_by_role("radio", name="30 days").click()
    expect(page).to_have_url(re.compile(r"range=30d$"))
    expect(page.get_by_text("Lines are averages")).to_be_visible()
    alt = "CPU, memory and disk over the chosen time: average, lowest and highest"
    expect(page.get_by_role("img", name=alt)).to_be_visible()
    chart = page.locator(".st-key-card_usage canvas").first
    line = (0x2F, 0x5F, 0xD0) if scheme == "light" else (0x7A, 0xA5, 0xFF)
    gap = wait_until(lambda: _widest_gap(chart.screenshot(), line), what="the chart")
    assert 0.06 < gap < 0.14  # 3 days of 30
    photograph(page, f"machine-month-{scheme}")


def test_a_hostile_machine_is_only_text(visit: Visit) -> None:
    page = visit("/?q=evil")
    expect(row(page, "evil")).to_contain_text("<img src=x onerror=alert(1)>")
    row(page, "evil").get_by_role("link").click()
    expect(page.get_by_role("heading", name="<img src=x")).to_be_visible()
    expect(page.locator(".df-tag", has_text="a: <b onclick=alert(3)>b</b>")).to_be_visible()
    chart = page.locator("[class*=st-key-card_extra] canvas").first
    chart.hover()
    expect(page.get_by_text("<img src=y onerror=alert(4)>").last).to_be_visible()
    expect(page.get_by_text("1,000").last).to_be_visible()
    assert page.locator("img[src='x'], img[src='y']").count() == 0


def test_an_unverified_machine_carries_a_question_mark(visit: Visit) -> None:
    page = visit("/?q=unsure")
    chip = row(page, "unsure").get_by_text("Online?")
    expect(chip).to_have_attribute("title", re.compile("Unverified"))


def test_a_silent_ingestor_is_announced_while_one_looks_and_so_is_its_return(visit: Visit, fleet: Fleet) -> None:
    page = visit()
    expect(row(page, "db-01")).to_be_visible()
    expect(page.locator(".df-banner")).to_have_count(0)
    fleet.beat(fleet.now - 60_000)
    expect(page.locator(".df-banner")).to_contain_text("The ingestor has not reported since")
    photograph(page, "fleet-silent-light")
    fleet.beat(fleet.now + 86_400_000)
    expect(page.locator(".df-banner")).to_have_count(0)


def test_an_empty_fleet_shows_its_first_machine_by_itself(visit: Visit, fleet: Fleet) -> None:
    page = visit(user="newcomer")
    expect(page.get_by_role("heading", name="No machines yet")).to_be_visible()
    photograph(page, "fleet-empty-light")
    fleet.machine("first", org="fresh")
    expect(row(page, "first")).to_be_visible()
    expect(page.get_by_role("searchbox")).to_be_visible()
    assert machines(page) == ["first"]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_problems_say_what_is_wrong_with_which_machine_and_lead_there(visit: Visit, scheme: str) -> None:
    page = visit("/problems", scheme=scheme)
    rows = page.locator(".df-fleet tbody tr")
    expect(rows).to_have_count(4)
    links = page.get_by_test_id("stSidebar")
    expect(links.get_by_role("link", name="Problems")).to_have_attribute("data-count", "4")
    expect(links.get_by_role("link", name="Fleet")).to_have_attribute("data-count", "6")
    expect(rows.first).to_contain_text("Disk nearly full")
    expect(rows.first).to_contain_text("Critical")
    expect(rows.nth(2)).to_contain_text("Two machines use the identity of <b>db-02</b>")
    photograph(page, f"problems-{scheme}")
    page.get_by_role("radio", name="Resolved").click()
    expect(rows).to_have_count(3)
    page.get_by_role("searchbox").fill("web-001")
    expect(rows).to_have_count(1)
    expect(rows).to_contain_text("12 of 60 machines stopped reporting at the same time: web-001, web-002")
    expect(page).to_have_url(re.compile(r"/problems\?state=resolved&q=web-001$"))
    rows.locator("td").first.click()
    expect(page.get_by_role("heading", name="Machines stopped reporting at the same time")).to_be_visible()
    expect(page.locator(".df-fleet tbody tr")).to_have_count(2)
    photograph(page, f"problem-{scheme}")
    page.get_by_role("link", name="Problems", exact=True).first.click()
    expect(page.get_by_role("searchbox")).to_have_value("web-001")


@pytest.mark.parametrize("former", ["alerts", "incidents"])
def test_a_former_address_leads_to_the_problems(visit: Visit, former: str) -> None:
    page = visit(f"/{former}?severity=critical")
    expect(page.locator(".df-fleet tbody tr")).to_have_count(1)
    assert page.url.endswith("/problems?severity=critical")
    page.locator(".df-fleet tbody td").nth(2).click()
    expect(page.get_by_role("heading", name="nas", exact=True)).to_be_visible()
    expect(page.locator(".st-key-card_problems li")).to_contain_text("Disk nearly full · 99 %")


def test_another_organisations_machine_does_not_exist(visit: Visit) -> None:
    page = visit("/machine?id=nas", user="newcomer")
    expect(page.get_by_role("heading", name="Machine not found")).to_be_visible()


def test_signing_out_in_one_tab_ends_the_other(visit: Visit) -> None:
    page = visit(user="")
    page.get_by_label("User").fill("admin")
    page.get_by_label("Password").fill(PASSWORD)
    page.keyboard.press("Enter")
    expect(row(page, "db-01")).to_be_visible()
    other = page.context.new_page()
    other.goto(page.url)
    expect(row(other, "db-01")).to_be_visible()
    other.get_by_role("button", name="Sign out").click()
    expect(other.get_by_label("Password")).to_be_visible()
    expect(page.get_by_label("Password")).to_be_visible()


def _key(fleet: Fleet, name: str) -> int:
    with fleet.engine.connect() as connection:
        return int(connection.execute(select(machine.c.id).where(machine.c.name == name)).scalar_one())


def _widest_gap(png: bytes, line: tuple[int, int, int]) -> float:
    """Return the widest gap in the line's colour, as a share of the whole line."""
    image = Image.open(io.BytesIO(png)).convert("RGB")
    below_legend = 40
    columns = [
        any(_near(image.getpixel((x, y)), line) for y in range(below_legend, image.height)) for x in range(image.width)
    ]
    drawn = [x for x, has in enumerate(columns) if has]
    if len(drawn) < image.width / 2:
        return 0.0
    return max(b - a for a, b in pairwise(drawn)) / (drawn[-1] - drawn[0])


def _near(pixel: object, line: tuple[int, int, int]) -> bool:
    return isinstance(pixel, tuple) and all(abs(a - b) < 60 for a, b in zip(pixel, line, strict=False))


def test_a_dashboard_that_stops_is_announced_and_comes_back_by_itself(visit: Visit, dashboard: Dashboard) -> None:
    page = visit("/?q=db")
    expect(row(page, "db-01")).to_be_visible()
    assert dashboard.stop() in (0, -signal.SIGTERM)
    assert not listens(dashboard.port)
    lost = page.get_by_text("No connection to the dashboard since")
    expect(lost).to_be_visible(timeout=60_000)
    dashboard.start()
    expect(lost).to_have_count(0, timeout=60_000)
    expect(page.get_by_role("searchbox")).to_have_value("db")
    expect(row(page, "db-01")).to_contain_text("97 %")
