"""Acknowledging and silencing alerts, and the page of silences, in the browser."""

from collections.abc import Callable

import pytest
from answering import Answerer
from playwright.sync_api import Page, expect
from screens import grave, photograph, settled
from seeding import Fleet
from sqlalchemy import select
from waiting import wait_until

from schemas.contract.alerts import Acknowledge, AddSilence, EndSilence, Unacknowledge
from schemas.contract.machine_selector import MachineSelector
from schemas.database import tables
from schemas.database.silence_rows import silence_values
from schemas.fleet.silences import Silence

Visit = Callable[..., Page]
PHONE = (390, 844)


def numbers(fleet: Fleet, rule: str) -> list[int]:
    query = select(tables.alert.c.id).join(tables.machine).where(tables.alert.c.rule == rule)
    with fleet.engine.connect() as connection:
        return list(connection.scalars(query.where(tables.machine.c.org_id == fleet.org())))


def seed_silence(fleet: Fleet, reason: str, starts_in: int, lasts: int) -> int:
    """Add a silence of the machines in Paris; the times are milliseconds."""
    silence = Silence(
        MachineSelector(labels={"site": "paris"}),
        fleet.now + starts_in,
        reason=reason,
        ends_at=fleet.now + starts_in + lasts,
        created_at=fleet.now,
        created_by="olga",
    )
    with fleet.engine.begin() as connection:
        home = connection.scalar(select(tables.org.c.id).where(tables.org.c.name == "home"))
        insert = tables.silence.insert().values(org_id=home, **silence_values(silence)).returning(tables.silence.c.id)
        return int(connection.execute(insert).scalar_one())


def last_change(answerer: Answerer, kind: type) -> object:
    """Return the change of the last request of this kind, waiting for it."""

    def heard() -> list[object]:
        return [request.change for request in answerer.heard if isinstance(request.change, kind)]

    wait_until(lambda: bool(heard()), what=f"a request to {kind.__name__}")
    return heard()[-1]


def test_an_operator_acknowledges_a_ticked_alert(visit: Visit, fleet: Fleet, answerer: Answerer) -> None:
    page = visit("/problems", user="olga")
    row = page.locator(".df-fleet tbody tr", has_text="High CPU usage")
    row.locator(".df-col-tick input").check()
    expect(page.locator(".st-key-selection")).to_contain_text("1 alert selected")
    photograph(page, "problems-selected-light")
    page.get_by_role("button", name="Acknowledge …").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("Acknowledge 1 alert")
    dialog.get_by_label("Comment (optional)").fill("I am looking at it")
    settled(page)
    assert grave(page) == []
    photograph(page, "acknowledge-light")
    dialog.get_by_role("button", name="Acknowledge").click()
    expect(dialog).to_contain_text("Done")
    change = last_change(answerer, Acknowledge)
    assert change == Acknowledge(alerts=tuple(numbers(fleet, "cpu")), comment="I am looking at it")


@pytest.mark.parametrize(("scheme", "size"), [("light", (1440, 900)), ("dark", PHONE)])
def test_an_operator_withdraws_an_acknowledgement(
    visit: Visit, fleet: Fleet, answerer: Answerer, scheme: str, size: tuple[int, int]
) -> None:
    (number,) = numbers(fleet, "disk")
    acknowledged = {"acknowledged_at": fleet.now, "acknowledged_by": "ann", "acknowledged_comment": "on my way"}
    mine = tables.alert.update().where(tables.alert.c.id == number)
    with fleet.engine.begin() as connection:
        connection.execute(mine.values(**acknowledged))
    page = visit("/machine?id=nas", user="olga", scheme=scheme, size=size)
    expect(page.get_by_text("Acknowledged by ann").first).to_be_visible()
    photograph(page, f"acknowledged-{scheme}")
    page.get_by_role("button", name="Withdraw acknowledgement …").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("People are reminded of these alerts again")
    settled(page)
    assert grave(page) == []
    photograph(page, f"withdraw-acknowledgement-{scheme}")
    dialog.get_by_role("button", name="Withdraw", exact=True).click()
    expect(dialog).to_contain_text("Done")
    assert last_change(answerer, Unacknowledge) == Unacknowledge(alerts=(number,))
    with fleet.engine.begin() as connection:
        connection.execute(mine.values(**dict.fromkeys(acknowledged)))


def test_an_operator_silences_a_machine_every_week_from_its_page(
    visit: Visit, fleet: Fleet, answerer: Answerer
) -> None:
    assert fleet
    page = visit("/machine?id=nas", user="olga")
    page.get_by_role("button", name="Silence …").click()
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_label("Machines").locator("..").locator("..")).to_contain_text("nas")
    photograph(page, "silence-once-light")
    silence = dialog.get_by_role("button", name="Silence", exact=True)
    expect(silence).to_be_disabled()
    dialog.get_by_role("radio", name="Every week").click()
    dialog.get_by_role("button", name="Mon").click()
    dialog.get_by_role("button", name="Tue").click()
    dialog.get_by_label("Reason").fill("backup")
    expect(silence).to_be_enabled()
    settled(page)
    assert grave(page) == []
    photograph(page, "silence-weekly-light")
    silence.click()
    expect(dialog).to_contain_text("Done")
    change = last_change(answerer, AddSilence)
    assert isinstance(change, AddSilence)
    assert change.weekly is not None
    assert (change.selector.machines, change.rule, change.reason) == (("nas",), "disk", "backup")
    assert (change.weekly.days, change.weekly.start, change.weekly.end) == (("mon", "tue"), "22:00", "06:00")
    assert change.weekly.zone == "Europe/Paris"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_silences_are_listed_by_state_and_ended(visit: Visit, fleet: Fleet, answerer: Answerer, scheme: str) -> None:
    number = seed_silence(fleet, f"<b>new switch</b> {scheme}", -60_000, 7_200_000)
    seed_silence(fleet, f"roof work {scheme}", 86_400_000, 7_200_000)
    seed_silence(fleet, f"long ago {scheme}", -90_000_000, 7_200_000)
    page = visit("/silences", user="olga", scheme=scheme)
    row = page.locator(".df-fleet tbody tr", has_text=f"<b>new switch</b> {scheme}")
    expect(row).to_contain_text("Active")
    expect(row).to_contain_text("site=paris")
    expect(page.locator(".df-fleet tbody tr", has_text=f"roof work {scheme}")).to_contain_text("Planned")
    expect(page.get_by_text(f"long ago {scheme}")).to_have_count(0)
    settled(page)
    assert grave(page) == []
    photograph(page, f"silences-{scheme}")
    row.locator("td").first.click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("If you end it, alerts that are still active are notified again.")
    photograph(page, f"silence-{scheme}")
    dialog.get_by_role("button", name="End silence").click()
    expect(dialog).to_contain_text("Done")
    assert last_change(answerer, EndSilence) == EndSilence(id=number)


def test_a_viewer_sees_silences_and_changes_none(visit: Visit, fleet: Fleet) -> None:
    seed_silence(fleet, "for viewers", -60_000, 7_200_000)
    page = visit("/silences", user="vera", size=PHONE)
    expect(page.get_by_text("for viewers")).to_be_visible()
    photograph(page, "silences-phone")
    expect(page.get_by_role("button", name="New silence …")).to_have_count(0)
    page = visit("/problems", user="vera")
    expect(page.locator(".df-fleet tbody tr").first).to_be_visible()
    expect(page.locator(".df-col-tick")).to_have_count(0)
