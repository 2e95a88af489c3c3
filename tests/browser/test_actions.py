"""Actions from the dashboard in a real browser: selection, dialog, progress, activity, and missing permission."""

import re
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from answering import Answerer
from brokers import RunningBroker
from playwright.sync_api import Locator, Page, WebSocket, expect
from seeding import Fleet
from sqlalchemy import delete, select
from visiting import elsewhere
from waiting import wait_until

from schemas.contract.commands import Act, Order
from schemas.database import tables

Visit = Callable[..., Page]
SCREENSHOTS = Path(__file__).parents[2] / "screenshots"


def photograph(page: Page, name: str) -> None:
    SCREENSHOTS.mkdir(exist_ok=True)
    page.screenshot(path=SCREENSHOTS / f"{name}.png")


def box(page: Page, name: str) -> Locator:
    return page.get_by_role("checkbox", name=f"Select {name}", exact=True)


def ticked(page: Page) -> list[str]:
    """Return the ids of the ticked rows."""
    rows: list[str] = page.locator(".df-fleet tbody tr[aria-selected=true]").evaluate_all(
        "rows => rows.map(row => row.dataset.id)"
    )
    return rows


def ids(page: Page) -> list[str]:
    """Return the ids of the rows in display order."""
    rows: list[str] = page.locator(".df-fleet tbody tr").evaluate_all("rows => rows.map(row => row.dataset.id)")
    return rows


def moved(page: Page, name: str, before: int) -> bool:
    return ids(page).index(name) != before


def ready(page: Page) -> None:
    expect(page.locator(".df-fleet tbody tr").first).to_be_visible()


def orders(answerer: Answerer) -> list[Order]:
    """Return the orders published since the test began."""
    acts = [request.change for request in answerer.heard if isinstance(request.change, Act)]
    return [Order.model_validate_json(signed.statement) for act in acts for signed in act.orders]


@pytest.fixture(autouse=True)
def _nothing_asked_before(fleet: Fleet) -> None:
    with fleet.engine.begin() as connection:
        connection.execute(delete(tables.command_transition))
        connection.execute(delete(tables.command))
        connection.execute(delete(tables.request))


def choose(page: Page, *names: str) -> Locator:
    """Tick machines and open the dialog."""
    ready(page)
    for name in names:
        box(page, name).check()
    page.get_by_role("button", name="Run action …").click()
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_text("Action", exact=True)).to_be_visible()
    return dialog


def pick(page: Page, dialog: Locator, title: str) -> None:
    dialog.get_by_role("combobox", name=re.compile("Action")).click()
    page.get_by_role("option", name=title, exact=True).click()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_two_machines_are_chosen_asked_and_seen_to_succeed(visit: Visit, answerer: Answerer, scheme: str) -> None:
    page = visit(user="olga", scheme=scheme)
    ready(page)
    box(page, "db-01").check()
    box(page, "db-02").check()
    expect(page.locator(".df-selected")).to_contain_text("2 selected")
    photograph(page, f"actions-selection-{scheme}")
    page.get_by_role("button", name="Run action …").click()
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_role("listitem").first).to_have_text("db-01")
    pick(page, dialog, "Show a message")
    dialog.get_by_role("textbox", name="Text").fill("Back at <b>five</b>")
    photograph(page, f"actions-form-{scheme}")
    dialog.get_by_role("button", name="Continue").click()
    send = dialog.get_by_role("button", name="Show a message: 2 machines")
    expect(send).to_be_enabled()
    expect(dialog.get_by_role("definition").first).to_have_text("Back at <b>five</b>")
    photograph(page, f"actions-confirm-{scheme}")
    send.click()
    expect(dialog.get_by_text("2 Succeeded")).to_be_visible()
    photograph(page, f"actions-progress-{scheme}")
    assert [(order.machine, order.action) for order in orders(answerer)] == [("db-01", "message"), ("db-02", "message")]
    assert orders(answerer)[0].arguments == {"text": "Back at <b>five</b>", "urgency": "normal", "sound": False}
    assert answerer.heard[0].actor == "olga"
    dialog.get_by_role("link", name="Activity").click()
    expect(page.get_by_role("heading", name="message: 2 machines")).to_be_visible()
    photograph(page, f"activity-batch-{scheme}")


def test_the_bar_is_in_sight_when_something_is_ticked(visit: Visit) -> None:
    page = visit(user="olga")
    ready(page)
    box(page, "db-01").check()
    expect(page.get_by_role("button", name="Run action …")).to_be_in_viewport()


def test_a_selection_names_the_same_machines_while_rows_change_their_order(visit: Visit, fleet: Fleet) -> None:
    page = visit("/?sort=cpu&dir=desc", user="olga")
    ready(page)
    for name in ("db-01", "nas"):
        box(page, name).click()
    positions = set()
    try:
        for percent in (60.0, 50.0, 99.0, 40.0):
            set_cpu(fleet, "db-01", percent)
            expect(page.locator(".df-fleet tr[data-id=db-01]")).to_contain_text(f"{percent:.0f} %")
            before = ids(page).index("db-01")
            page.get_by_role("button", name=re.compile("Re-sort")).click()
            wait_until(partial(moved, page, "db-01", before), what="another place in the order")
            positions.add(ids(page).index("db-01"))
            assert sorted(ticked(page)) == ["db-01", "nas"]
        assert len(positions) == 4, "it was in four places"
        page.get_by_role("searchbox").fill("web-0")
        expect(page.locator(".df-fleet tr[data-id=db-01]")).to_have_count(0)
        expect(page.locator(".df-selected")).to_contain_text("2 selected")
        assert ticked(page) == []
        page.get_by_role("searchbox").fill("")
        page.locator(".df-fleet tbody tr").nth(7).get_by_role("link").click()
        expect(page.get_by_role("button", name="Run action …")).to_be_visible()
        page.get_by_role("link", name="Fleet").last.click()
        ready(page)
        expect(page.locator(".df-selected")).to_contain_text("2 selected")
        page.get_by_role("button", name="Run action …").click()
        named = page.get_by_role("dialog").get_by_role("listitem")
        expect(named).to_have_text(["db-01", "nas"])
    finally:
        set_cpu(fleet, "db-01", 97.0)


def set_cpu(fleet: Fleet, name: str, percent: float) -> None:
    with fleet.engine.connect() as connection:
        key = connection.execute(select(tables.machine.c.id).where(tables.machine.c.name == name)).scalar_one()
    fleet.set(key, cpu_percent=percent)


def test_everything_that_matches_can_be_selected_and_cleared_and_ticked_quickly(visit: Visit) -> None:
    page = visit("/?q=web", user="olga")
    ready(page)
    for name in ("web-000", "web-001", "web-002", "web-003"):
        box(page, name).click(no_wait_after=True)
    expect(page.locator(".df-selected")).to_contain_text("4 selected")
    page.get_by_role("button", name="Select all 59 that match").click()
    expect(page.locator(".df-selected")).to_contain_text("59 selected")
    expect(page.get_by_role("checkbox", name="Select all on this page")).to_be_checked()
    box(page, "web-003").uncheck()
    expect(page.locator(".df-selected")).to_contain_text("58 selected")
    page.get_by_role("button", name="Clear", exact=True).click()
    expect(page.locator(".df-selected")).to_have_count(0)
    assert ticked(page) == []
    page.get_by_role("checkbox", name="Select all on this page").check()
    expect(page.locator(".df-selected")).to_contain_text("50 selected")


def test_rebooting_one_needs_its_name_and_several_their_number(visit: Visit, answerer: Answerer) -> None:
    page = visit(user="olga", scheme="dark")
    dialog = choose(page, "db-01")
    pick(page, dialog, "Reboot")
    dialog.get_by_role("button", name="Continue").click()
    send = dialog.get_by_role("button", name="Reboot: 1 machine")
    expect(send).to_be_disabled()
    dialog.get_by_role("textbox").fill("db-0")
    expect(send).to_be_disabled()
    photograph(page, "actions-reboot-dark")
    dialog.get_by_role("textbox").fill("db-01")
    send.click()
    expect(dialog.get_by_text("1 Succeeded")).to_be_visible()
    assert [(order.machine, order.action, order.arguments) for order in orders(answerer)] == [
        ("db-01", "reboot", {"delay_minutes": 1})
    ]


def test_what_not_all_allow_is_not_offered_and_says_why(visit: Visit) -> None:
    page = visit(user="olga")
    dialog = choose(page, "db-01", "nas")
    dialog.get_by_text("Not available: 1").click()
    expect(dialog.get_by_text("Reboot: not allowed by nas")).to_be_visible()
    dialog.get_by_role("combobox", name=re.compile("Action")).click()
    expect(page.get_by_role("option")).to_have_text(["Ping", "Show a message"])


def test_a_wrong_argument_is_named_and_going_back_keeps_what_was_written(visit: Visit, answerer: Answerer) -> None:
    page = visit(user="olga")
    dialog = choose(page, "db-01")
    pick(page, dialog, "Show a message")
    dialog.get_by_role("button", name="Continue").click()
    expect(dialog.get_by_text("Text is missing")).to_be_visible()
    dialog.get_by_role("textbox", name="Text").fill("Soon")
    dialog.get_by_role("button", name="Continue").click()
    dialog.get_by_role("button", name="Back").click()
    expect(dialog.get_by_role("textbox", name="Text")).to_have_value("Soon")
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)
    assert not answerer.heard


def test_failures_come_first_with_the_reason_and_the_output_is_text(visit: Visit, answerer: Answerer) -> None:
    hostile = "<img src=x onerror=alert(1)>"

    def ending(order: dict[str, object]) -> dict[str, object]:
        if order["machine"] == "db-02":
            return {"state": "failed", "detail": hostile, "exit_code": 3, "output": f"{hostile}\n```\n# no heading"}
        return {"state": "succeeded"}

    answerer.ending = ending
    page = visit(user="olga")
    dialog = choose(page, "db-01", "db-02")
    pick(page, dialog, "Ping")
    dialog.get_by_role("button", name="Continue").click()
    dialog.get_by_role("button", name="Ping: 2 machines").click()
    expect(dialog.get_by_role("rowheader").first).to_have_text("db-02")
    expect(dialog.get_by_text(hostile)).to_be_visible()
    photograph(page, "actions-failed-light")
    dialog.get_by_role("link", name="Activity").click()
    page.get_by_role("link", name="db-02.example.org").click()
    expect(page.get_by_role("heading", name="ping on db-02.example.org")).to_be_visible()
    expect(page.get_by_text("# no heading")).to_be_visible()
    photograph(page, "activity-command-light")
    assert page.locator("img[src=x]").count() == 0
    page.get_by_role("link", name="Activity").last.click()
    expect(page.get_by_role("cell", name="1 Failed")).to_be_visible()
    photograph(page, "activity-light")
    page.get_by_text("Succeeded", exact=True).first.click()
    expect(page).to_have_url(re.compile("outcome=succeeded"))
    page.get_by_role("searchbox").fill("nobody")
    expect(page.get_by_role("heading", name="No matches")).to_be_visible()


def test_a_refused_request_says_so(visit: Visit, answerer: Answerer) -> None:
    answerer.refusal = "too many wait already"
    page = visit(user="olga")
    dialog = choose(page, "db-01")
    pick(page, dialog, "Ping")
    dialog.get_by_role("button", name="Continue").click()
    dialog.get_by_role("button", name="Ping: 1 machine").click()
    expect(dialog.get_by_text("too many wait already")).to_be_visible()


def test_what_is_not_recorded_yet_is_shown_as_on_its_way(visit: Visit, answerer: Answerer) -> None:
    answerer.silent = True
    page = visit(user="olga")
    dialog = choose(page, "db-01")
    pick(page, dialog, "Ping")
    dialog.get_by_role("button", name="Continue").click()
    dialog.get_by_role("button", name="Ping: 1 machine").click()
    expect(dialog.get_by_text("1 Sending")).to_be_visible()
    answerer.silent = False
    expect(dialog.get_by_text("1 Succeeded")).to_be_visible(timeout=60_000)
    assert len(orders(answerer)) == 1


WATCH_CLOSE = """() => {
  window.places = [];
  const look = () => {
    const button = document.querySelector(".stDialog [class*=st-key-dialog-][class*=-close] button");
    const left = button && button.getBoundingClientRect().left;
    if (button && window.places.at(-1) !== left) window.places.push(left);
    requestAnimationFrame(look);
  };
  look();
}"""


def test_the_button_that_closes_the_dialog_does_not_move_aside_under_a_click(visit: Visit) -> None:
    """Streamlit keeps the former buttons of the row for a while: they must not push the new one aside."""
    page = visit("/machine?id=db-02", user="olga")
    page.get_by_role("button", name="Run action …").click()
    dialog = page.get_by_role("dialog")
    pick(page, dialog, "Ping")
    dialog.get_by_role("button", name="Continue").click()
    page.evaluate(WATCH_CLOSE)
    dialog.get_by_role("button", name="Ping: 1 machine").click()
    expect(dialog.get_by_text("1 Succeeded")).to_be_visible()
    dialog.locator("[class*=st-key-dialog-][class*=-close] button").focus()
    expect(dialog.get_by_role("button", name="Ping: 1 machine")).to_have_count(0)
    assert len(page.evaluate("window.places")) == 1


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_machines_page_acts_on_it_and_lists_its_last_commands(visit: Visit, scheme: str) -> None:
    page = visit("/machine?id=db-02", user="olga", scheme=scheme)
    page.get_by_role("button", name="Run action …").click()
    dialog = page.get_by_role("dialog")
    pick(page, dialog, "Ping")
    dialog.get_by_role("button", name="Continue").click()
    dialog.get_by_role("button", name="Ping: 1 machine").click()
    expect(dialog.get_by_text("1 Succeeded")).to_be_visible()
    dialog.locator("[class*=st-key-dialog-][class*=-close] button").click()  # not the cross, which has the same name
    expect(page.get_by_role("dialog")).to_have_count(0)
    photograph(page, f"machine-acting-{scheme}")
    commands = page.get_by_role("table", name="Events")
    commands.scroll_into_view_if_needed()
    expect(commands.get_by_role("row", name=re.compile("Succeeded Command: Ping")).first).to_be_visible()
    photograph(page, f"machine-commands-{scheme}")
    commands.get_by_role("link", name="Details").first.click()
    expect(page.get_by_role("heading", name="ping on db-02.example.org")).to_be_visible()


def test_what_waits_can_be_taken_back_by_an_operator(visit: Visit, answerer: Answerer) -> None:
    answerer.ending = lambda _: {"state": "queued", "ended_at": None}
    page = visit("/machine?id=db-01", user="olga")
    page.get_by_role("button", name="Run action …").click()
    dialog = page.get_by_role("dialog")
    pick(page, dialog, "Ping")
    dialog.get_by_role("button", name="Continue").click()
    dialog.get_by_role("button", name="Ping: 1 machine").click()
    expect(dialog.get_by_text("1 Waiting")).to_be_visible()
    dialog.get_by_role("link", name="Activity").click()
    page.get_by_role("button", name="Cancel pending").click()
    expect(page.get_by_role("cell", name="Cancelled")).to_be_visible()


# Without permission.


def test_a_viewer_sees_no_way_to_act(visit: Visit, answerer: Answerer) -> None:
    page = visit(user="vera")
    ready(page)
    assert page.get_by_role("checkbox").count() == 0
    page.goto(page.url.rstrip("/") + "/machine?id=db-01")
    expect(page.get_by_role("heading", name="db-01.example.org")).to_be_visible()
    assert page.get_by_role("button", name="Run action").count() == 0
    page.get_by_role("link", name="Activity").click()
    expect(page.get_by_role("heading", name="No actions yet")).to_be_visible()
    photograph(page, "activity-empty-light")
    assert not answerer.heard


KEEP_SOCKETS = """
window.sockets = [];
const Real = window.WebSocket;
window.WebSocket = class extends Real {
  constructor(...given) { super(...given); window.sockets.push(this); }
};
"""


def replay(page: Page, frames: list[bytes]) -> None:
    """Send recorded frames of another browser, as a client would that forges what its page does not offer."""
    for frame in frames:
        page.evaluate("bytes => window.sockets.at(-1).send(new Uint8Array(bytes))", list(frame))


def test_what_a_viewer_forges_does_nothing(visit: Visit, answerer: Answerer) -> None:
    sent: list[bytes] = []
    page = visit("/readyz", user="olga")

    def record(socket: WebSocket) -> None:
        socket.on("framesent", lambda frame: sent.append(frame if isinstance(frame, bytes) else frame.encode()))

    page.on("websocket", record)
    page.goto(page.url.replace("/readyz", "/"))
    ready(page)
    sent.clear()
    box(page, "db-01").check()
    expect(page.locator(".df-selected")).to_contain_text("1 selected")
    ticking = list(sent)
    dialog = choose(page, "db-01")
    pick(page, dialog, "Ping")
    dialog.get_by_role("button", name="Continue").click()
    dialog.get_by_role("button", name="Ping: 1 machine").click()
    expect(dialog.get_by_text("1 Succeeded")).to_be_visible()
    everything = list(sent)
    answerer.heard.clear()
    for user, frames in (("admin", ticking), ("vera", everything)):
        other = visit("/readyz", user=user)
        other.add_init_script(KEEP_SOCKETS)
        other.goto(other.url.replace("/readyz", "/"))
        ready(other)
        replay(other, frames)
        if user == "admin":  # who may: this shows that the frames arrive
            expect(other.locator(".df-selected")).to_contain_text("1 selected")
    stamp = other.locator(".df-live").inner_text()
    expect(other.locator(".df-live")).not_to_have_text(stamp)
    expect(other.locator(".df-selected")).to_have_count(0)
    expect(other.get_by_role("dialog")).to_have_count(0)
    assert not answerer.heard


def test_a_broker_that_is_away_disables_acting_with_the_reason(visit: Visit, broker: RunningBroker) -> None:
    page = visit(user="olga")
    ready(page)
    box(page, "db-01").check()
    act = page.get_by_role("button", name="Run action …")
    expect(act).to_be_enabled()
    try:
        elsewhere(broker.stop)
        expect(act).to_be_disabled()
        expect(page.locator(".df-why")).to_contain_text("The broker cannot be reached")
        photograph(page, "actions-no-broker-light")
    finally:
        elsewhere(broker.start)
    expect(act).to_be_enabled(timeout=60_000)


def test_an_organisation_without_a_key_is_told_which_command_makes_one(visit: Visit, fleet: Fleet) -> None:
    fleet.machine("mute", org="keyless")
    page = visit("/machine?id=mute", user="keyless")
    expect(page.get_by_role("button", name="Run action …")).to_be_disabled()
    expect(page.get_by_text("dashfleet key create --org keyless")).to_be_visible()
    photograph(page, "machine-without-key-light")
