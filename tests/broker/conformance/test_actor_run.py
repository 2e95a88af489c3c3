"""Runs against a small actor in memory: a right one passes, each mutant violates the assertion it should."""

import pytest
from clocks import Clock
from small_actor import SmallActor

from broker.access.policy import Principal, Role
from broker.conformance import assertions as df
from broker.conformance.actor_run import ActorRun
from broker.conformance.assertions import Assertion
from broker.conformance.order_signer import SeedSigner
from broker.conformance.program import ProgramWatch
from broker.conformance.program_broker import ProgramBroker
from broker.conformance.report import ConformanceReport, Judgment
from schemas.contract.signing import new_key

MUTANTS: dict[str, Assertion] = {
    "another client id": df.ACTOR_IDENTITY,
    "session continues": df.ACTOR_CLEAN,
    "subscribes later": df.ACTOR_SUBSCRIBES,
    "subscribes to the Updates of another": df.ACTOR_SUBSCRIBES,
    "another topic": df.ACTOR_TOPIC,
    "QoS 0": df.ACTOR_QOS,
    "retained": df.ACTOR_QOS,
    "text for a number": df.ACTOR_VALID,
    "order without an id": df.ACTOR_VALID,
    "another key": df.ACTOR_SIGNED,
    "another organisation": df.ACTOR_TARGET,
    "another machine": df.ACTOR_TARGET,
    "another action": df.ACTOR_TARGET,
    "issued in the past": df.ACTOR_TIMES,
    "one order id": df.ACTOR_NEW_IDS,
    "one batch": df.ACTOR_NEW_IDS,
    "one request id": df.ACTOR_NEW_IDS,
    "repeats only when connected": df.ACTOR_AGAIN,
    "repeats only in time": df.ACTOR_AGAIN_CONNECTED,
    "other content again": df.ACTOR_SAME,
    "Updates of others": df.ACTOR_OTHERS,
    "unknown fields refused": df.ACTOR_UNKNOWN_FIELDS,
    "ends after an invalid message": df.ACTOR_INVALID,
    "deaf after an invalid message": df.ACTOR_INVALID,
    "timed-out is final": df.ACTOR_NOT_FINAL,
    "never asks again": df.ACTOR_ASKS,
    "no outcome is well": df.ACTOR_SUCCEEDED,
    "every outcome is well": df.ACTOR_FAILED,
    "refused is well": df.ACTOR_REFUSED,
    "ends after a duplicate": df.ACTOR_TWICE,
}


def run(breaks: str = "") -> ConformanceReport:
    clock, seed = Clock(), new_key()
    broker = ProgramBroker(Principal(Role.OPERATOR, "home", "conform"), "secret", clock)
    actor = SmallActor(broker, clock, seed, breaks=breaks)

    def pump(seconds: float) -> None:
        actor.step()
        clock.advance(seconds)

    return ActorRun(ProgramWatch(broker, actor, clock, pump), SeedSigner(seed), clock, patience_seconds=10.0).run()


def test_an_actor_that_follows_the_contract_passes_every_assertion() -> None:
    assert [(verdict.assertion.id, verdict.judgment, verdict.detail) for verdict in run().verdicts] == [
        (assertion.id, Judgment.PASSED, "") for assertion in df.of_subject("actor")
    ]


@pytest.mark.parametrize("breaks", MUTANTS)
def test_a_mutant_violates_the_one_assertion_that_it_should(breaks: str) -> None:
    failed = run(breaks).failed
    assert [(each.assertion.id, each.detail) for each in failed if each.assertion != MUTANTS[breaks]] == []
    assert [each.assertion for each in failed] == [MUTANTS[breaks]]


def test_a_wrong_topic_is_named_with_the_right_one() -> None:
    failed = {each.assertion: each.detail for each in run("another topic").failed}
    assert failed[df.ACTOR_TOPIC] == (
        "it publishes to dashfleet/v1/home/probe/up/status instead of dashfleet/v1/home/_actions/conform/request"
    )


def test_every_assertion_on_actors_has_a_mutant() -> None:
    assert set(MUTANTS.values()) == set(df.of_subject("actor"))
