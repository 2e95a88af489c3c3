"""Looking at machines: one request for all who look, valid readings only, and nothing when nobody looks."""

import pytest
from clocks import Clock

from broker.access.policy import Principal, Role
from broker.client.live_client import LOOK_SECONDS, MACHINES_MAX, READINGS_MAX, LiveClient
from broker.client.memory import MemoryBroker, MemoryTransport
from broker.client.topic_tail import MISSING_SECONDS, Looks
from broker.client.transport import Connected, Message
from schemas.contract import topics
from schemas.contract.live import REQUEST_SECONDS, Live, LiveAnswer
from schemas.contract.messages import Vitals

READER = Principal(Role.READER, "home", "grafana")
LIVE = topics.LIVE.at(org="home", machine="attic")
BASE = (topics.ORG_CONFIG.at(org="home"), 1)
ANSWER = topics.LIVE_ANSWER.at(org="home", principal="grafana")
READING = Live(session=1, at=1, vitals=Vitals(cpu_percent=5.0)).encode()


class Viewer:
    """A client that looks, and what arrives at the broker."""

    def __init__(self, clock: Clock) -> None:
        self.clock, self.broker = clock, MemoryBroker()
        base = [BASE]
        self.client = LiveClient(READER, clock=clock, base=base)
        self.transport = self._join("home._grafana", base)
        self.ingestor = self._join("_ingestor", [(topics.LIVE_REQUEST.filter(), 0)])

    def _join(self, name: str, subscriptions: list[tuple[str, int]]) -> MemoryTransport:
        joined = MemoryTransport(self.broker, client_id=name, subscriptions=subscriptions, pass_time=lambda _: None)
        joined.receive(10, 0)
        return joined

    def step(self, seconds: float = 0.0) -> None:
        self.clock.advance(seconds)
        self.client.step(self.transport)
        for event in self.transport.receive(1000, 0):
            self.client.handle(event)

    def say(self, payload: bytes = READING, topic: str = LIVE, *, retain: bool = False) -> None:
        self.broker.route(Message(topic, payload, 0, retain))
        self.step()

    def requests(self) -> int:
        return sum(isinstance(event, Message) for event in self.ingestor.receive(1000, 0))


@pytest.fixture
def viewer(clock: Clock) -> Viewer:
    return Viewer(clock)


def test_nothing_is_requested_or_subscribed_to_while_nobody_looks(viewer: Viewer) -> None:
    for _ in range(100):
        viewer.step(1.0)
    assert viewer.requests() == 0
    assert viewer.transport._subscriptions == [BASE]


def test_fifty_looks_at_a_machine_are_one_request_every_three_seconds(viewer: Viewer) -> None:
    for _ in range(30):
        for _ in range(50):
            viewer.client.look("home", "attic")
        viewer.step(1.0)
    assert 30 / REQUEST_SECONDS - 1 <= viewer.requests() <= 30 / REQUEST_SECONDS + 1


def test_a_look_shows_the_readings_and_says_whether_they_are_of_this_moment(viewer: Viewer) -> None:
    viewer.client.look("home", "attic")
    viewer.step()
    viewer.say()
    view = viewer.client.look("home", "attic")
    assert (view.is_live, [each.reading.vitals.cpu_percent for each in view.readings]) == (True, [5.0])
    assert view.readings[0].at == viewer.clock.now()
    for _ in range(4):
        viewer.step(1.0)
        view = viewer.client.look("home", "attic")
    assert not view.is_live
    assert view.waited_seconds == 4.0


def test_readings_are_forgotten_and_requests_end_when_nobody_looks_any_more(viewer: Viewer) -> None:
    viewer.client.look("home", "attic")
    viewer.step()
    viewer.say()
    viewer.step(LOOK_SECONDS + 0.1)
    viewer.requests()
    viewer.step(60.0)
    assert viewer.requests() == 0
    assert viewer.transport._subscriptions == [BASE]
    assert viewer.client.look("home", "attic").readings == ()


def test_what_is_kept_is_bounded(viewer: Viewer) -> None:
    viewer.client.look("home", "attic")
    viewer.step()
    for _ in range(READINGS_MAX + 10):
        viewer.say()
    assert len(viewer.client.look("home", "attic").readings) == READINGS_MAX
    looks = [viewer.client.look("home", f"m{number}") for number in range(MACHINES_MAX)]
    assert [look.refused for look in looks] == [""] * (MACHINES_MAX - 1) + ["too-many"]


@pytest.mark.parametrize(
    "payload", [b"", b"nonsense", b'{"v": 1, "session": 1, "at": 1, "vitals": {"cpu_percent": 1e9}}', b"[" * 100_000]
)
def test_an_invalid_reading_is_counted_and_not_shown(viewer: Viewer, payload: bytes) -> None:
    viewer.client.look("home", "attic")
    viewer.step()
    viewer.say(payload)
    assert (viewer.client.unreadable, viewer.client.look("home", "attic").readings) == (1, ())


def test_a_retained_reading_and_one_of_another_machine_are_not_shown(viewer: Viewer) -> None:
    viewer.broker.retained[LIVE] = Message(LIVE, READING, 0, retain=True)
    viewer.client.look("home", "attic")
    viewer.step()
    viewer.client.handle(Message(topics.LIVE.at(org="office", machine="attic"), READING, 0))
    viewer.client.handle(Message(topics.LIVE.at(org="home", machine="cellar"), READING, 0))
    viewer.client.handle(Message("no/topic", READING, 0))
    assert viewer.client.look("home", "attic").readings == ()


def test_a_refusal_is_told_until_readings_come(viewer: Viewer) -> None:
    viewer.client.look("home", "attic")
    viewer.step()
    viewer.say(LiveAnswer(machine="attic", refused="too-many").encode(), ANSWER)
    assert viewer.client.look("home", "attic").refused == "too-many"
    viewer.say()
    assert viewer.client.look("home", "attic").refused == ""


def test_a_request_that_could_not_be_sent_is_sent_with_the_next_connection(viewer: Viewer) -> None:
    viewer.client.look("home", "attic")
    viewer.transport.cut()
    for _ in range(3):
        viewer.step(0.1)
    assert viewer.requests() == 1


def test_the_command_line_shows_live_readings_only_and_tells_once_why_there_are_none(
    viewer: Viewer, capsys: pytest.CaptureFixture[str]
) -> None:
    looks = Looks(viewer.client, "home", ["attic"])
    for _ in range(10):
        looks.step(viewer.transport)
        viewer.step(MISSING_SECONDS / 5)
    told = capsys.readouterr().err
    assert told.count("no live readings of attic: the machine may be offline") == 1
    assert looks.are_to_show(Message(LIVE, READING, 0))
    assert looks.are_to_show(Connected())
    assert not looks.are_to_show(Message(LIVE, READING, 0, retain=True))
    for _ in range(2):
        looks.step(viewer.transport)
        viewer.step(2.0)
    viewer.say(LiveAnswer(machine="attic", refused="unknown-machine").encode(), ANSWER)
    looks.step(viewer.transport)
    assert "has no machine with this id" in capsys.readouterr().err


def test_without_machines_every_event_is_shown_and_nothing_is_requested(viewer: Viewer) -> None:
    looks = Looks(viewer.client, "home", [])
    looks.step(viewer.transport)
    assert looks.are_to_show(Message(ANSWER, b"", 0, retain=True))
    assert viewer.requests() == 0
