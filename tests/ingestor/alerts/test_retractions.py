"""An alert that late data show never to have been: readers learn of it wherever the ingestor is killed meanwhile."""

from collections.abc import Callable
from typing import Any

import pytest
from alert_rules import cpu_rule, set_rules
from clocks import Clock
from ingestion import Bench, Speaker
from lateness import Outbox, rows
from sqlalchemy import Engine, select, update

from broker.client.memory import MemoryTransport
from broker.client.transport import Message
from ingestor.alerts.retained_alerts import KEPT_SECONDS
from ingestor.storage.store import Store
from schemas.contract import topics
from schemas.contract.alerts import AlertMessage, ResolvedMessage
from schemas.database import tables

LEVELS = {"org": "home", "machine": "attic", "rule": "hot"}
ACTIVE, RESOLVED = topics.ALERT.at(**LEVELS), topics.RESOLVED.at(**LEVELS)


class Killed(BaseException):
    """The process is gone."""


class Points:
    """Counts the points around a COMMIT and a message about alerts, and kills the process at the one of a number."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.number = self.passed = 0
        write, publish = Store.write, MemoryTransport.publish

        def written(store: Store, *given: Any, **named: Any) -> None:  # noqa: ANN401 - passed on
            self._here()
            write(store, *given, **named)
            self._here()

        def published(transport: MemoryTransport, message: Message) -> bool:
            if message.topic not in (ACTIVE, RESOLVED):
                return publish(transport, message)
            self._here()
            done = publish(transport, message)
            self._here()
            return done

        monkeypatch.setattr(Store, "write", written)
        monkeypatch.setattr(MemoryTransport, "publish", published)

    def _here(self) -> None:
        self.passed += 1
        if self.passed == self.number:
            raise Killed


def be_hot_at_the_last_sample(bench: Bench, attic: Outbox) -> tuple[AlertMessage, list[Any]]:
    """Raise an alert from a sample after which the machine was cut off; return it and the sample that is late."""
    bench.publish(attic.live(attic.take(cpu_percent=95.0)))
    bench.step(10.0)
    late = [attic.take(cpu_percent=5.0)]
    bench.step(1.0, steps=25)
    return AlertMessage.decode(bench.broker.retained[ACTIVE].payload), late


def resolved(bench: Bench) -> ResolvedMessage:
    return ResolvedMessage.decode(bench.broker.retained[RESOLVED].payload)


@pytest.fixture
def attic(bench: Bench, speaker: Speaker, clock: Clock, fleet: Engine) -> Outbox:
    set_rules(fleet, cpu_rule(for_seconds=30.0))
    bench.publish(speaker.status(), speaker.info())
    bench.step(1.0, steps=2)
    return Outbox("attic", clock)


def test_its_end_is_published_wherever_the_ingestor_is_killed(
    bench: Bench,
    attic: Outbox,
    fleet: Engine,
    make_bench: Callable[[], Bench],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    points, told = Points(monkeypatch), set[int | None]()
    for number in range(1, 1000):
        alert, late = be_hot_at_the_last_sample(bench, attic)
        assert alert.id not in told, "an id is that of one alert for ever"
        told.add(alert.id)
        points.number, points.passed = number, 0
        for _ in range(8):
            bench.publish(attic.late(late))
            try:
                bench.step(1.0)
            except Killed:
                bench = make_bench()
        was_reached, points.number = points.passed >= number, 0
        assert rows(fleet) == []
        assert ACTIVE not in bench.broker.retained
        assert (resolved(bench).id, resolved(bench).since) == (alert.id, alert.since)
        bench.step(10.0, steps=8)
        if not was_reached:
            break
    assert number > 6, "every point was one of them, up to the end"


def test_its_end_is_published_again_after_a_start_with_its_acknowledgement_and_cleared_after_an_hour(
    bench: Bench, attic: Outbox, fleet: Engine, make_bench: Callable[[], Bench], clock: Clock
) -> None:
    alert, late = be_hot_at_the_last_sample(bench, attic)
    seen = {"acknowledged_at": clock.now(), "acknowledged_by": "ada", "acknowledged_comment": "on it"}
    with fleet.begin() as connection:
        connection.execute(update(tables.alert).values(**seen))
    bench.publish(attic.late(late))
    bench.step(1.0, steps=6)
    before = bench.broker.retained.pop(RESOLVED)
    bench = make_bench()
    assert resolved(bench).id == alert.id
    assert resolved(bench).acknowledged is not None
    known = {"acknowledged": resolved(bench).acknowledged}
    assert resolved(bench) == ResolvedMessage.decode(before.payload).model_copy(update=known)
    clock.advance(KEPT_SECONDS + 60)
    assert RESOLVED not in make_bench().broker.retained


def test_a_retracted_alert_is_deleted_with_the_events(bench: Bench, attic: Outbox, fleet: Engine) -> None:
    _, late = be_hot_at_the_last_sample(bench, attic)
    bench.publish(attic.late(late))
    bench.step(1.0, steps=6)
    query = select(tables.retracted_alert.c.rule)
    with fleet.connect() as connection:
        assert list(connection.scalars(query)) == ["hot"]
    bench.clock.advance(401 * 86_400)
    bench.step(1.0, steps=20)
    with fleet.connect() as connection:
        assert list(connection.scalars(query)) == []
