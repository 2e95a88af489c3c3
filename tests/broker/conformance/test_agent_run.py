"""Runs against a small agent in memory: a right one passes, each mutant violates exactly the assertion it should."""

import pytest
from clocks import Clock
from small_agent import SmallAgent

from broker.client.memory import MemoryBroker, MemoryTransport
from broker.client.transport import Message
from broker.conformance import assertions as df
from broker.conformance.agent_run import AgentRun
from broker.conformance.assertions import Assertion
from broker.conformance.order_signer import SeedSigner
from broker.conformance.report import ConformanceReport, Judgment
from schemas.contract import topics
from schemas.contract.ack import Ack, Range
from schemas.contract.messages import Telemetry
from schemas.contract.org_config import OrgConfig
from schemas.contract.signing import new_key

MUTANTS: dict[str, Assertion] = {
    "no birth": df.BIRTH,
    "birth not retained": df.STATUS_RETAINED,
    "no info": df.INFO,
    "info only once": df.INFO,
    "info not retained": df.INFO_RETAINED,
    "text for a number": df.VALID,
    "facts without a session": df.VALID,
    "samples with QoS 0": df.QOS,
    "results with QoS 0": df.QOS,
    "session of samples": df.ONE_SESSION,
    "session of batches": df.ONE_SESSION,
    "session of results": df.ONE_SESSION,
    "session stays": df.SESSION_RISES,
    "session falls": df.SESSION_RISES,
    "no will": df.WILL,
    "will is a goodbye": df.WILL,
    "will of another session": df.WILL,
    "no goodbye": df.GOODBYE,
    "goodbye is lost": df.GOODBYE,
    "offline stays": df.BIRTH_AGAIN,
    "gaps": df.NUMBERS,
    "oldest is 1": df.OLDEST,
    "oldest is the newest": df.OLDEST,
    "metric not described": df.DESCRIBED,
    "nothing again": df.RESENT,
    "other content again": df.SAME_CONTENT,
    "numbers from 1 at restart": df.SAME_CONTENT,
    "batches at once": df.ONE_BATCH,
    "acknowledged samples again": df.ACKED,
    "rejected samples again": df.REJECTED,
    "no running": df.RUNNING,
    "no outcome": df.OUTCOME,
    "results once": df.REPEATED,
    "results for ever": df.RESULT_ACKED,
    "runs twice": df.ONCE,
    "known orders unanswered": df.ONCE,
    "signature not verified": df.SIGNATURE,
    "target not checked": df.TARGET,
    "expired not checked": df.EXPIRED,
    "future not checked": df.FUTURE,
    "not-allowed not checked": df.NOT_ALLOWED,
    "another code": df.NOT_ALLOWED,
    "arguments not checked": df.ARGUMENTS,
    "unknown fields refused": df.UNKNOWN_FIELDS,
    "no samples after an invalid message": df.INVALID_MESSAGES,
    "no new keys": df.KEY_ADDED,
    "any new key": df.KEY_UNTRUSTED,
    "no revocations": df.KEY_REVOKED,
    "journal lost at restart": df.KNOWN_ORDER,
    "retires with its will": df.RETIRING,
    "a lost journal is a new one": df.JOURNAL_LOST,
    "another code for a lost journal": df.JOURNAL_LOST,
}


LEVELS = {"org": "home", "machine": "attic"}


def run(
    breaks: str = "",
    *,
    plays_ingestor: bool = True,
    has_control: bool = True,
    has_ingestor: bool = False,
    has_key: bool = True,
    has_journal: bool = True,
) -> ConformanceReport:
    """Run against a small agent; `has_ingestor`: another client acknowledges its samples."""
    return prepare(
        MemoryBroker(),
        breaks,
        plays_ingestor=plays_ingestor,
        has_control=has_control,
        has_ingestor=has_ingestor,
        has_key=has_key,
        has_journal=has_journal,
    )[0].run()


def prepare(
    broker: MemoryBroker,
    breaks: str = "",
    *,
    plays_ingestor: bool = True,
    has_control: bool = True,
    has_ingestor: bool = False,
    has_key: bool = True,
    has_journal: bool = True,
) -> tuple[AgentRun, SmallAgent]:
    """Return a run and its agent, on this broker."""
    clock, signer = Clock(), SeedSigner(new_key())
    agent = SmallAgent(broker, clock, signer.public(), breaks=breaks)
    filters = [(topics.TELEMETRY.at(**LEVELS), 1)] if has_ingestor else []
    ingestor = MemoryTransport(broker, client_id="_ingestor", subscriptions=filters, pass_time=lambda _: None)

    def pass_time(seconds: float) -> None:
        clock.advance(seconds)
        agent.step()
        for event in ingestor.receive(100, 0):
            if isinstance(event, Message):
                sample = Telemetry.decode(event.payload)
                ack = Ack(stream=sample.stream, ranges=(Range(first=sample.seq, last=sample.seq),))
                ingestor.publish(Message(topics.ACK.at(**LEVELS), ack.encode(), 0))

    transport = MemoryTransport(broker, client_id="_conform", pass_time=pass_time)
    if not has_control:
        agent.start()
        agent.step()
    made = AgentRun(
        transport,
        clock,
        org="home",
        machine="attic",
        config=OrgConfig(),
        signer=signer if has_key else None,
        control=agent if has_control else None,
        lose_journal=agent.lose_journal if has_journal else lambda: False,
        plays_ingestor=plays_ingestor,
        patience_seconds=20.0,
        quiet_seconds=10.0,
    )
    return made, agent


def ids(report: ConformanceReport, judgment: Judgment) -> list[str]:
    return [verdict.assertion.id for verdict in report.verdicts if verdict.judgment is judgment]


def test_an_agent_that_follows_the_contract_passes_every_assertion() -> None:
    report = run()
    assert [(verdict.assertion.id, verdict.detail) for verdict in report.failed] == []
    assert ids(report, Judgment.SKIPPED) == []


@pytest.mark.parametrize("breaks", MUTANTS)
def test_a_mutant_violates_the_one_assertion_that_it_should(breaks: str) -> None:
    failed = run(breaks).failed
    assert [(verdict.assertion.id, verdict.detail) for verdict in failed if verdict.assertion != MUTANTS[breaks]] == []
    assert [verdict.assertion for verdict in failed] == [MUTANTS[breaks]]


def test_what_the_machine_of_a_run_has_retained_is_cleared_with_its_will_and_nothing_of_others_is() -> None:
    broker = MemoryBroker()
    other = MemoryTransport(broker, client_id="home.cellar", pass_time=lambda _: None)
    other.receive(1, 0)
    theirs = [topics.STATUS.at(org="home", machine="cellar"), topics.STATUS.at(org="work", machine="attic")]
    for topic in theirs:
        other.publish(Message(topic, b"{}", 1, retain=True))
    conform, agent = prepare(broker)
    conform.run()
    assert set(broker.retained) > set(theirs)
    agent.kill()
    conform.clear_retained()
    assert set(broker.retained) == {*theirs, topics.ORG_CONFIG.at(org="home")}


def test_every_assertion_on_agents_has_a_mutant() -> None:
    assert set(MUTANTS.values()) == set(df.of_subject("agent"))


def test_what_needs_the_part_of_the_ingestor_or_the_command_of_the_program_is_skipped_without() -> None:
    report = run(plays_ingestor=False, has_control=False)
    assert report.failed == []
    skipped = {verdict.assertion for verdict in report.verdicts if verdict.judgment is Judgment.SKIPPED}
    assert {df.RESENT, df.ACKED, df.REPEATED, df.KEY_ADDED, df.WILL, df.GOODBYE, df.SESSION_RISES} <= skipped
    assert not {df.BIRTH, df.NUMBERS, df.OUTCOME, df.ONCE, df.SIGNATURE} & skipped


def test_without_the_file_of_its_journal_the_report_names_the_option_that_takes_it() -> None:
    report = run(has_journal=False)
    assert report.failed == []
    skipped = {each.assertion: each.detail for each in report.verdicts if each.judgment is Judgment.SKIPPED}
    assert [*skipped] == [df.JOURNAL_LOST]
    assert "--journal" in skipped[df.JOURNAL_LOST]


def test_what_a_connected_ingestor_has_acknowledged_does_not_count_as_waiting() -> None:
    report = run(plays_ingestor=False, has_ingestor=True)
    assert [(verdict.assertion.id, verdict.detail) for verdict in report.failed] == []
    skipped = {verdict.assertion: verdict.detail for verdict in report.verdicts}
    assert skipped[df.OLDEST] == "an ingestor is connected, which acknowledges everything: stop it first"


def test_without_a_signing_key_the_report_names_the_option_that_takes_one() -> None:
    report = run(has_key=False)
    reasons = {verdict.detail for verdict in report.verdicts if verdict.judgment is Judgment.SKIPPED}
    assert "no signing key of the organisation is known: name one with --key" in reasons
