"""A configuration over the broker: applied at once, proved by a connection, reverted otherwise."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from agent_under_test import AgentUnderTest
from clocks import Clock
from waiting import wait_until

from agent.configuration import TRIAL_SECONDS, RequestedConfiguration
from schemas.contract.messages import Signed

OWNERS = 10.0
"""The interval that the owner has set, in seconds."""


@pytest.fixture
def machine(tmp_path: Path, clock: Clock) -> Iterator[AgentUnderTest]:
    made = AgentUnderTest(tmp_path, clock, labels={"room": "attic"})
    yield made
    made.kill()


def configure(machine: AgentUnderTest, **arguments: Any) -> Signed:  # noqa: ANN401
    machine.clock.advance(0.001)  # no two orders are issued at the same time
    return machine.operator.order("configure", arguments=arguments)


def send_and_go_away(machine: AgentUnderTest, order: Signed) -> None:
    """Send an order and stop the broker when it arrives."""
    machine.send(order)

    def is_taken_up() -> bool:
        machine.broker.running = False  # before the agent reconnects
        machine.step()
        return machine.executor.configuration.revision > 0

    machine.broker.running = False
    wait_until(is_taken_up, what="the configuration to be applied")


def test_it_is_in_force_without_a_restart_and_reported(machine: AgentUnderTest) -> None:
    order = configure(machine, interval_seconds=2, labels={"room": "cellar"}, collectors_off=["warmth"])
    session = machine.statuses[-1].session
    result = machine.outcome(order)
    machine.run(20)

    assert result.state == "succeeded"
    info = machine.infos[-1]
    assert (info.interval_seconds, info.labels) == (2.0, {"room": "cellar"})
    assert (info.collectors, info.collectors_off) == (("load",), ("warmth",))
    assert [metric.name for metric in info.metrics] == ["load_1m"]
    assert machine.statuses[-1].interval_seconds == 2.0
    assert machine.statuses[-1].session > session
    assert machine.samples[-1].extra == {}
    late = [sample.sampled_at for sample in machine.samples[-5:]]
    assert late[-1] - late[0] == pytest.approx(8000, abs=100)


def test_what_a_wish_does_not_name_is_the_owners(machine: AgentUnderTest) -> None:
    machine.outcome(configure(machine, interval_seconds=2, collectors_off=["warmth"]))
    machine.outcome(configure(machine, labels={}))

    info = machine.infos[-1]
    assert (info.interval_seconds, info.labels, info.collectors_off) == (OWNERS, {}, ())


def test_it_is_in_force_after_a_restart(machine: AgentUnderTest) -> None:
    machine.outcome(configure(machine, interval_seconds=2))
    machine.stop()
    machine.start()

    assert machine.infos[-1].interval_seconds == 2.0


def test_it_is_taken_back_when_the_agent_cannot_connect_with_it(machine: AgentUnderTest) -> None:
    order = configure(machine, interval_seconds=2)
    send_and_go_away(machine, order)
    machine.run(TRIAL_SECONDS - 5)
    assert machine.executor.configuration.settings.interval_seconds == 2.0
    machine.run(10)
    assert machine.executor.configuration.settings.interval_seconds == OWNERS
    machine.broker.running = True
    result = machine.final(order)

    assert (result.state, result.reason) == ("failed", "reverted")
    assert machine.infos[-1].interval_seconds == OWNERS


def test_it_is_taken_back_after_a_restart_too(machine: AgentUnderTest) -> None:
    order = configure(machine, interval_seconds=2)
    send_and_go_away(machine, order)
    machine.kill()
    machine.start()
    assert machine.executor.configuration.settings.interval_seconds == 2.0
    machine.run(TRIAL_SECONDS + 5)
    machine.broker.running = True

    assert machine.final(order).reason == "reverted"
    assert machine.infos[-1].interval_seconds == OWNERS


def test_one_that_was_on_trial_when_the_agent_died_proves_itself_when_it_is_back(machine: AgentUnderTest) -> None:
    order = configure(machine, interval_seconds=2)
    send_and_go_away(machine, order)
    machine.kill()
    machine.broker.running = True
    machine.start()

    assert machine.final(order).state == "succeeded"
    machine.run(TRIAL_SECONDS + 5)
    assert machine.infos[-1].interval_seconds == 2.0


def test_a_second_wish_on_trial_goes_back_to_what_was_proved(machine: AgentUnderTest) -> None:
    machine.outcome(configure(machine, interval_seconds=3))
    configuration = machine.executor.configuration
    before = configuration.revision
    machine.broker.running = False
    machine.transport.cut(send_will=False)
    now = machine.clock.now()
    assert configuration.apply(RequestedConfiguration(interval_seconds=4), now) == ""
    assert configuration.apply(RequestedConfiguration(interval_seconds=5), now + 1) == ""
    machine.run(TRIAL_SECONDS + 5)

    assert configuration.settings.interval_seconds == 3.0
    assert configuration.revision == before + 3


def test_a_wish_that_was_ordered_earlier_is_not_taken_up_later(machine: AgentUnderTest) -> None:
    earlier = configure(machine, interval_seconds=2)
    machine.outcome(configure(machine, interval_seconds=3))
    result = machine.outcome(earlier)

    assert (result.state, result.reason) == ("failed", "not-taken-up")
    assert machine.infos[-1].interval_seconds == 3.0


@pytest.mark.parametrize(
    "arguments",
    [
        {"interval_seconds": 0},
        {"interval_seconds": 1e9},
        {"interval_seconds": True},
        {"labels": {"UPPER": "x"}},
        {"collectors_off": "cpu"},
        {"allowed_actions": ["run"]},
        {"commands": {}},
        {"server": "mqtt://127.0.0.1:1"},
    ],
    ids=str,
)
def test_nothing_else_can_be_configured(machine: AgentUnderTest, arguments: dict[str, Any]) -> None:
    assert machine.outcome(configure(machine, **arguments)).reason == "arguments"
    assert machine.executor.configuration.revision == 0


# The desired configuration.


def test_a_desired_configuration_is_taken_up_also_when_its_order_has_expired(machine: AgentUnderTest) -> None:
    order = machine.operator.order("configure", arguments={"interval_seconds": 5}, lives_seconds=10)
    machine.clock.advance(3600)
    machine.desire(7, order)
    machine.run(3)

    assert (machine.infos[-1].interval_seconds, machine.infos[-1].config_version) == (5.0, 7)
    assert machine.results() == []


def test_the_version_of_what_is_in_force_already_is_reported_and_changes_nothing_else(machine: AgentUnderTest) -> None:
    machine.outcome(order := configure(machine, interval_seconds=5))
    session, revision = machine.statuses[-1].session, machine.executor.configuration.revision
    assert machine.infos[-1].config_version == 0
    machine.desire(3, order)
    machine.run(3)

    assert machine.infos[-1].config_version == 3
    assert (machine.statuses[-1].session, machine.executor.configuration.revision) == (session, revision)


def test_an_older_desired_configuration_that_is_played_back_changes_nothing(machine: AgentUnderTest) -> None:
    old = configure(machine, interval_seconds=2)
    machine.desire(1, old)
    machine.run(3)
    machine.desire(2, configure(machine, interval_seconds=3))
    machine.run(3)
    machine.desire(99, old)  # the version is not signed
    machine.run(3)

    assert (machine.infos[-1].interval_seconds, machine.infos[-1].config_version) == (3.0, 2)


def test_one_that_was_given_up_is_not_tried_again_and_a_later_one_is(machine: AgentUnderTest) -> None:
    order = configure(machine, interval_seconds=2)
    send_and_go_away(machine, order)
    machine.run(TRIAL_SECONDS + 5)
    machine.broker.running = True
    machine.run(3)
    revision = machine.executor.configuration.revision
    machine.desire(1, order)
    machine.run(3)
    assert machine.executor.configuration.revision == revision
    machine.desire(2, configure(machine, interval_seconds=4))
    machine.run(3)

    assert machine.infos[-1].interval_seconds == 4.0


# The file.


def test_a_damaged_file_means_the_owners_settings(machine: AgentUnderTest) -> None:
    machine.outcome(configure(machine, interval_seconds=2))
    machine.stop()
    (machine.directory / "configuration.json").write_text("{")
    machine.start()

    assert machine.infos[-1].interval_seconds == OWNERS
    assert machine.outcome(configure(machine, interval_seconds=3)).state == "succeeded"


def test_what_cannot_be_written_is_not_taken_up(machine: AgentUnderTest) -> None:
    blocked = machine.directory / "configuration.json"
    blocked.mkdir()
    result = machine.outcome(configure(machine, interval_seconds=2))
    assert (result.state, result.reason) == ("failed", "not-taken-up")
    blocked.rmdir()

    assert machine.outcome(configure(machine, interval_seconds=2)).state == "succeeded"
