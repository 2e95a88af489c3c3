"""What people are told of many machines at once, and of one that comes and goes: by a real ingestor and notifier.

Both have the clock of the test; a message is delivered before it goes on.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest
from clocks import Clock
from ingestion import Bench, Speaker, open_bench
from ingestor_fixtures import fleet
from notifying import NotifyingWorld, notifying_world, run_until
from service_stubs import HttpStub, http_stub
from sqlalchemy import Engine, func, insert, select

from notifier.notifier import Notifier
from runtime.clock import SystemClock
from schemas.database import tables
from schemas.people.deliveries import list_deliveries

__all__ = ["fleet"]

MACHINES = 1000
MINUTE = 60.0


class Place:
    """An ingestor and a notifier on one broker and clock, and the service that is told."""

    def __init__(self, bench: Bench, world: NotifyingWorld, notifier: Notifier, stub: HttpStub) -> None:
        self.bench, self.world, self.notifier, self.stub = bench, world, notifier, stub

    @property
    def kinds(self) -> list[list[str]]:
        """The kinds of what each message tells."""
        return [[alert["kind"] for alert in each.json["alerts"]] for each in self.stub.received]

    def all_is_delivered(self) -> bool:
        return all(each.state == "sent" for each in list_deliveries(self.world.people, None, limit=1000))

    def run(self, seconds: float, *, step: float = 5.0, steps: int = 1) -> None:
        for _ in range(round(seconds / step)):
            self.bench.step(step)
            self.bench.step(steps=steps - 1)
            self.notifier.step(0.0)
            if not self.all_is_delivered():
                run_until(self.notifier, self.all_is_delivered, 60)


@pytest.fixture
def place(fleet: Engine, clock: Clock, tmp_path: Path) -> Iterator[Place]:
    clock.milliseconds = SystemClock().now()
    with notifying_world(tmp_path) as world, http_stub() as stub:
        world.clock = clock
        world.add("hook", f"http://127.0.0.1:{stub.port}/hook", group_seconds=0.5)
        notifier = world.notifier()
        yield Place(open_bench(fleet, clock, world.broker), world, notifier, stub)
        notifier.stop()


def count(engine: Engine, column: object) -> int:
    with engine.connect() as connection:
        return connection.scalar(select(func.count()).select_from(column)) or 0  # type: ignore[arg-type]


def test_a_thousand_machines_that_go_silent_at_once_are_one_message_and_their_return_is_another(
    place: Place, fleet: Engine, clock: Clock
) -> None:
    names = [f"m{number}" for number in range(MACHINES)]
    with fleet.begin() as connection:
        home = connection.scalar(select(tables.org.c.id).where(tables.org.c.name == "home"))
        connection.execute(insert(tables.machine), [{"org_id": home, "name": name, "created_at": 1} for name in names])
    place.run(5)
    speakers = [Speaker(clock, name) for name in names]
    place.bench.publish(*(speaker.status() for speaker in speakers))
    place.bench.publish(*(speaker.telemetry(1) for speaker in speakers))
    place.run(10, step=0.5, steps=3)
    place.run(8 * MINUTE, step=10.0)
    assert place.kinds == [["problem"]]
    (told,) = place.stub.received[0].json["alerts"]
    assert told["machine_count"] == MACHINES
    place.bench.publish(*(speaker.telemetry(2) for speaker in speakers))
    place.run(10, step=0.5, steps=3)
    place.run(30)
    assert place.kinds == [["problem"], ["recovery"]]
    assert count(fleet, tables.alert) == 0


def test_a_machine_that_flaps_for_an_hour_is_at_most_six_messages(place: Place, fleet: Engine, clock: Clock) -> None:
    attic = Speaker(clock)
    for _ in range(15):
        attic.session += 1
        place.bench.publish(attic.status())
        place.run(2 * MINUTE, step=10.0)
        place.bench.publish(attic.status("lost"))
        place.run(2 * MINUTE, step=10.0)
    assert count(fleet, tables.alert) >= 12
    assert 2 <= len(place.stub.received) <= 6
