"""A report contains what the database does, in one file that makes no request and trusts no text of a machine."""

import re
from html.parser import HTMLParser
from typing import Any

import pytest
from seeding import Fleet
from series import SeriesKeeper, with_series
from sqlalchemy import Engine, insert

from dashboard.i18n.language import LANGUAGES, speaking
from dashboard.report.html import page
from dashboard.report.summary import Report, gather
from schemas.database import tables
from schemas.database.queries.report import count_hours
from schemas.fleet.forecast import DAY, Outlook
from schemas.fleet.history import HOUR

HOSTILE = '"><script>alert(1)</script><img src=x onerror=alert(1)>\u202e{{ 7 * 7 }}'


@pytest.fixture
def database_url(each_database_url: str) -> str:
    return each_database_url


@pytest.fixture
def fleet(database: Engine) -> Fleet:
    return Fleet(database)


def hours(fleet: Fleet, key: int, percents: list[float], *, cpu: float = 20.0) -> None:
    """Store an hour for each disk percentage, six hours apart, up to now."""
    base: dict[str, Any] = {column.name: 0 for column in tables.hour.c if column.name.endswith("_count")}
    rows = []
    for age, percent in enumerate(reversed(percents)):
        row = {**base, "machine_id": key, "at": fleet.now // HOUR * HOUR - (6 * age + 1) * HOUR, "samples": 360}
        for name, reading in (("cpu_percent", cpu), ("memory_percent", 30.0), ("disk_percent", percent)):
            row |= {f"{name}_count": 360, f"{name}_min": reading, f"{name}_avg": reading, f"{name}_max": reading + 1}
        rows.append(row)
    with fleet.engine.begin() as connection:
        connection.execute(insert(tables.hour), rows)


def gathered(fleet: Fleet, *, org: str = "home", days: int = 30) -> Report:
    return gather(fleet.engine, org, (fleet.now - days * DAY, fleet.now), now=fleet.now)


class Reading(HTMLParser):
    """The tags, attributes and text of a page."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_data(self, data: str) -> None:
        self.text += data


def test_a_machine_has_its_availability_hours_disk_and_ledger(fleet: Fleet) -> None:
    key = fleet.machine("attic")
    fleet.transition(key, fleet.now - 40 * DAY, "unknown", "online", "connected")
    fleet.transition(key, fleet.now - 10 * DAY, "online", "offline", "silent")
    fleet.transition(key, fleet.now - 7 * DAY, "offline", "online", "heard")
    fleet.stream(key, "1-90", highest_seq=100, oldest_seq=99, dropped=3)
    hours(fleet, key, [40 + number / 4 for number in range(80)], cpu=99.0)
    report = gathered(fleet)
    (machine,) = report.machines
    assert machine.availability.share == pytest.approx(0.9)
    assert (machine.availability.times, machine.availability.longest) == (1, 3 * DAY)
    assert machine.samples == 80 * 360
    assert machine.cpu.average == pytest.approx(99.0)
    assert machine.cpu.highest == 100.0
    assert machine.healths.total() == 80
    assert machine.healths["critical"] == 80
    assert sum(counts.total() for counts in report.days.values()) == 80
    assert machine.forecast.outlook is Outlook.FULL
    assert (machine.ledger.lost, machine.ledger.dropped, machine.ledger.waiting) == (5, 3, 2)
    assert count_hours(fleet.engine, "home", report.within) == 80


def test_the_fullest_file_systems_and_the_busiest_devices_are_listed_from_their_hours(fleet: Fleet) -> None:
    keys = {name: fleet.machine(name) for name in ("attic", "cellar")}
    keeper = SeriesKeeper(fleet.engine, now=fleet.now - 20 * DAY)
    for day in range(20):
        at = fleet.now - (20 - day) * DAY
        for name, key in keys.items():
            used: dict[str, float | None] = {"/": 40.0, f"/{HOSTILE}" if name == "attic" else "/srv": 50 + 2.0 * day}
            busy: dict[str, float | None] = {"sda": 10.0 if name == "attic" else 70.0 + day % 2}
            keeper.write(with_series(key, at, day + 1, {"disk_used_percent": used, "disk_busy_percent": busy}))
    keeper.finish()
    report = gathered(fleet)
    assert sorted((each.machine, each.used) for each in report.devices.mounts) == [
        ("attic", 40.0),
        ("attic", 88.0),
        ("cellar", 40.0),
        ("cellar", 88.0),
    ]
    assert {each.forecast.outlook for each in report.devices.mounts if each.used > 80} == {Outlook.FULL}
    found = [
        (each.machine, each.device, each.average, each.highest) for each in report.devices.busiest["disk_busy_percent"]
    ]
    assert found == [("cellar", "sda", pytest.approx(70.5), 71.0), ("attic", "sda", 10.0, 10.0)]
    read = Reading(page(report))
    assert "script" not in read.tags
    assert "Busiest disks" in read.text
    assert "File systems, the fullest first" in read.text
    assert gathered(fleet, org="acme").devices.mounts == []


def test_an_incident_of_the_system_before_the_organisation_existed_is_not_in_its_report(fleet: Fleet) -> None:
    fleet.machine("attic")  # creates the organisation, now
    fleet.incident("blind", ended_at=fleet.now - 1)
    assert gathered(fleet, days=1).incidents == []
    fleet.incident("blind", ended_at=fleet.now)
    assert len(gathered(fleet, days=1).incidents) == 1


def test_what_was_before_the_time_and_in_another_organisation_is_not_in_it(fleet: Fleet) -> None:
    mine, other = fleet.machine("attic"), fleet.machine("attic", org="acme")
    for key in (mine, other):
        hours(fleet, key, [50.0] * 40)
        fleet.transition(key, fleet.now - 5 * DAY, "online", "offline", "silent")
    fleet.incident("mass-silence", org="acme", machines=3, of=3, names=["theirs"])
    report = gathered(fleet, days=1)
    assert [machine.samples for machine in report.machines] == [4 * 360]
    assert report.machines[0].availability.share == 0.0
    assert report.incidents == []
    assert "theirs" not in page(report)


def test_a_machine_that_changed_nothing_is_what_it_was_before_or_is_now(fleet: Fleet) -> None:
    before, now, later, never = (fleet.machine(name) for name in ("before", "now", "later", "never"))
    fleet.transition(before, fleet.now - 300 * DAY, "unknown", "online", "connected")
    fleet.transition(before, fleet.now - 200 * DAY, "online", "offline", "lost")
    fleet.set(now, presence="online", since_at=fleet.now - 500 * DAY)
    fleet.transition(later, fleet.now - 15 * DAY, "offline", "online", "connected")  # earlier transitions were pruned
    fleet.set(never, presence="unknown", since_at=fleet.now)
    shares = {machine.name: machine.availability.share for machine in gathered(fleet).machines}
    assert shares == {"before": 0.0, "now": 1.0, "later": 0.5, "never": None}


def test_the_server_was_blind_and_nobody_is_blamed_for_it(fleet: Fleet) -> None:
    key = fleet.machine("attic")
    fleet.transition(key, fleet.now - 40 * DAY, "unknown", "online", "connected")
    fleet.transition(key, fleet.now - 60_000, "online", "offline", "silent")
    fleet.incident("blind", ended_at=fleet.now)
    report = gathered(fleet)
    assert report.machines[0].availability.share == 1.0
    assert report.not_listening_seconds == 60.0
    assert "During 1 min of this period the server could not listen." in page(report)


def test_a_server_that_could_listen_all_the_time_says_so(fleet: Fleet) -> None:
    fleet.machine("attic")
    assert "The server could listen during the whole period." in page(gathered(fleet))


def test_the_file_asks_nothing_of_anybody_and_believes_nobody(fleet: Fleet) -> None:
    key = fleet.machine("attic", hostname=HOSTILE)
    hours(fleet, key, [40 + number / 4 for number in range(80)])
    fleet.incident("mass-silence", org="home", machines=3, of=3, names=[HOSTILE])
    fleet.incident("<i>later</i>", org="home")
    html = page(gathered(fleet))
    found = Reading(html)
    assert not {"script", "img", "link", "iframe", "object", "embed", "form", "base", "i"} & set(found.tags)
    assert not [name for name, _ in found.attributes if name.startswith("on") or name in ("src", "style")]
    assert all(str(value).startswith("#") for name, value in found.attributes if name in ("href", "xlink:href"))
    assert not re.search(r"url\(|@import|https?:", html)
    assert "alert(1)" in found.text
    assert "{{ 7 * 7 }}" in found.text


def test_every_chart_has_a_name_and_a_table_beside_it(fleet: Fleet) -> None:
    key = fleet.machine("attic")
    hours(fleet, key, [40 + number / 4 for number in range(80)])
    fleet.transition(key, fleet.now - 2 * DAY, "online", "offline", "silent")
    for section in page(gathered(fleet)).split("<section ")[1:]:
        charts = re.findall(r"<svg viewBox[^>]*>", section)
        assert all('role="img" aria-label="' in chart for chart in charts)
        assert not charts or "<table>" in section
        assert section.count("<table>") == section.count("<caption>")


@pytest.mark.parametrize("language", LANGUAGES)
def test_an_organisation_of_which_nothing_is_known_has_a_report_in_every_language(fleet: Fleet, language: str) -> None:
    fleet.org("home")
    with speaking(language):
        html = page(gathered(fleet))
    assert f'<html lang="{language}">' in html
    assert "<svg" not in html
    assert html.count("<h2 ") == 6
