"""The ingestor killed, or without its database, at every single point of a command's way."""

import itertools
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import pytest
from acting import Ears, Operator, new_id, order_of, result
from clocks import Clock
from ingestion import Speaker
from sqlalchemy import Engine
from sqlalchemy.exc import OperationalError

from broker.client.memory import MemoryBroker, MemoryTransport
from broker.client.transport import Message
from ingestor.ingestor import Ingestor
from ingestor.storage.store import Store
from schemas.contract.commands import FINAL, Rollout
from schemas.database.queries.commands import list_commands, show_command

ORDERS = 3


class Killed(BaseException):
    """The process is gone."""


@dataclass
class Points:
    """Counts the points that were passed, and raises `error` at the one of this number."""

    number: int
    error: Callable[[], BaseException]
    passed: int = 0

    def here(self) -> None:
        self.passed += 1
        if self.passed == self.number:
            raise self.error()


class InterruptedStore(Store):
    points: Points

    def write(self, *arguments: Any, **options: Any) -> None:  # noqa: ANN401
        self.points.here()
        super().write(*arguments, **options)
        self.points.here()


class InterruptedTransport(MemoryTransport):
    points: Points

    def publish(self, message: Message) -> bool:
        if message.topic.rpartition("/")[2] in ("command", "update", "ack", "config") and _kills(self.points):
            self.points.here()
        return super().publish(message)


def _kills(points: Points) -> bool:
    """A database does not go away while something is published."""
    return isinstance(points.error(), Killed)


@dataclass
class World:
    """An operator who asks until it is answered, a machine that does each thing once, and an ingestor in trouble."""

    fleet: Engine
    clock: Clock
    points: Points
    broker: MemoryBroker = field(default_factory=MemoryBroker)
    ran: list[str] = field(default_factory=list)
    unacked: dict[str, None] = field(default_factory=dict)
    restarts: int = 0

    def __post_init__(self) -> None:
        self.operator = Operator(self.clock)
        self.speaker = Speaker(self.clock, session=self.clock.now())
        self.ears = Ears(self.broker)
        self.mouth = MemoryTransport(self.broker, client_id="mouth", pass_time=lambda _: None)
        self.mouth.receive(1, 0)
        self.orders = [self.operator.order() for _ in range(ORDERS)]
        self.ids = {order_of(order).id for order in self.orders}
        self.heard: dict[str, str] = {}
        self.ingestor = self._ingestor()

    def run(self) -> None:
        """Until the operator has heard the end of everything."""
        request = self.operator.act(*self.orders, rollout=Rollout(canary=1), id_=new_id())
        for turn in range(200):
            if self._is_over():
                return
            if turn % 10 == 0:
                self.mouth.publish(request)
            self.mouth.publish(self.speaker.telemetry(1 + turn))
            for id_ in self.unacked:
                self.mouth.publish(result(id_, "succeeded", self.clock, session=self.speaker.session))
            self._step()
            self._listen()
        pytest.fail(f"not over: {self.heard}")

    def _is_over(self) -> bool:
        return not self.unacked and set(self.heard) == self.ids and set(self.heard.values()) <= {"succeeded"}

    def _step(self) -> None:
        self.clock.advance(1)
        try:
            self.ingestor.step()
        except Killed:
            self.restarts += 1
            self.ingestor = self._ingestor()

    def _listen(self) -> None:
        for command in self.ears.commands():
            id_ = order_of(command.order).id
            if id_ not in self.ran:
                self.ran.append(id_)
            self.unacked[id_] = None
        for id_ in self.ears.acked():
            self.unacked.pop(id_, None)
        self.heard |= {update.command: update.state for update in self.ears.updates() if update.command}

    def _ingestor(self) -> Ingestor:
        def transport(*, subscriptions: Iterable[tuple[str, int]]) -> MemoryTransport:
            made = InterruptedTransport(
                self.broker, client_id="_ingestor", subscriptions=list(subscriptions), pass_time=lambda _: None
            )
            made.points = self.points
            return made

        store = InterruptedStore(self.fleet, name="ingestor", dead_letter_max=100)
        store.points = self.points
        return Ingestor(
            store=store,
            open_transport=transport,
            batch_max=100,
            ack_seconds=2.0,
            clock=self.clock,
        )


def database_is_away() -> BaseException:
    return OperationalError("COMMIT", {}, Exception("the connection was lost"))


@pytest.mark.parametrize("error", [Killed, database_is_away])
def test_no_command_is_lost_or_doubled_wherever_it_is_interrupted(
    fleet: Engine, clock: Clock, error: Callable[[], BaseException]
) -> None:
    with fleet.connect() as connection:  # the only one of the pool: nobody cuts the power here
        connection.exec_driver_sql("PRAGMA synchronous = OFF")
    seen: set[str] = set()
    for number in range(1, 1000):
        world = World(fleet, clock, Points(number, error))
        world.run()
        seen |= world.ids
        assert set(world.ran) == world.ids
        assert len(list_commands(fleet, limit=10_000)) == len(seen)
        for id_ in world.ids:
            assert is_whole(show_command(fleet, id_))
        if world.points.passed < number:
            break
    assert number > 20, "every point was one of them, up to the end"


def is_whole(command: dict[str, Any] | None) -> bool:
    """Whether its history leads from the first state to the last one without a gap."""
    assert command is not None
    history = command["history"]
    links = itertools.pairwise(history)
    return (
        history[0]["before"] == ""
        and history[-1]["after"] == command["state"] == "succeeded"
        and all(earlier["after"] == later["before"] not in FINAL for earlier, later in links)
    )
