"""The feed of changes: every row once, in spite of transactions that end late, and only the organisation's own."""

from typing import Any

import pytest
from seeding import NOW, Fleet
from sqlalchemy import Engine, delete, insert, update

from schemas.database import tables
from schemas.database.paged import change_feed
from schemas.database.paged.change_feed import ChangeFeed

WINDOW = change_feed.WINDOW_SECONDS * 1000


@pytest.fixture
def database_url(each_database_url: str) -> str:
    return each_database_url


@pytest.fixture
def fleet(database: Engine) -> Fleet:
    return Fleet(database)


def transition(fleet: Fleet, machine: int, id_: int, at: int = NOW) -> None:
    row: dict[str, Any] = {"id": id_, "machine_id": machine, "at": at, "before": "online", "after": "stale"}
    with fleet.engine.begin() as connection:
        connection.execute(insert(tables.transition).values(**row, reason=f"r{id_}", session=1))


def reasons(feed: ChangeFeed, now: int) -> list[str]:
    return [event.fields["reason"] for event in feed.read(now) if event.kind == "presence"]


def test_a_row_with_a_lower_key_that_is_committed_later_is_not_missed(fleet: Fleet, database: Engine) -> None:
    key, other = fleet.machine("a"), fleet.machine("b", org="other")
    feed = ChangeFeed(database, "home")
    feed.begin(NOW)
    transition(fleet, key, 10)
    transition(fleet, other, 12)
    assert reasons(feed, NOW) == ["r10"]
    transition(fleet, key, 9)
    transition(fleet, key, 11)
    assert reasons(feed, NOW + WINDOW - 1) == ["r9", "r11"]
    assert reasons(feed, NOW + 3 * WINDOW) == []
    assert reasons(feed, NOW + 4 * WINDOW) == []
    transition(fleet, key, 13)
    assert reasons(feed, NOW + 4 * WINDOW) == ["r13"]


def test_a_feed_goes_on_after_the_restore_of_a_backup_whose_rows_have_lower_keys(
    fleet: Fleet, database: Engine
) -> None:
    key = fleet.machine("a")
    transition(fleet, key, 20)
    running, returning = ChangeFeed(database, "home"), ChangeFeed(database, "home")
    running.begin(NOW)
    with database.begin() as connection:
        connection.execute(delete(tables.transition))
    transition(fleet, key, 10)
    returning.begin(NOW, "20-0-0-0-0")
    for feed in (running, returning):
        assert reasons(feed, NOW) == []
    transition(fleet, key, 11)
    for feed in (running, returning):
        assert reasons(feed, NOW) == ["r11"]
        assert feed.position.startswith("11-")
        assert reasons(feed, NOW) == []


def test_a_long_backlog_comes_whole_in_parts(fleet: Fleet, database: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(change_feed, "LIMIT", 3)
    key = fleet.machine("a")
    for number in range(1, 9):
        transition(fleet, key, number)
    feed = ChangeFeed(database, "home")
    feed.begin(NOW, "0-0-0-0-0")
    found = [reasons(feed, NOW) for _ in range(4)]
    assert found == [["r1", "r2", "r3"], ["r4", "r5", "r6"], ["r7", "r8"], []]


def test_a_position_says_nothing_about_other_organisations(fleet: Fleet, database: Engine) -> None:
    fleet.machine("a")
    other = fleet.machine("b", org="other")
    transition(fleet, other, 500)
    feed = ChangeFeed(database, "home")
    feed.begin(NOW)
    transition(fleet, other, 501)
    assert feed.read(NOW) == []
    assert feed.position == f"0-0-0-0-{NOW}"


def test_ends_are_told_once_also_of_the_same_moment_and_not_those_of_before(fleet: Fleet, database: Engine) -> None:
    key = fleet.machine("a")
    for rule in ("before", "one", "two", "late"):
        fleet.alert(key, rule, NOW - 5000)

    def end(rule: str, at: int) -> None:
        with database.begin() as connection:
            mine = update(tables.alert).where(tables.alert.c.rule == rule)
            connection.execute(mine.values(ended_at=at - 1000, closed_at=at))

    end("before", NOW - 10)
    feed = ChangeFeed(database, "home")
    feed.begin(NOW)
    found = []
    for rule, at in (("", 0), ("one", NOW + 5), ("two", NOW + 5), ("late", NOW + 4), ("", 0)):
        if rule:
            end(rule, at)
        found.append([event.fields["rule"] for event in feed.read(NOW + 10)])
    assert found == [[], ["one"], ["two"], ["late"], []]
    resumed = ChangeFeed(database, "home")
    resumed.begin(NOW + 20, feed.position)
    assert {event.fields["rule"] for event in resumed.read(NOW + 20)} <= {"one", "two"}  # of the same moment
