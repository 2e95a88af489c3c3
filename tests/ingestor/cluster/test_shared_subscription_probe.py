"""Whether a broker shares subscriptions, found out at the start."""

from clocks import Clock

from broker.client.memory import MemoryBroker, MemoryTransport
from broker.client.transport import Connected, Message
from ingestor.cluster.shared_subscription_probe import AGAIN_SECONDS, PATIENCE_SECONDS, SharedSubscriptionProbe


class Asking:
    """A probe and its connection."""

    def __init__(self, broker: MemoryBroker, clock: Clock, *, deaf_to: tuple[str, ...] = ()) -> None:
        self.clock = clock
        self.deaf_to = deaf_to
        self.probe = SharedSubscriptionProbe("ingestor", clock)
        self.transport = MemoryTransport(
            broker, client_id="_ingestor", subscriptions=self.probe.subscriptions, pass_time=lambda _: None
        )

    def step(self) -> bool | None:
        for event in self.transport.receive(10, 0):
            if isinstance(event, Connected):
                self.probe.start(event)
            elif isinstance(event, Message) and not event.topic.endswith(self.deaf_to):
                self.probe.handle(event)
        return self.probe.step(self.transport)


def test_a_broker_that_delivers_shares(clock: Clock) -> None:
    asking = Asking(MemoryBroker(shares=True), clock)
    assert asking.step() is None
    assert asking.step() is True


def test_a_broker_that_refuses_does_not_and_nothing_is_waited_for(clock: Clock) -> None:
    assert Asking(MemoryBroker(), clock).step() is False


def test_a_broker_that_grants_and_delivers_nothing_does_not(clock: Clock) -> None:
    asking = Asking(MemoryBroker(shares=True), clock, deaf_to=("shared",))
    asking.step()
    assert asking.step() is None
    clock.advance(PATIENCE_SECONDS - 0.1)
    assert asking.step() is None
    clock.advance(0.2)
    assert asking.step() is False


def test_a_broker_that_delivers_nothing_yet_is_asked_again_and_waited_for(clock: Clock) -> None:
    asking = Asking(MemoryBroker(shares=True), clock, deaf_to=("shared", "plain"))
    for _ in range(20):
        assert asking.step() is None
        clock.advance(AGAIN_SECONDS)
    asking.deaf_to = ()
    asking.step()
    assert asking.step() is True


def test_a_connection_that_ends_meanwhile_begins_it_anew(clock: Clock) -> None:
    asking = Asking(MemoryBroker(shares=True), clock, deaf_to=("shared",))
    asking.step()
    assert asking.step() is None
    asking.transport.cut()
    clock.advance(PATIENCE_SECONDS)
    asking.deaf_to = ()
    asking.transport.receive(1, 0)  # what was cut
    answers = [asking.step() for _ in range(3)]
    assert answers[-1] is True
