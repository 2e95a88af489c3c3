"""Chosen columns of the fleet table: their texts, and what the browser remembers."""

from datetime import UTC

import pytest
from seeding import NOW, Fleet
from sqlalchemy import Engine

from dashboard.fleet import chosen_columns, state
from dashboard.fleet.chosen_columns import ChosenColumns
from dashboard.fleet.state import FleetView
from schemas.database.queries.machines import Filters, find_rows
from schemas.database.series.fleet_columns import ChosenNumber, ColumnChoice

DISK, CORE, SERVICES = "series-disk_used_percent", "series-cpu_core_percent", "facts-services"
CHOICES = {
    DISK: ColumnChoice(DISK, "Used", "percent", "mount"),
    CORE: ColumnChoice(CORE, "Core", "percent", "core"),
}


@pytest.mark.parametrize(
    ("code", "title"),
    [
        (DISK, "File system: Used, highest"),
        (CORE, "Core, highest"),
        ("series-battery_percent", "battery_percent, lowest"),
        ("extra-queue", "queue"),
        (SERVICES, "Failed services"),
        ("facts-containers", "Stopped containers"),
        ("facts-updates", "Pending updates"),
        ("facts-checks", "Checks: problems"),
        ("facts-own_list", "Own list: problems"),
    ],
)
def test_the_title_says_what_is_shown(code: str, title: str) -> None:
    assert chosen_columns.title(code, CHOICES) == title


def test_a_cell_has_the_reading_in_its_unit_with_its_device_and_a_dash_where_there_is_none(
    fleet: Fleet, reader: Engine
) -> None:
    fleet.machine("web")
    fleet.machine("away", presence="offline")
    numbers = {"web": {DISK: ChosenNumber(95.5, "/da\u202eta")}, "away": {DISK: ChosenNumber(99.0, "/")}}
    columns = ChosenColumns((DISK, SERVICES), CHOICES, numbers, NOW, UTC)
    web, away = find_rows(reader, "home", ["web", "away"])
    disk, services = columns.cells(web)
    assert (disk["text"], "\u202e" in disk["detail"], services["text"]) == ("96 %", False, "–")
    disk, _services = columns.cells(away)
    assert disk["aged"]
    assert disk["hint"]
    assert [head["code"] for head in columns.heads] == [DISK, SERVICES]


def test_the_first_click_on_a_header_shows_the_worst_first() -> None:
    assert state.sort(Filters(), DISK) == Filters(order=DISK, descending=True)
    assert state.sort(Filters(), "series-battery_percent") == Filters(order="series-battery_percent")
    assert state.sort(Filters(), "series-<b>") == Filters()


def test_the_cookie_leads_back_to_the_columns_and_anything_else_in_it_is_ignored() -> None:
    name, _equals, value = chosen_columns.written(("site",), (DISK, SERVICES)).partition("=")
    assert name == chosen_columns.COOKIE
    assert state.parse(chosen_columns.remembered(value)) == FleetView(columns=("site",), readings=(DISK, SERVICES))
    for cookie in ("", "%", "q=x&status=offline", "readings=<b>&columns=A", "x" * 100_000):
        assert state.parse(chosen_columns.remembered(cookie)) == FleetView()
