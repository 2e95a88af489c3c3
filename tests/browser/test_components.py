"""Every component in `dashboard/widgets/assets/`, drawn twice in a real browser: the focus stays with its entry, and a
click sends the entry's id, though others came, went and moved in between.

The components run alone, without Streamlit: no refresh comes between a step and the next one.
"""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from playwright.sync_api import Page

from dashboard.fleet import strip, tile_map
from dashboard.pages import fleet as fleet_page
from dashboard.widgets import cells, component, table
from dashboard.widgets.asset_files import ASSETS

Visit = Callable[..., Page]

MOUNT = """async ([address, html]) => {
  const { default: draw } = await import(address);
  document.body.innerHTML = `<div id="here">${html}</div><button id="elsewhere">Elsewhere</button>`;
  const parentElement = document.getElementById("here");
  window.sent = [];
  const tell = (name, value) => sent.push([name, value]);
  window.draw = (data) => draw({ data, parentElement, setTriggerValue: tell, setStateValue: tell });
}"""


@dataclass(frozen=True)
class Case:
    """A component: data before and after, with the entry `control` in another place, and what a click on it sends."""

    name: str
    html: str
    before: dict[str, Any]
    after: dict[str, Any]
    control: str
    sends: tuple[str, Any]


def rows_of(*names: str, label: str = "site=paris") -> dict[str, Any]:
    """Return the data of a table with a row for each name."""
    shown = [
        cells.row(each, f"/machine?id={each}", cells.name(each.upper()), cells.tags([label], [label])) for each in names
    ]
    columns = [{"code": "machine", "label": "Machine", "sorted": "none"}, {"code": "labels", "label": "Labels"}]
    texts = {"name": "Machines", "tick_all": "all", "tick": "Select {machine}", "total": len(names)}
    ticks = {"revision": 0, "selected": []}
    return {**texts, "columns": columns, **table.packed(shown), "order_age": 0, "outdated": False, "ticks": ticks}


def cards_of(*codes: str) -> dict[str, Any]:
    shown = [{"code": each, "label": each, "tone": "plain", "count": "1", "pressed": False} for each in codes]
    return {"name": "Cards", "cards": shown}


def links_of(*addresses: str) -> dict[str, Any]:
    return {"name": "Strip", "links": [{"text": each, "tone": "bad", "href": each} for each in addresses]}


BEFORE, AFTER = ("a", "b", "c", "d"), ("new", "c", "a", "d")
"""The ids before and after; the focus is on `c`."""

CASES = [
    Case("cards", fleet_page._CARDS_HTML, cards_of(*BEFORE), cards_of(*AFTER), "[data-code=c]", ("pressed", "c")),
    Case(
        "strip",
        strip._HTML,
        links_of(*(f"/machine?id={each}" for each in BEFORE)),
        links_of(*(f"/machine?id={each}" for each in AFTER)),
        "[data-opens$='=c'] a",
        ("opened", "/machine?id=c"),
    ),
    Case("table", table._HTML, rows_of(*BEFORE), rows_of(*AFTER), "[data-id=c] a", ("opened", "c")),
    Case(
        "table",
        table._HTML,
        rows_of(*BEFORE),
        rows_of(*AFTER),
        "[data-id=c] input",
        ("ticks", {"revision": 0, "changes": {"c": True}}),
    ),
    Case(
        "table",
        table._HTML,
        rows_of(*BEFORE),
        rows_of(*AFTER, label="site=lyon"),  # the cell with the focus is drawn again
        "[data-id=c] button",
        ("picked", "site=lyon"),
    ),
]

WITHOUT_ENTRIES = {
    "chart_range": "sends times, see test_daily_questions.py",
    "live": "shows readings, and sends nothing",
    "map_names": "holds names for the map, and sends nothing",
}


@pytest.fixture
def page(visit: Visit) -> Page:
    return visit("/readyz")


def drawn(page: Page, name: str, html: str, *data: dict[str, Any]) -> None:
    page.evaluate(MOUNT, [component.address(name), html])
    for each in data:
        page.evaluate("data => draw(data)", each)


def test_every_component_is_tested_here() -> None:
    defined = {path.stem for path in ASSETS.glob("*.js") if re.search(r"^export default", path.read_text(), re.M)}
    tested = {case.name for case in CASES} | {"map"}
    assert defined == tested | WITHOUT_ENTRIES.keys()
    for name in WITHOUT_ENTRIES.keys() - {"chart_range"}:
        assert "setTriggerValue" not in (ASSETS / f"{name}.js").read_text()


def test_the_focus_and_a_click_stay_with_an_entry_whatever_its_place(page: Page) -> None:
    for case in CASES:
        drawn(page, case.name, case.html, case.before)
        page.locator(f"#here {case.control}").focus()
        page.evaluate("data => draw(data)", case.after)
        focused = page.evaluate("selector => document.activeElement === document.querySelector(selector)", case.control)
        assert focused, (case.name, case.control, page.evaluate("document.activeElement.outerHTML.slice(0, 99)"))
        page.keyboard.press("Space" if "input" in case.control else "Enter")
        assert page.evaluate("sent") == [list(case.sends)]


def test_an_entry_that_goes_does_not_give_the_focus_to_another(page: Page) -> None:
    for case in CASES:
        gone = json.loads(json.dumps(case.after).replace('"c"', '"gone"').replace("=c", "=gone"))
        drawn(page, case.name, case.html, case.before)
        page.locator(f"#here {case.control}").focus()
        page.evaluate("data => draw(data)", gone)
        page.keyboard.press("Enter")
        assert page.evaluate("sent") == []


def test_the_map_opens_the_machine_of_the_focused_tile_whatever_its_place(page: Page) -> None:
    def data(names: tuple[str, ...]) -> dict[str, Any]:
        legend = [{"look": "0", "sign": "", "label": "Online", "tone": "good", "count": "4"}]
        shown = {"version": "".join(names), "name": "Map", "hint": "", "details": "/", "remember": "", "cookie": "c"}
        return {**shown, "looks": "0000", "legend": legend, "groups": [{"title": "", "count": 4}]}

    drawn(page, "map", tile_map._HTML + tile_map._NAMES_HTML)
    for names in (BEFORE, AFTER):
        told = {"version": "".join(names), "names": names, "titles": names}
        page.evaluate("told => { document.querySelector('.df-map-names').tiles = told; }", told)
        page.evaluate("data => draw(data)", data(names))
        if names is BEFORE:
            page.locator(".df-map-field").focus()
            for _ in range(2):
                page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    assert page.evaluate("sent") == [["opened", "c"]]
