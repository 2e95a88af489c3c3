"""An action goes to exactly the ticked machines, however often readings and rows change meanwhile.

A few rounds in `make test`, a hundred in `make bench`.
"""

import os
import random
import re
from collections.abc import Callable
from functools import partial

from answering import Answerer
from playwright.sync_api import Page, expect
from seeding import Fleet
from sqlalchemy import select, update
from waiting import wait_until

from schemas.contract.commands import Act, Order
from schemas.database import tables

Visit = Callable[..., Page]
TRIES = 100 if "DASHFLEET_BENCH_SECONDS" in os.environ else 3
IDS = "rows => rows.map(row => row.dataset.id)"


def test_an_action_goes_to_exactly_the_machines_that_were_ticked(
    visit: Visit, fleet: Fleet, answerer: Answerer
) -> None:
    numbers = random.Random(7)  # noqa: S311 - which machines, not a secret
    page = visit("/?q=web-0+lyon&sort=cpu&dir=desc", user="olga")
    expect(page.locator(".df-fleet tbody tr").first).to_be_visible()
    moved = 0
    for _ in range(TRIES):
        answerer.heard.clear()
        wanted = numbers.sample(ids(page), numbers.randint(1, 4))
        for name in wanted:
            shuffle(fleet, numbers)
            if numbers.random() < 0.5:
                before = ids(page)
                page.get_by_role("button", name=re.compile("Re-sort")).click()
                wait_until(partial(differs, page, before), what="another order")
                moved += 1
            page.get_by_role("checkbox", name=f"Select {name}", exact=True).click(no_wait_after=True)
        expect(page.locator(".df-selected")).to_contain_text(f"{len(wanted)} selected")
        ping(page, len(wanted))
        assert sorted(ordered(answerer)) == sorted(wanted)
        page.get_by_role("button", name="Clear", exact=True).click()
        expect(page.locator(".df-selected")).to_have_count(0)
    print(
        f"\n{TRIES} actions, rows in another order {moved} times while they were chosen: none went to another machine"
    )


def ids(page: Page) -> list[str]:
    """Return the ids of the rows in display order."""
    found: list[str] = page.locator(".df-fleet tbody tr").evaluate_all(IDS)
    return found


def differs(page: Page, before: list[str]) -> bool:
    return ids(page) != before


def shuffle(fleet: Fleet, numbers: random.Random) -> None:
    """Change the readings of every machine, so that the order of the table changes."""
    with fleet.engine.begin() as connection:
        keys = connection.execute(
            select(tables.machine.c.id).where(tables.machine.c.name.startswith("web-0"))
        ).scalars()
        for key in keys.all():
            percent = round(numbers.uniform(1, 60), 2)
            connection.execute(update(tables.state).where(tables.state.c.machine_id == key).values(cpu_percent=percent))


def ping(page: Page, count: int) -> None:
    """Run an action from the dialog until it succeeds."""
    page.get_by_role("button", name="Run action …").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_role("combobox", name=re.compile("Action")).click()
    page.get_by_role("option", name="Ping", exact=True).click()
    dialog.get_by_role("button", name="Continue").click()
    machines = "1 machine" if count == 1 else f"{count} machines"
    dialog.get_by_role("button", name=f"Ping: {machines}").click()
    expect(dialog.get_by_text(f"{count} Succeeded")).to_be_visible()
    page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)


def ordered(answerer: Answerer) -> list[str]:
    """Return the machines of all orders that reached the broker."""
    acts = [request.change for request in answerer.heard if isinstance(request.change, Act)]
    return [Order.model_validate_json(signed.statement).machine for act in acts for signed in act.orders]
