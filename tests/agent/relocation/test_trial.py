"""The trial of another server: only its acknowledgement of a sample counts."""

from collections.abc import Callable

from clocks import Clock
from ingestion import Bench
from sqlalchemy import Engine, select

from agent.relocation.trial import TRIAL_SECONDS, Trial, TrialResult
from broker.client.memory import MemoryBroker, MemoryTransport
from broker.client.transport import Message, Transport, WillMaker
from schemas.contract import topics
from schemas.contract.ack import Ack, Range, Rejection
from schemas.contract.messages import Extra, Status, Vitals
from schemas.database import tables

OWN = {"org": "home", "machine": "attic"}
STREAM = "00000000000000bb"
Answer = Callable[[Message], Message | None]


def readings() -> tuple[Vitals, Extra]:
    return Vitals(cpu_percent=1.0), {}


def trial(clock: Clock, broker: MemoryBroker, meanwhile: Callable[[], None], *, home_session: int = 5) -> Trial:
    """Return a trial; while it waits, `meanwhile` does what the other server does."""

    def opened(subscriptions: list[tuple[str, int]], will: WillMaker) -> Transport:
        return MemoryTransport(broker, client_id="home.attic", subscriptions=subscriptions, will=will, pass_time=waits)

    def waits(seconds: float) -> None:
        clock.advance(seconds)
        meanwhile()

    return Trial(
        opened,
        **OWN,
        home_session=home_session,
        interval_seconds=10.0,
        stream=STREAM,
        readings=readings,
        clock=clock,
    )


def answering(broker: MemoryBroker, answer: Callable[[], Ack | None]) -> Callable[[], None]:
    def answers() -> None:
        if (ack := answer()) is not None:
            broker.route(Message(topics.ACK.at(**OWN), ack.encode(), 0))

    return answers


def test_a_server_that_stores_the_sample_is_accepted(bench: Bench, fleet: Engine, clock: Clock) -> None:
    result = trial(clock, bench.broker, lambda: bench.step(0.5)).run()
    bench.step(3, steps=3)

    assert result == TrialResult("")
    with fleet.connect() as connection:
        stream = connection.execute(select(tables.stream).where(tables.stream.c.name == STREAM)).one()
        state = connection.execute(select(tables.state)).one()
    assert (stream.highest_seq, stream.late, stream.duplicate) == (1, 0, 0)
    assert (state.presence, state.reason) == ("offline", "restarting")


def test_a_server_that_is_silent_is_given_a_minute(clock: Clock) -> None:
    started = clock.monotonic()

    result = trial(clock, MemoryBroker(), lambda: None).run()

    assert result.problem == "it has accepted the connection, but stored no sample"
    assert TRIAL_SECONDS <= clock.monotonic() - started < TRIAL_SECONDS + 5


def test_a_server_that_cannot_be_reached_is_named_with_the_reason(clock: Clock) -> None:
    broker = MemoryBroker()
    broker.stop()

    assert trial(clock, broker, lambda: None).run().problem == "it does not answer"


def test_the_same_sample_is_sent_again_until_it_is_acknowledged(clock: Clock) -> None:
    broker = MemoryBroker()
    sent: list[Message] = []
    ears = MemoryTransport(
        broker, client_id="ears", subscriptions=[(topics.TELEMETRY.filter(), 1)], pass_time=lambda _: None
    )
    ears.receive(10, 0)

    def answer() -> Ack | None:
        sent.extend(event for event in ears.receive(10, 0) if isinstance(event, Message))
        return Ack(stream=STREAM, ranges=(Range(first=1, last=1),)) if len(sent) == 3 else None

    assert trial(clock, broker, answering(broker, answer)).run() == TrialResult("")
    assert len({message.payload for message in sent}) == 1


def test_acknowledgements_of_other_samples_count_for_nothing(clock: Clock) -> None:
    broker = MemoryBroker()
    others = (
        Ack(stream="00000000000000cc", ranges=(Range(first=1, last=9),)),
        Ack(stream=STREAM, ranges=(Range(first=2, last=9),)),
        Ack(results=("0" * 32,)),
    )
    turns = iter(others * 1000)

    assert trial(clock, broker, answering(broker, lambda: next(turns))).run().problem


def test_a_server_that_rejects_the_sample_is_named_with_its_reason(clock: Clock) -> None:
    broker = MemoryBroker()
    rejection = Rejection(
        topic=topics.TELEMETRY.at(**OWN),
        stream=STREAM,
        ranges=(Range(first=1, last=1),),
        reason="rate",
        detail="too many samples",
    )

    result = trial(clock, broker, answering(broker, lambda: Ack(rejected=(rejection,)))).run()

    assert result.problem == "it rejected the sample: too many samples"


def test_what_cannot_be_decoded_ends_nothing(clock: Clock) -> None:
    broker = MemoryBroker()

    def answers() -> None:
        broker.route(Message(topics.ACK.at(**OWN), b"\xff", 0))

    assert trial(clock, broker, answers).run().problem == "its answer could not be read"


def test_the_same_server_under_another_address_is_recognised_by_the_session_it_retains(
    bench: Bench, clock: Clock
) -> None:
    status = Status(state="online", session=77, at=clock.now())
    bench.broker.route(Message(topics.STATUS.at(**OWN), status.encode(), 1, retain=True))

    result = trial(clock, bench.broker, lambda: bench.step(0.5), home_session=77).run()

    assert result == TrialResult("", is_same_server=True)
