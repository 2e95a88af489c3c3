"""The past is published in order, at its multiple of the original speed, and never with a gap."""

import math
from collections.abc import Iterator

import pytest
from clocks import Clock

from broker.client.memory import MemoryBroker, MemoryTransport
from broker.client.replay_publisher import ReplayError, ReplayPace, publish_past
from broker.client.transport import Message
from schemas.contract import topics
from schemas.contract.messages import Telemetry, Vitals
from schemas.database.replay.machine_past import StoredMessage

START = 1_700_000_000_000
PACE = ReplayPace("past", "home", START, speed=600)


class Scene:
    """A publisher and a reader on a broker in memory; waiting takes the time of a controlled clock."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.broker = MemoryBroker()
        self.reader = self.client("reader", [(topics.REPLAYED_TELEMETRY.filter(org="home"), 1)])
        self.publisher = self.client("publisher")
        self.progress: list[int] = []

    def client(self, name: str, subscriptions: list[tuple[str, int]] | None = None) -> MemoryTransport:
        made = MemoryTransport(
            self.broker, client_id=name, subscriptions=subscriptions or [], pass_time=self._pass_time
        )
        made.receive(10, 0)
        return made

    def _pass_time(self, seconds: float) -> None:
        self.clock.advance(math.ceil(seconds * 1000) / 1000)  # the clock has no parts of a millisecond

    def publish(self, messages: list[StoredMessage]) -> int:
        return publish_past(self.publisher, messages, PACE, clock=self.clock, progress=self.progress.append)

    def heard(self) -> list[Message]:
        return [event for event in self.reader.receive(10_000, 0) if isinstance(event, Message)]


@pytest.fixture
def scene() -> Scene:
    return Scene()


def sample(seconds: float, seq: int = 1) -> StoredMessage:
    at = START + round(seconds * 1000)
    told = Telemetry(seq=seq, sampled_at=at, vitals=Vitals(), session=1, stream="a" * 16, oldest_seq=seq)
    return StoredMessage(at, topics.REPLAYED_TELEMETRY, "attic", told.encode())


def numbers(heard: list[Message]) -> list[int]:
    return [Telemetry.decode(each.payload).seq for each in heard]


def test_messages_arrive_in_order_on_the_topics_of_the_replay(scene: Scene) -> None:
    assert scene.publish([sample(seq * 10, seq) for seq in range(1, 1001)]) == 1000
    heard = scene.heard()
    assert numbers(heard) == list(range(1, 1001))
    assert {each.topic for each in heard} == {"dashfleet/replay/past/home/attic/up/telemetry"}
    assert sum(scene.progress) == 1000 * 10_000


def test_a_day_takes_144_seconds_at_600_times(scene: Scene) -> None:
    began = scene.clock.monotonic()
    times: list[float] = []

    def messages() -> Iterator[StoredMessage]:
        for minute in range(24 * 60 + 1):
            yield sample(minute * 60)
            times.append(scene.clock.monotonic() - began)

    publish_past(scene.publisher, messages(), PACE, clock=scene.clock)
    assert times == pytest.approx([minute / 10 for minute in range(24 * 60 + 1)], abs=0.002)


def test_messages_of_one_moment_do_not_wait(scene: Scene) -> None:
    began = scene.clock.monotonic()
    scene.publish([sample(0)] * 50)
    assert scene.clock.monotonic() == began


def test_what_the_broker_cannot_take_at_once_is_published_later(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    publish, asked = scene.publisher.publish, []

    def slowly(message: Message) -> bool:
        asked.append(message)
        return len(asked) % 3 == 0 and publish(message)

    monkeypatch.setattr(scene.publisher, "publish", slowly)
    scene.publish([sample(0, 1), sample(1, 2), sample(2, 3)])
    assert numbers(scene.heard()) == [1, 2, 3]


def test_a_connection_that_ends_ends_the_replay(scene: Scene) -> None:
    def messages() -> Iterator[StoredMessage]:
        yield sample(0, 1)
        scene.publisher.cut("cut off")
        yield sample(60, 2)

    with pytest.raises(ReplayError, match="cut off"):
        publish_past(scene.publisher, messages(), PACE, clock=scene.clock)
    assert numbers(scene.heard()) == [1]
