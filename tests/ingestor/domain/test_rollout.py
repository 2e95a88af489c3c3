"""Rollouts as pure progress: canaries, the rate, the stop."""

import pytest

from ingestor.domain.rollout import RolloutProgress
from schemas.contract.commands import CommandState, Rollout


def progress(commands: int, **rollout: float) -> RolloutProgress:
    made = RolloutProgress(Rollout.model_validate(rollout))
    for number in range(commands):
        made.record(f"c{number}", CommandState.QUEUED)
    return made


def allowed(rollout: RolloutProgress, commands: int) -> list[int]:
    return [number for number in range(commands) if rollout.allows(f"c{number}")]


def test_the_canaries_go_first_and_the_others_when_all_of_them_have_ended_well() -> None:
    rollout = progress(5, canary=2)
    assert allowed(rollout, 5) == [0, 1]
    rollout.record("c0", CommandState.SUCCEEDED)
    rollout.record("c1", CommandState.RUNNING)
    assert allowed(rollout, 5) == [1]
    rollout.record("c1", CommandState.SUCCEEDED)
    assert allowed(rollout, 5) == [0, 1, 2, 3, 4]
    assert rollout.reason_to_stop() == ""


@pytest.mark.parametrize(
    "state", [CommandState.FAILED, CommandState.REJECTED, CommandState.TIMED_OUT, CommandState.EXPIRED]
)
def test_a_canary_that_does_not_end_well_stops_the_rollout(state: CommandState) -> None:
    rollout = progress(5, canary=2)
    rollout.record("c1", state)
    assert rollout.reason_to_stop() == "1 of 2 canaries did not succeed"


def test_a_canary_that_was_taken_back_is_not_waited_for() -> None:
    rollout = progress(3, canary=1)
    rollout.record("c0", CommandState.CANCELLED)
    assert allowed(rollout, 3) == [0, 1, 2]


def test_a_share_of_failures_counts_from_the_third_that_ended() -> None:
    rollout = progress(10, stop_percent=30)
    rollout.record("c0", CommandState.FAILED)
    rollout.record("c1", CommandState.FAILED)
    assert rollout.reason_to_stop() == ""
    rollout.record("c2", CommandState.SUCCEEDED)
    assert rollout.reason_to_stop() == "2 of 3 that ended did not succeed"


def test_a_late_result_takes_a_failure_back() -> None:
    rollout = progress(10, stop_percent=50)
    for number, state in enumerate((CommandState.TIMED_OUT, CommandState.TIMED_OUT, CommandState.SUCCEEDED)):
        rollout.record(f"c{number}", state)
    assert rollout.reason_to_stop()
    rollout.record("c0", CommandState.SUCCEEDED)
    assert rollout.reason_to_stop() == ""


def test_exactly_the_share_does_not_stop() -> None:
    rollout = progress(10, stop_percent=50)
    for number, state in enumerate(
        (CommandState.FAILED, CommandState.FAILED, CommandState.SUCCEEDED, CommandState.SUCCEEDED)
    ):
        rollout.record(f"c{number}", state)
    assert rollout.reason_to_stop() == ""


def test_nothing_goes_once_it_is_stopped() -> None:
    rollout = progress(3, canary=1)
    rollout.stopped = True
    assert allowed(rollout, 3) == []


@pytest.mark.parametrize("per_minute", [1, 7, 60, 600, 6000])
def test_no_minute_has_more_than_the_rate_but_a_second_that_was_missed(per_minute: int) -> None:
    rollout = progress(0, per_minute=per_minute)
    sent = []
    for now in range(1_000_000, 1_300_000, 100):
        while rollout.is_turn(now):
            rollout.sent(now)
            sent.append(now)
    busiest = max(sum(start <= at < start + 60_000 for at in sent) for start in sent[:: max(1, len(sent) // 50)])
    assert per_minute <= busiest <= per_minute + max(1, per_minute // 60)
