"""Scheduled reports: when they are due, and what is sent."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from notifying import NotifyingWorld, notifying_world
from smtp_stub import Mailbox, running_mailbox
from sqlalchemy import update
from waiting import wait_until

from ingestor.admin.access import add_org
from notifier.dispatch import Dispatch
from notifier.reports import next_report, queue_due_reports, report_file
from notifier.sending.outgoing import SendingError
from notifier.sending.workers import Workers
from runtime.urls import sqlite_url
from schemas.database.engine import open_engine, upgrade
from schemas.people import deliveries
from schemas.people.notification_tables import report_schedule
from schemas.people.report_schedules import list_reports, set_report


@pytest.fixture
def world(tmp_path: Path) -> Iterator[NotifyingWorld]:
    with notifying_world(tmp_path) as made:
        yield made


@pytest.fixture
def mailbox() -> Iterator[Mailbox]:
    with running_mailbox() as box:
        yield box


def moment(*parts: int, zone: str = "Europe/Paris") -> int:
    return round(datetime(*parts, tzinfo=ZoneInfo(zone)).timestamp() * 1000)  # type: ignore[arg-type, misc]


@pytest.mark.parametrize("zone", ["Europe/Paris", "America/New_York", "Australia/Lord_Howe"])
@pytest.mark.parametrize("period", ["week", "month"])
def test_a_report_is_due_at_its_local_hour_throughout_the_year(zone: str, period: str) -> None:
    at = moment(2026, 1, 1, 12, zone=zone)
    found = []
    while at < moment(2027, 1, 1, 0, zone=zone):
        at = next_report(period, 8, zone, at)
        found.append(datetime.fromtimestamp(at / 1000, UTC).astimezone(ZoneInfo(zone)))
    assert all((each.hour, each.minute) == (8, 0) for each in found)
    assert all(each.weekday() == 0 if period == "week" else each.day == 1 for each in found)
    assert len(found) == (53 if period == "week" else 12)


def test_an_hour_that_a_clock_change_skips_or_repeats_has_one_report() -> None:
    sunday = moment(2026, 3, 28, 12)
    assert next_report("month", 2, "Europe/Paris", sunday) == moment(2026, 4, 1, 2)
    autumn = moment(2026, 10, 25, 0)
    assert next_report("week", 2, "Europe/Paris", autumn) == moment(2026, 10, 26, 2)


def test_a_report_is_queued_once_when_it_is_due(world: NotifyingWorld) -> None:
    mail = world.add("mail", "mailto://127.0.0.1?to=ada@example.org", zone="Europe/Paris")
    set_report(world.people, mail, "week", 8)
    assert list_reports(world.people, "home") == {mail.id: {"week": 8}}
    now = moment(2026, 6, 3, 12)
    for _ in range(3):
        queue_due_reports(world.people, {mail.id: mail}, now=now)
    assert deliveries.list_deliveries(world.people, "home") == []
    due = moment(2026, 6, 8, 8)
    for now in (due - 1, due + 30_000, due + 60_000):
        queue_due_reports(world.people, {mail.id: mail}, now=now)
    (queued,) = deliveries.list_deliveries(world.people, "home")
    assert (queued.kind, queued.content) == ("report", {"period": "week", "until": due})
    set_report(world.people, mail, "week", None)
    assert list_reports(world.people, "home") == {}


def test_the_report_arrives_as_an_attachment(world: NotifyingWorld, mailbox: Mailbox) -> None:
    fleet = open_engine(sqlite_url(world.data / "dashfleet.db"))
    upgrade(fleet)
    add_org(fleet, "home", now=world.clock.now)
    fleet.dispose()
    url = f"mailto://127.0.0.1:{mailbox.port}?from=fleet@example.org&to=ada@example.org"
    mail = world.add("mail", url, language="fr")
    set_report(world.people, mail, "week", 8)
    with world.people.begin() as connection:
        connection.execute(update(report_schedule).values(next_at=world.clock.now() - 1000))
    queue_due_reports(world.people, {mail.id: mail}, now=world.clock.now())
    dispatch = Dispatch(world.people, world.box, world.clock, data=world.data, allow_private=False)
    workers = Workers(world.people, dispatch, world.clock)
    workers.load({})
    workers.start_due()
    wait_until(lambda: mailbox.mails, seconds=60)
    workers.stop()
    ((_, found),) = mailbox.mails
    assert found["Subject"] == "Rapport sur home"
    (attached,) = found.iter_attachments()
    assert attached.get_filename() == "report-home.html"
    assert "<html" in str(attached.get_content())


def test_a_report_that_fails_says_why(tmp_path: Path) -> None:
    with (
        pytest.raises(SendingError, match="the report failed: dashfleet: cannot open"),
        report_file(tmp_path, "home", "week", language="en", until=0),
    ):
        pass
