"""The notifier's state in SQLite and PostgreSQL."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import Engine, func, select

from notifier.domain.planner import Planner
from notifier.domain.problem import NoticeKind, Problem
from notifier.storage import state_store
from notifier.storage.state_store import commit, decode_items, prune, read_known, recipient_of
from schemas.people import deliveries
from schemas.people.destinations import Destination, add_destination, find_destination, remove_destination
from schemas.people.notification_tables import told
from schemas.people.people_store import SHARED, open_people_store
from schemas.people.secret_box import SecretBox

NOW = 1_780_000_000_000
DAY = 86_400_000


@pytest.fixture
def store(each_database_url: str) -> Iterator[Engine]:
    engine = open_people_store(each_database_url)
    yield engine
    for metadata in SHARED:
        metadata.drop_all(engine)
    engine.dispose()


@pytest.fixture
def destination(store: Engine, tmp_path: Path) -> Destination:
    box = SecretBox.load(tmp_path / "key")
    return add_destination(store, box, "acme", "hook", "https://example.org/", by="ada", now=NOW)


def problem(key: str = "1") -> Problem:
    return Problem("acme", key, "cpu", "critical", NOW, "attic", "CPU", labels={"site": "nantes"}, machines=())


def decide(store: Engine, planner: Planner, destination: Destination, now: int) -> list[int]:
    planner.configure([recipient_of(destination)], now)
    planner.due(now, lambda _: False)
    notices = planner.due(now + 1000, lambda _: False)
    return commit(store, planner.changed(), notices, {destination.id: destination}, now=now + 1000)


def test_decisions_marks_and_deliveries_are_read_back_as_they_were(store: Engine, destination: Destination) -> None:
    planner = Planner()
    planner.observe(problem(), NOW)
    assert decide(store, planner, destination, NOW) == [destination.id]
    (known,) = read_known(store)
    assert known.problem == problem()
    assert known.told == {destination.id: {NoticeKind.PROBLEM: NOW + 1000}}
    waiting = deliveries.next_delivery(store, destination.id, now=NOW + 1000)
    assert waiting is not None
    assert waiting.content is not None
    assert [(item.kind, item.problem) for item in decode_items(waiting.content)] == [("problem", problem())]
    again = Planner(read_known(store))
    again.observe(problem(), NOW + DAY)
    assert decide(store, again, destination, NOW + DAY) == []


def test_the_marks_of_an_alert_that_goes_on_are_deleted_with_the_decision_to_tell_it_again(
    store: Engine, destination: Destination
) -> None:
    planner = Planner()
    planner.observe(problem(), NOW)
    decide(store, planner, destination, NOW)
    planner.observe(replace(problem(), until=NOW + 2000), NOW + 2000)
    decide(store, planner, destination, NOW + 2000)
    assert set(read_known(store)[0].told[destination.id]) == {NoticeKind.PROBLEM, NoticeKind.RECOVERY}
    planner.observe(problem(), NOW + 4000, live=True)
    assert decide(store, planner, destination, NOW + 4000) == [destination.id]
    (known,) = read_known(store)
    assert (known.problem.until, known.told) == (None, {destination.id: {NoticeKind.PROBLEM: NOW + 5000}})


def test_a_delivery_is_sent_retried_or_given_up_and_the_log_shows_each_attempt(
    store: Engine, destination: Destination
) -> None:
    planner = Planner()
    planner.observe(problem(), NOW)
    decide(store, planner, destination, NOW)
    waiting = deliveries.next_delivery(store, destination.id, now=NOW + 1000)
    assert waiting is not None
    deliveries.retry_later(store, waiting.id, NOW + 60_000, title="T", error="503\n\x1b[31m Service\0 Unavailable")
    assert deliveries.next_delivery(store, destination.id, now=NOW + 2000) is None
    assert deliveries.waiting_destinations(store) == {destination.id: NOW + 60_000}
    deliveries.finish(store, waiting.id, deliveries.SENT, now=NOW + 61_000, title="T", answer="200 OK", error="")
    assert deliveries.waiting_destinations(store) == {}
    (entry,) = deliveries.list_deliveries(store, "acme")
    assert (entry.state, entry.attempts, entry.answer, entry.content) == ("sent", 2, "200 OK", None)
    assert deliveries.list_deliveries(store, "other") == []
    assert deliveries.find_delivery(store, "other", entry.id) is None


def test_removing_a_destination_cancels_what_waits_and_keeps_the_log(store: Engine, destination: Destination) -> None:
    planner = Planner()
    planner.observe(problem(), NOW)
    decide(store, planner, destination, NOW)
    remove_destination(store, find_destination(store, "acme", "hook"))
    (entry,) = deliveries.list_deliveries(store, "acme")
    assert (entry.state, entry.destination, entry.destination_id) == ("cancelled", "hook", None)
    assert deliveries.waiting_destinations(store) == {}


def test_the_log_and_the_marks_are_bounded(
    store: Engine, destination: Destination, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deliveries, "KEPT_PER_ORG", 3)
    for _ in range(6):
        with store.begin() as connection:
            id_ = deliveries.queue(connection, destination, deliveries.ALERTS, items=1, content={}, now=NOW)
        deliveries.finish(store, id_, deliveries.SENT, now=NOW)
    with store.begin() as connection:
        deliveries.queue(connection, destination, deliveries.ALERTS, items=1, content={}, now=NOW)
    deliveries.prune(store, now=NOW)
    assert len(deliveries.list_deliveries(store, "acme")) == 3
    deliveries.prune(store, now=NOW + 40 * DAY)
    assert [each.state for each in deliveries.list_deliveries(store, "acme")] == ["queued"]
    planner = Planner()
    planner.observe(problem(), NOW)
    decide(store, planner, destination, NOW)
    planner.observe(replace(problem(), until=NOW + 5000), NOW + 5000)
    decide(store, planner, destination, NOW + 5000)
    prune(store, now=NOW + state_store.KEPT_MILLISECONDS)
    assert len(read_known(store)) == 1
    prune(store, now=NOW + state_store.KEPT_MILLISECONDS + DAY)
    assert read_known(store) == []
    with store.connect() as connection:
        assert connection.execute(select(func.count()).select_from(told)).scalar_one() == 0


def test_tests_that_wait_are_bounded_and_go_first(store: Engine, destination: Destination) -> None:
    with store.begin() as connection:
        deliveries.queue(connection, destination, deliveries.ALERTS, items=1, content={}, now=NOW)
    queued = [deliveries.queue_test(store, destination, by="ada", now=NOW) for _ in range(7)]
    assert len([each for each in queued if each is not None]) == deliveries.TESTS_WAITING_MAX
    first = deliveries.next_delivery(store, destination.id, now=NOW)
    assert first is not None
    assert first.id == queued[0]
