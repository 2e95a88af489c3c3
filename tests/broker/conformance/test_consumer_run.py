"""Runs against a small consumer in memory: a right one passes, each mutant violates the assertion it should."""

import pytest
from clocks import Clock
from small_consumer import SmallConsumer

from broker.access.policy import Principal, Role
from broker.conformance import assertions as df
from broker.conformance.assertions import Assertion
from broker.conformance.consumer_run import ConsumerRun
from broker.conformance.program import ProgramWatch
from broker.conformance.program_broker import ProgramBroker
from broker.conformance.report import ConformanceReport, Judgment

MUTANTS: dict[str, Assertion] = {
    "version 5": df.CONSUMER_IDENTITY,
    "another client id": df.CONSUMER_IDENTITY,
    "session continues": df.CONSUMER_CLEAN,
    "no keep-alive": df.CONSUMER_KEEP_ALIVE,
    "subscribes to everything": df.CONSUMER_GRANTED,
    "publishes": df.CONSUMER_SILENT,
    "a will": df.CONSUMER_SILENT,
    "retained ignored": df.CONSUMER_RETAINED,
    "only the first": df.CONSUMER_CHANGES,
    "nothing acknowledged": df.CONSUMER_ACKNOWLEDGES,
    "every field required": df.CONSUMER_DEFAULTS,
    "unknown fields refused": df.CONSUMER_UNKNOWN_FIELDS,
    "ends after an invalid message": df.CONSUMER_INVALID,
    "verified ignored": df.CONSUMER_UNVERIFIED,
    "nothing verified": df.CONSUMER_UNVERIFIED,
    "removals ignored": df.CONSUMER_REMOVED,
    "connects once": df.CONSUMER_RECONNECTS,
    "gives up": df.CONSUMER_RECONNECTS,
    "subscribes once": df.CONSUMER_RESUBSCRIBES,
    "connects at once": df.CONSUMER_WAITS,
    "ends after a duplicate": df.CONSUMER_TWICE,
}


def run(breaks: str = "") -> ConformanceReport:
    clock = Clock()
    broker = ProgramBroker(Principal(Role.READER, "home", "conform"), "secret", clock)
    consumer = SmallConsumer(broker, clock, breaks=breaks)

    def pump(seconds: float) -> None:
        consumer.step()
        clock.advance(seconds)

    return ConsumerRun(ProgramWatch(broker, consumer, clock, pump), clock, patience_seconds=5.0).run()


def test_a_consumer_that_follows_the_contract_passes_every_assertion() -> None:
    assert [(verdict.assertion.id, verdict.judgment, verdict.detail) for verdict in run().verdicts] == [
        (assertion.id, Judgment.PASSED, "") for assertion in df.of_subject("consumer")
    ]


@pytest.mark.parametrize("breaks", MUTANTS)
def test_a_mutant_violates_the_one_assertion_that_it_should(breaks: str) -> None:
    assert [
        (verdict.assertion.id, verdict.detail) for verdict in run(breaks).failed if verdict.assertion != MUTANTS[breaks]
    ] == []
    assert [verdict.assertion for verdict in run(breaks).failed] == [MUTANTS[breaks]]


def test_every_assertion_on_consumers_has_a_mutant() -> None:
    assert set(MUTANTS.values()) == set(df.of_subject("consumer"))
