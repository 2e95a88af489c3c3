"""The state machine of a command, by examples and by whatever sequence of events Hypothesis thinks of."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as some

from ingestor.domain.command import (
    OPEN,
    RETRY_FLOOR_SECONDS,
    RETRY_MOST_SECONDS,
    RUNNING_SECONDS,
    Command,
    ends_at,
    may_send,
    on_cancel,
    on_result,
    on_send,
    on_time,
    retry_seconds,
)
from ingestor.domain.command_changes import CommandChanges
from schemas.contract.commands import FINAL, TRANSITIONS, CommandState, Result
from schemas.contract.messages import Signed

HOUR = 3_600_000
NEW = Command(
    id="0" * 32,
    machine_id=1,
    org="home",
    machine="attic",
    request="1" * 32,
    principal="home._ops",
    batch="2" * 32,
    gated=False,
    action="ping",
    order=Signed(statement="{}", key="0" * 16, signature="0" * 128),
    expires_at=HOUR,
    created_at=0,
)
OUTCOMES = ("succeeded", "failed", "rejected")

Event = Callable[[Command, int], Command]


def result(state: str) -> Result:
    return Result.model_validate({"session": 1, "id": NEW.id, "state": state, "at": 0})


EVENTS: dict[str, Event] = {
    "send": on_send,
    "time": on_time,
    "cancel": lambda command, now: on_cancel(command, "cancelled", "", now),
    **{
        state: lambda command, now, state=state: on_result(command, result(state), now)  # type: ignore[misc]
        for state in ("running", *OUTCOMES)
    },
}
happenings = some.lists(some.tuples(some.sampled_from(sorted(EVENTS)), some.integers(0, HOUR)), max_size=30)


@given(happenings)
def test_whatever_happens_only_what_may_follow_follows_and_each_change_is_a_row(
    happened: list[tuple[str, int]],
) -> None:
    changes, command, now, states = CommandChanges(), NEW, 0, [NEW.state]
    changes.add(command, {}, "home._ops")
    for event, passed in happened:
        now += passed
        before, command = command, EVENTS[event](command, now)
        if before.state in FINAL:
            assert command is before
        if command is not before:
            changes.record(before, command, "somebody", now)
        if command.state is not before.state:
            assert command.state in TRANSITIONS[before.state]
            states.append(command.state)
        if event in OUTCOMES and before.state not in FINAL:
            assert command.state == event, "what the machine says last of all counts"
        assert (command.ended_at is not None) == (command.state not in OPEN)
    assert [row.after for row in changes.history] == states
    assert [row.before for row in changes.history] == ["", *states[:-1]]
    assert len(changes.updates) == len(states)
    assert changes.find(NEW.id) == command


@given(happenings)
def test_nothing_is_sent_after_its_expiry_or_after_its_machine_said_that_it_runs(
    happened: list[tuple[str, int]],
) -> None:
    command, now = NEW, 0
    for event, passed in happened:
        now += passed
        before, command = command, EVENTS[event](command, now)
        if command.attempts > before.attempts:
            assert now < command.expires_at
            assert before.running_at is None
            assert may_send(before, now)


@given(happenings)
def test_an_open_command_ends_by_itself_when_nothing_more_happens(happened: list[tuple[str, int]]) -> None:
    command, now = NEW, 0
    for event, passed in happened:
        now += passed
        command = EVENTS[event](command, now)
    if command.state in OPEN:
        assert on_time(command, ends_at(command) - 1) is command
        assert on_time(command, ends_at(command)).state in (CommandState.EXPIRED, CommandState.TIMED_OUT)


@pytest.mark.parametrize("outcome", OUTCOMES)
def test_a_late_result_still_wins(outcome: str) -> None:
    running = on_result(on_send(NEW, 1), result("running"), 2)
    late = on_time(running, 2 + round(1000 * RUNNING_SECONDS))
    assert late.state is CommandState.TIMED_OUT
    assert on_result(late, result(outcome), HOUR).state == outcome


def test_one_that_was_never_sent_expires_and_one_that_was_sent_may_have_run() -> None:
    assert on_time(NEW, HOUR).state is CommandState.EXPIRED
    assert on_time(on_send(NEW, 1), 2 * HOUR).state is CommandState.TIMED_OUT


def test_only_what_was_not_sent_can_be_taken_back() -> None:
    assert on_cancel(NEW, "cancelled", "", 1).state is CommandState.CANCELLED
    sent = on_send(NEW, 1)
    assert on_cancel(sent, "cancelled", "", 2) is sent


def test_another_attempt_is_counted_and_is_no_change_of_state() -> None:
    changes, sent = CommandChanges(), on_send(NEW, 1)
    again = on_send(sent, 2)
    changes.record(sent, again, "ingestor", 2)
    assert (again.attempts, again.sent_at, again.state) == (2, 2, CommandState.SENT)
    assert changes.history == []
    assert changes.changed == {NEW.id: again}


@given(some.integers(1, 10_000), some.floats(0, 1))
def test_attempts_are_never_closer_than_the_floor_nor_farther_than_the_most(attempts: int, random: float) -> None:
    assert RETRY_FLOOR_SECONDS <= retry_seconds(attempts, lambda: random) <= RETRY_FLOOR_SECONDS + RETRY_MOST_SECONDS


def test_what_may_follow_is_said_of_every_state() -> None:
    assert set(TRANSITIONS) == set(CommandState)
    assert all(not TRANSITIONS[state] for state in FINAL)
    assert all(TRANSITIONS[state] for state in set(CommandState) - FINAL)
