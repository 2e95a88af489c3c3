"""Orders on a machine, from the broker to the result: what runs, what is rejected, and that nothing runs twice."""

import logging
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from agent_under_test import AgentUnderTest, calling, id_of
from clocks import Clock
from waiting import wait_until

from agent.action import Outcome
from agent.orders.executor import QUEUE_MAX
from agent.orders.journal import FUTURE_MILLISECONDS, KEPT_MILLISECONDS
from agent.orders.results import REPEAT_SECONDS
from schemas.contract import topics
from schemas.contract.messages import Signed
from schemas.contract.org_config import OrgConfig
from schemas.contract.signing import KeyChange, new_key, public_key, sign


@pytest.fixture
def machine(tmp_path: Path, clock: Clock) -> Iterator[AgentUnderTest]:
    made = AgentUnderTest(tmp_path, clock)
    yield made
    made.kill()


def line(machine: AgentUnderTest, text: str = "once", **facts: Any) -> Signed:  # noqa: ANN401
    return machine.operator.order("append", arguments={"text": text}, **facts)


def until(event: threading.Event, outcome: Outcome | None = None) -> Callable[[], Outcome | None]:
    """Block the action until the test releases it."""

    def wait() -> Outcome | None:
        event.wait(30)
        return outcome

    return wait


def wait_until_it_leaves(machine: AgentUnderTest) -> None:
    def leaves() -> bool:
        machine.step()
        return machine.agent.restarting

    wait_until(leaves, what="the request to restart")


# Running.


def test_an_order_is_run_and_its_progress_and_outcome_are_said(machine: AgentUnderTest) -> None:
    result = machine.outcome(order := line(machine))

    assert machine.lines == ["once"]
    assert machine.states(order) == ["running", "succeeded"]
    assert (result.reason, result.detail) == ("", "appended")
    assert {each.action for each in machine.results()} == {"append"}
    assert result.session == machine.statuses[-1].session
    assert machine.executor.counts == {"started": 1}


def test_an_order_that_comes_again_is_answered_and_not_run_again(machine: AgentUnderTest) -> None:
    machine.outcome(order := line(machine))
    machine.send(order, attempt=2)
    machine.send(order, attempt=3)

    assert machine.states(order) == ["running", "succeeded", "succeeded", "succeeded"]
    assert machine.lines == ["once"]


def test_an_order_that_ran_is_answered_after_its_expiry_too(machine: AgentUnderTest) -> None:
    machine.outcome(order := line(machine, lives_seconds=10))
    machine.clock.advance(60)
    machine.send(order)

    assert machine.states(order)[-1] == "succeeded"
    assert machine.lines == ["once"]


def test_an_order_is_not_run_again_after_a_restart(machine: AgentUnderTest) -> None:
    machine.outcome(order := line(machine))
    machine.stop()
    machine.start()
    machine.send(order)

    assert machine.states(order)[-1] == "succeeded"
    assert machine.lines == ["once"]


def test_sampling_goes_on_while_an_action_takes_long(tmp_path: Path, clock: Clock) -> None:
    go_on = threading.Event()
    machine = AgentUnderTest(tmp_path, clock, calling(until(go_on), seconds=3600))
    machine.send(order := machine.operator.order("call"))
    before = len(machine.samples)
    machine.run(100)

    assert len(machine.samples) >= before + 9
    assert machine.states(order) == ["running"]
    go_on.set()
    assert machine.final(order).state == "succeeded"
    machine.kill()


def test_actions_run_one_after_the_other_and_a_waiting_one_is_not_running(tmp_path: Path, clock: Clock) -> None:
    go_on = threading.Event()
    machine = AgentUnderTest(tmp_path, clock, calling(until(go_on)))
    machine.send(first := machine.operator.order("call"))
    machine.send(second := line(machine))
    machine.send(second)
    assert machine.states(second) == []
    go_on.set()
    machine.final(first)

    assert machine.final(second).state == "succeeded"
    assert machine.lines == ["once"]
    machine.kill()


def test_a_waiting_order_that_expires_is_refused_when_its_turn_comes(tmp_path: Path, clock: Clock) -> None:
    go_on = threading.Event()
    machine = AgentUnderTest(tmp_path, clock, calling(until(go_on), seconds=3600))
    machine.send(machine.operator.order("call"))
    machine.send(order := line(machine, lives_seconds=10))
    machine.run(20)
    go_on.set()
    result = machine.final(order)

    assert (result.state, result.reason) == ("rejected", "expired")
    assert machine.lines == []
    machine.kill()


def test_more_orders_than_the_queue_holds_come_again(tmp_path: Path, clock: Clock) -> None:
    go_on = threading.Event()
    machine = AgentUnderTest(tmp_path, clock, calling(until(go_on)))
    machine.send(machine.operator.order("call"))
    orders = [line(machine, str(number)) for number in range(QUEUE_MAX + 3)]
    for order in orders:
        machine.send(order)
    assert machine.executor.counts["full"] == 3
    go_on.set()
    machine.final(orders[QUEUE_MAX - 1])
    for order in orders:
        machine.outcome(order)

    assert sorted(machine.lines, key=int) == [str(number) for number in range(QUEUE_MAX + 3)]
    machine.kill()


def test_an_action_that_raises_has_failed_and_the_next_one_runs(
    tmp_path: Path, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL, "agent.action")  # xdist cannot transfer a log record with a lone surrogate

    def raises() -> Outcome:
        raise RuntimeError("a lone surrogate \ud800 and a NUL \0")

    machine = AgentUnderTest(tmp_path, clock, calling(raises))
    result = machine.outcome(machine.operator.order("call"))

    assert (result.state, result.reason) == ("failed", "error")
    assert "RuntimeError: a lone surrogate" in result.detail
    assert machine.outcome(line(machine)).state == "succeeded"
    machine.kill()


def test_an_action_that_hangs_has_failed_and_the_next_one_runs(tmp_path: Path, clock: Clock) -> None:
    go_on = threading.Event()
    machine = AgentUnderTest(tmp_path, clock, calling(until(go_on), seconds=20))
    machine.send(order := machine.operator.order("call"))
    machine.run(25)

    assert machine.final(order).reason == "timeout"
    assert machine.outcome(line(machine)).state == "succeeded"
    go_on.set()
    machine.step(3)
    assert machine.states(order)[-1] == "failed"
    machine.kill()


def test_what_an_action_prints_is_cut_and_cleaned(tmp_path: Path, clock: Clock) -> None:
    printed = "\x1b[31m" + "\x01" * 100_000 + "\ud800"
    machine = AgentUnderTest(tmp_path, clock, calling(lambda: Outcome.succeeded(output=printed)))
    machine.send(order := machine.operator.order("call"))
    result = machine.final(order)

    assert result.output_truncated
    assert result.output is not None
    assert len(result.output.encode()) <= 64 << 10
    assert "\x1b" not in result.output
    assert len(result.encode()) < 256 << 10
    machine.kill()


# Rejection.


@pytest.mark.parametrize(
    ("facts", "reason"),
    [
        ({"machine": "cellar"}, "target"),
        ({"org": "work"}, "target"),
        ({"action": "dance"}, "not-allowed"),
        ({"arguments": {}}, "arguments"),
        ({"arguments": {"text": 1}}, "arguments"),
        ({"arguments": {"text": "x", "more": "y"}}, "arguments"),
    ],
    ids=["machine", "org", "action", "missing", "type", "extra"],
)
def test_an_order_that_is_not_for_this_machine_is_refused(
    machine: AgentUnderTest, facts: dict[str, Any], reason: str
) -> None:
    values = {"action": "append", "arguments": {"text": "x"}, **facts}
    result = machine.outcome(machine.operator.order(values.pop("action"), **values))

    assert (result.state, result.reason) == ("rejected", reason)
    assert result.action == facts.get("action", "append")
    assert result.detail
    assert machine.executor.counts == {reason: 1}
    assert machine.lines == []


def test_what_the_owner_does_not_allow_is_refused_and_not_described(tmp_path: Path, clock: Clock) -> None:
    machine = AgentUnderTest(tmp_path, clock, allowed_actions=["ping"])

    assert [found.name for found in machine.infos[-1].actions] == ["ping"]
    assert machine.outcome(line(machine)).reason == "not-allowed"
    assert machine.lines == []
    machine.kill()


def test_an_expired_order_is_refused(machine: AgentUnderTest) -> None:
    order = line(machine, lives_seconds=10)
    machine.clock.advance(10)

    assert machine.outcome(order).reason == "expired"


def test_an_order_from_the_future_is_refused_and_one_of_a_clock_that_is_a_little_ahead_is_not(
    machine: AgentUnderTest,
) -> None:
    now = machine.clock.now()
    near = line(machine, issued_at=now + FUTURE_MILLISECONDS - 1000, expires_at=now + 3_600_000)
    far = line(machine, issued_at=now + FUTURE_MILLISECONDS + 60_000, expires_at=now + 3_600_000)

    assert machine.outcome(far).reason == "future"
    assert machine.outcome(near).state == "succeeded"


def test_what_was_refused_once_is_refused_for_good(machine: AgentUnderTest) -> None:
    order = line(machine, lives_seconds=100)
    machine.clock.advance(100)
    machine.outcome(order)
    machine.stop()
    machine.clock.advance(-90)
    machine.start()
    machine.send(order)

    assert machine.states(order)[-1] == "rejected"
    assert machine.lines == []


def test_a_forged_refusal_does_not_stand_in_the_way_of_the_genuine_order(machine: AgentUnderTest) -> None:
    order = line(machine)
    forged = order.model_copy(update={"signature": "0" * 128})

    result = machine.outcome(forged)
    assert (result.reason, result.action) == ("signature", None), "what it claims proves nothing"
    machine.forget()
    assert machine.outcome(order).state == "succeeded"


def test_a_message_that_is_no_command_is_counted(machine: AgentUnderTest) -> None:
    for payload in (b"", b"{}", b"\xff", b'{"order": 1}'):
        machine.publish(topics.COMMAND, payload)
        machine.publish(topics.CONFIG, payload)
    machine.step(3)

    assert machine.agent.rejected == 4 + 3  # an empty configuration was cleared, and is ignored
    assert machine.results() == []


def test_a_machine_without_keys_obeys_nobody_and_says_so(tmp_path: Path, clock: Clock) -> None:
    machine = AgentUnderTest(tmp_path, clock)
    machine.kill()
    machine.enrol()
    machine.start()

    assert machine.infos[-1].keys == ()
    assert machine.outcome(line(machine)).reason == "signature"
    machine.kill()


def test_a_key_that_a_held_one_signed_for_is_obeyed_at_once_and_announced(machine: AgentUnderTest) -> None:
    other = new_key()
    change = KeyChange(change="add", org="home", public_key=public_key(other), at=machine.clock.now())
    config = OrgConfig(key_changes=(sign(change, machine.operator.seed),))
    assert len(machine.infos[-1].keys) == 1
    machine.publish(topics.ORG_CONFIG, config.encode(), retain=True)
    machine.step(2)
    machine.operator.seed = other

    assert len(machine.infos[-1].keys) == 2
    assert machine.outcome(line(machine)).state == "succeeded"


# Interruption.


def test_what_was_killed_while_it_ran_was_interrupted(tmp_path: Path, clock: Clock) -> None:
    go_on = threading.Event()
    machine = AgentUnderTest(tmp_path, clock, calling(until(go_on)))
    machine.send(order := machine.operator.order("call"))
    machine.kill()
    go_on.set()
    machine.start()
    result = machine.final(order)

    assert (result.state, result.reason) == ("failed", "interrupted")
    machine.send(order)
    assert machine.states(order)[-1] == "failed"
    machine.kill()


def test_a_restart_says_goodbye_and_reports_when_it_is_back(machine: AgentUnderTest) -> None:
    machine.send(order := machine.operator.order("restart"))
    wait_until_it_leaves(machine)
    assert machine.states(order) == ["running"]
    machine.stop()
    assert machine.statuses[-1].reason == "restarting"
    machine.start()
    machine.step(3)

    assert machine.states(order)[-1] == "succeeded"
    machine.forget()
    machine.send(order)
    assert machine.states(order) == ["succeeded"]
    assert not machine.agent.restarting


def test_a_restart_that_does_not_happen_has_failed(machine: AgentUnderTest) -> None:
    machine.send(order := machine.operator.order("restart"))
    wait_until_it_leaves(machine)
    machine.run(130)

    assert machine.final(order).reason == "not-restarted"


# Repetition of results.


def test_an_agent_without_a_broker_is_idle_whatever_waits_to_be_said(machine: AgentUnderTest) -> None:
    machine.outcome(line(machine))
    machine.broker.running = False
    machine.transport.cut(send_will=False)
    machine.run(5)
    steps, end = 0, machine.clock.monotonic() + 100
    while machine.clock.monotonic() < end and steps < 1000:
        machine.step()
        steps += 1

    assert steps < 200


def test_an_outcome_is_said_again_until_it_is_acknowledged(machine: AgentUnderTest) -> None:
    result = machine.outcome(order := line(machine))
    machine.forget()
    machine.run(3 * REPEAT_SECONDS + 5)
    assert machine.states(order) == ["succeeded", "succeeded"]
    machine.ack(result.id)
    machine.forget()
    machine.run(600)

    assert machine.states(order) == []


def test_an_outcome_that_nobody_heard_is_said_with_the_next_connection(machine: AgentUnderTest) -> None:
    machine.broker.running = False
    machine.send(order := line(machine))
    machine.transport.cut(send_will=False)
    machine.broker.running = True
    machine.send(order)
    machine.final(order)
    machine.forget()
    machine.broker.running = False
    machine.transport.cut(send_will=False)
    machine.run(5)
    machine.broker.running = True
    machine.run(2)

    assert machine.states(order)[:1] == ["succeeded"]


def test_an_outcome_is_said_after_a_restart_unless_it_was_acknowledged(machine: AgentUnderTest) -> None:
    heard = machine.outcome(line(machine, "heard"))
    lost = machine.outcome(line(machine, "lost"))
    machine.ack(heard.id)
    machine.stop()
    machine.forget()
    machine.start()

    assert [result.id for result in machine.results()] == [lost.id]


def test_many_outcomes_take_turns(machine: AgentUnderTest) -> None:
    ids = {machine.outcome(line(machine, str(number))).id for number in range(25)}
    machine.forget()
    machine.run(300)

    assert {result.id for result in machine.results()} == ids


def test_what_was_printed_is_kept_until_it_is_acknowledged(machine: AgentUnderTest) -> None:
    order = machine.operator.order("ping", arguments={"echo": "hello"})
    result = machine.outcome(order)
    machine.send(order)
    assert machine.results(result.id)[-1].output == result.output is not None
    machine.ack(result.id)
    machine.send(order)

    assert machine.results(result.id)[-1].output is None


def test_an_acknowledgement_of_what_still_runs_or_is_unknown_changes_nothing(tmp_path: Path, clock: Clock) -> None:
    go_on = threading.Event()
    machine = AgentUnderTest(tmp_path, clock, calling(until(go_on)))
    machine.send(order := machine.operator.order("call"))
    machine.ack(id_of(order), "f" * 32)
    go_on.set()

    assert machine.final(order).state == "succeeded"
    assert machine.journal.unacked(10)
    machine.kill()


# The journal's disk.


def test_an_order_that_cannot_be_written_down_is_not_run(machine: AgentUnderTest) -> None:
    machine.outcome(line(machine, "before"))
    fill_journal(machine)
    result = machine.outcome(order := line(machine, "large" * 2000))
    assert (result.state, result.reason) == ("rejected", "journal")
    free_journal(machine)
    machine.send(order)

    assert machine.states(order)[-1] == "rejected"
    assert machine.outcome(line(machine, "after")).state == "succeeded"
    assert machine.lines == ["before", "after"]


def test_an_outcome_that_cannot_be_written_down_is_said_and_written_later(tmp_path: Path, clock: Clock) -> None:
    go_on = threading.Event()
    machine = AgentUnderTest(tmp_path, clock, calling(until(go_on, Outcome.succeeded(output="x" * 60_000))))
    machine.send(order := machine.operator.order("call"))
    fill_journal(machine)
    go_on.set()
    assert machine.final(order).state == "succeeded"
    machine.send(order)
    assert machine.states(order)[-1] == "succeeded"
    free_journal(machine)
    machine.run(10)
    machine.kill()
    machine.start()

    assert machine.states(order)[-1] == "succeeded"
    machine.kill()


def test_a_damaged_journal_is_moved_aside_and_what_was_ordered_before_is_refused(machine: AgentUnderTest) -> None:
    machine.outcome(order := line(machine))
    never = line(machine, "never")
    machine.kill()
    damage_journal(machine)
    machine.start()
    assert machine.journal.quarantined
    for again in (order, never):
        machine.send(again)
        assert machine.results(id_of(again))[-1].reason == "journal"
    machine.clock.advance(FUTURE_MILLISECONDS / 1000 + 1)

    assert machine.outcome(line(machine, "later")).state == "succeeded"
    assert machine.lines == ["once", "later"]


def test_an_order_does_not_run_again_when_the_journal_was_deleted(machine: AgentUnderTest) -> None:
    machine.outcome(order := line(machine))
    machine.kill()
    for file in machine.directory.glob("journal.db*"):
        file.unlink()
    machine.start()
    machine.send(order)
    assert machine.results(id_of(order))[-1].reason == "journal"
    machine.clock.advance(FUTURE_MILLISECONDS / 1000 + 1)

    assert machine.outcome(line(machine, "later")).state == "succeeded"
    assert machine.lines == ["once", "later"]


def test_an_order_that_was_forgotten_does_not_live_again_when_the_clock_is_set_back(machine: AgentUnderTest) -> None:
    result = machine.outcome(order := line(machine, lives_seconds=60))
    machine.ack(result.id)
    machine.run(120)
    assert machine.journal.unacked(10) == machine.journal.running() == []
    machine.forget()
    machine.clock.advance(-110)
    machine.send(order)

    assert [found.reason for found in machine.results(result.id)] == ["journal"]
    assert machine.lines == ["once"]


def test_an_outcome_that_nobody_acknowledges_is_forgotten_long_after_its_order_expired(machine: AgentUnderTest) -> None:
    machine.outcome(line(machine, lives_seconds=60))
    machine.run(120)
    assert len(machine.journal.unacked(10)) == 1
    machine.clock.advance(KEPT_MILLISECONDS / 1000)
    machine.run(10)

    assert machine.journal.unacked(10) == []


def fill_journal(machine: AgentUnderTest) -> None:
    """Allow no more pages, as on a full disk."""
    assert machine.journal._database is not None
    machine.journal._database.execute("PRAGMA max_page_count = 1")


def free_journal(machine: AgentUnderTest) -> None:
    assert machine.journal._database is not None
    machine.journal._database.execute("PRAGMA max_page_count = 1000000")


def damage_journal(machine: AgentUnderTest) -> None:
    path = machine.directory / "journal.db"
    content = bytearray(path.read_bytes())
    content[4096:4200] = b"\x55" * 104
    path.write_bytes(content)
    os.utime(path, (machine.clock.monotonic(),) * 2)
