"""Messages that a broker retains where the contract does not."""

from collections.abc import Iterator

import pytest
from ingestion import Bench, Speaker
from sqlalchemy import Engine

from broker.client.memory import MemoryTransport
from broker.client.transport import Message
from ingestor.intake.retained_sweep import SWEEP_SECONDS
from schemas.contract import topics
from schemas.contract.ack import Ack
from schemas.database.queries.dead_letters import list_dead_letters
from schemas.database.queries.machines import list_machines

ATTIC = {"org": "home", "machine": "attic"}


@pytest.fixture
def newcomer(bench: Bench) -> Iterator[MemoryTransport]:
    """A reader that subscribes after the others."""
    reader = MemoryTransport(bench.broker, client_id="reader", subscriptions=[(topics.TELEMETRY.filter(), 1)])
    yield reader
    reader.close()


def retaining(message: Message) -> Message:
    return Message(message.topic, message.payload, message.qos, retain=True)


def presence(fleet: Engine) -> str:
    return next(str(row["presence"]) for row in list_machines(fleet) if row["org"] == "home")


def unretained(bench: Bench) -> set[str]:
    return {topic for topic in bench.broker.retained if (found := topics.parse(topic)) and not found.topic.retain}


def reasons(fleet: Engine) -> list[str]:
    return [letter["reason"] for letter in list_dead_letters(fleet, limit=9)]


def test_what_a_machine_retains_by_mistake_is_cleared_and_the_machine_is_told(
    bench: Bench, speaker: Speaker, fleet: Engine, newcomer: MemoryTransport
) -> None:
    bench.publish(speaker.status(), retaining(speaker.telemetry(1)), retaining(speaker.backfill(2)))
    bench.step()
    assert reasons(fleet) == [], "as it arrives, it looks like any other"
    bench.client.receive(100, 0)
    bench.step(SWEEP_SECONDS)
    bench.step(5.0, steps=3)
    assert unretained(bench) == set()
    assert reasons(fleet) == ["retained", "retained"], "and none for the messages that cleared them"
    events = [event for event in bench.client.receive(100, 0) if isinstance(event, Message)]
    told = [each for event in events if event.topic.endswith("/ack") for each in Ack.decode(event.payload).rejected]
    assert {(each.topic, each.reason) for each in told} == {
        (topics.TELEMETRY.at(**ATTIC), "retained"),
        (topics.BACKFILL.at(**ATTIC), "retained"),
    }
    assert [event for event in newcomer.receive(10, 0) if isinstance(event, Message)] == []


def test_a_retained_sample_makes_no_machine_present(bench: Bench, speaker: Speaker, fleet: Engine) -> None:
    """As when the ingestor starts: the machine may have been gone for a year."""
    bench.publish(retaining(speaker.telemetry(1)))
    bench.ingestor.step()  # connects
    bench.step(steps=3)
    assert presence(fleet) in ("unknown", "online")
    bench.broker.clients["_ingestor"].cut()
    bench.step(86_400 * 2, steps=2)
    before = presence(fleet)
    bench.publish(retaining(speaker.telemetry(2)))
    bench.broker.clients["_ingestor"].cut()
    bench.step(5.0, steps=3)
    assert presence(fleet) == before


def test_a_retained_request_is_not_carried_out_and_recorded_once(bench: Bench, fleet: Engine) -> None:
    bench.client.subscribe([(topics.UPDATE.filter(), 1)])
    topic = topics.REQUEST.at(org="home", principal="ann")
    bench.broker.retained[topic] = Message(topic, b'{"id": "%s"}' % (b"0" * 32), 1, retain=True)
    for _ in range(3):
        bench.step(SWEEP_SECONDS, steps=2)
    assert reasons(fleet) == ["retained"]
    events = [event for event in bench.client.receive(9, 0) if isinstance(event, Message)]
    assert [event for event in events if event.topic.endswith("/update")] == []


def test_an_empty_sample_that_clears_nothing_is_invalid_as_before(
    bench: Bench, speaker: Speaker, fleet: Engine
) -> None:
    bench.publish(speaker.status(), Message(topics.TELEMETRY.at(**ATTIC), b""))
    bench.step(steps=2)
    assert reasons(fleet) == ["not-json"]
