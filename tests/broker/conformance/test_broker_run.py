"""Runs against a small broker in memory: a right one passes, each mutant violates the assertion it should."""

import pytest
from small_broker import SmallBroker

from broker.conformance import assertions as df
from broker.conformance.assertions import Assertion
from broker.conformance.broker_run import BrokerRun
from broker.conformance.report import ConformanceReport, Judgment

MUTANTS: dict[str, Assertion] = {
    "accepts nobody": df.BROKER_CONNECTS,
    "any password": df.BROKER_PASSWORD,
    "loses messages": df.BROKER_DELIVERS,
    "changes payloads": df.BROKER_DELIVERS,
    "acknowledges nothing": df.BROKER_ACKNOWLEDGES,
    "QoS 0": df.BROKER_QOS,
    "one filter at QoS 1": df.BROKER_QOS,
    "reorders": df.BROKER_ORDER,
    "reorders topics": df.BROKER_ORDER_OF_TOPICS,
    "loses large messages": df.BROKER_LARGE,
    "retains nothing": df.BROKER_RETAINS,
    "no flag": df.BROKER_RETAINS,
    "replaces nothing": df.BROKER_REPLACES,
    "clears nothing": df.BROKER_CLEARS,
    "one per wildcard": df.BROKER_WILDCARD,
    "rereads nothing": df.BROKER_REREAD,
    "retains everything": df.BROKER_NOT_RETAINED,
    "a flag on live messages": df.BROKER_NOT_RETAINED,
    "no wills": df.BROKER_WILL,
    "wills not retained": df.BROKER_WILL_RETAINED,
    "a will after all": df.BROKER_NO_WILL,
    "waits for ever": df.BROKER_KEEP_ALIVE,
    "keeps sessions": df.BROKER_CLEAN,
    "two of a name": df.BROKER_TAKE_OVER,
    "refuses the second": df.BROKER_TAKE_OVER,
    "never answers the second": df.BROKER_TAKE_OVER,
    "anybody publishes": df.BROKER_PUBLISH_DENIED,
    "others' commands": df.BROKER_READ_DENIED,
    "wills of anybody": df.BROKER_WILL_DENIED,
    "other organisations": df.BROKER_ORGANISATIONS,
    "revoked ones stay": df.BROKER_REVOKED,
}


def run(breaks: str = "", *, held_back: int = 0) -> ConformanceReport:
    broker = SmallBroker(breaks)
    broker.held_back = held_back
    run = BrokerRun(broker.client, broker.credentials, name="small", patience_seconds=5.0, pause=lambda _: None)
    return run.run()


def test_a_broker_that_does_what_the_contract_needs_passes_every_assertion() -> None:
    assert [(verdict.assertion.id, verdict.judgment, verdict.detail) for verdict in run().verdicts] == [
        (assertion.id, Judgment.PASSED, "") for assertion in df.of_subject("broker")
    ]


def test_a_client_id_that_is_held_back_for_a_moment_is_no_violation() -> None:
    assert [(verdict.assertion.id, verdict.detail) for verdict in run(held_back=2).failed] == []


@pytest.mark.parametrize("breaks", MUTANTS)
def test_a_mutant_violates_the_one_assertion_that_it_should(breaks: str) -> None:
    failed = run(breaks).failed
    assert [(each.assertion.id, each.detail) for each in failed if each.assertion != MUTANTS[breaks]] == []
    assert [each.assertion for each in failed] == [MUTANTS[breaks]]


def test_every_assertion_on_brokers_has_a_mutant() -> None:
    assert set(MUTANTS.values()) == set(df.of_subject("broker"))
