"""An update and a move never run at once: the later order is refused with a reason, also after a power cut."""

import json
import threading
from pathlib import Path

import pytest
from agent_under_test import AgentUnderTest
from clocks import Clock

from agent.actions import move, update
from agent.installation import environment
from agent.relocation.move_record import followed, settle
from agent.relocation.trial import TrialResult
from agent.updates.layout import Layout
from agent.updates.update_record import TRIAL, UpdateRecord, read_update, settle_update
from runtime.version import VERSION
from schemas.contract.messages import Signed
from schemas.contract.signing import public_key

NEW = "mqtts://new.example:8883"


class Machine(AgentUnderTest):
    """A machine whose updates wait for a server that sends nothing, and whose moves wait for `answer`."""

    def __init__(self, directory: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
        self.prefix = directory / "opt"
        self.here = self.prefix / environment.ENVIRONMENTS / f"{VERSION}-old"
        self.here.mkdir(parents=True)
        environment.switch(self.prefix, self.here)
        self.answered, self.problem = threading.Event(), "it does not answer"
        monkeypatch.setattr(update, "find_layout", lambda: Layout(self.prefix, self.here))
        monkeypatch.setattr(move, "Trial", lambda *_, **__: _Trial(self))
        (directory / "agent").mkdir()
        super().__init__(directory, clock, password="made-up")

    def ordered_update(self) -> Signed:
        return self.operator.order("update", arguments={"version": "0.3.0", "sha256": "a" * 64})

    def ordered_move(self) -> Signed:
        keys = [{"public_key": public_key(self.operator.seed)}]
        destination = {"server": NEW, "org": "home", "ca": None, "keys": keys}
        return self.operator.order("move", arguments={"destination": json.dumps(destination)})

    def begin(self, order: Signed) -> None:
        self.send(order)
        self.step(2)
        assert "running" in self.states(order)

    def lose_power(self) -> None:
        """Kill the agent, and start it again as the service does."""
        self.kill()
        settle(self.directory, "attic", self.clock)
        settle_update(self.directory, self.here)
        followed_settings = followed(self.settings)
        self.start(server=followed_settings.server)

    def refusal(self, order: Signed) -> tuple[str, str]:
        result = self.outcome(order)
        assert result.state == "rejected"
        return result.reason, result.detail


class _Trial:
    """The trial of another server, whose outcome the machine decides."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine

    def run(self) -> TrialResult:
        assert self._machine.answered.wait(30)
        return TrialResult(self._machine.problem)


@pytest.fixture
def machine(tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> Machine:
    return Machine(tmp_path, clock, monkeypatch)


def test_a_move_that_arrives_while_the_update_is_fetched_is_refused_and_is_possible_after_a_power_cut(
    machine: Machine,
) -> None:
    fetching, too_early = machine.ordered_update(), machine.ordered_move()
    machine.begin(fetching)
    busy = ("busy", "the action update of another order has not ended here: order move after it")
    assert machine.refusal(too_early) == busy

    machine.lose_power()
    assert machine.final(fetching).reason == "interrupted"
    assert machine.refusal(too_early) == busy  # a refused order stays refused
    machine.answered.set()
    assert machine.outcome(machine.ordered_move()).reason == "not-acknowledged"


def test_a_move_that_arrives_during_the_trial_is_refused_and_is_possible_after_a_power_cut(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    order = machine.ordered_update()
    machine.begin(order)
    id_ = json.loads(order.statement)["id"]
    UpdateRecord(id_, machine.clock.now(), VERSION, "0.3.0", str(machine.here.parent / "new")).write(machine.directory)
    monkeypatch.setenv(TRIAL, id_)
    machine.lose_power()  # the process that is tried
    assert machine.refusal(machine.ordered_move())[0] == "busy"

    monkeypatch.delenv(TRIAL)
    machine.lose_power()
    assert machine.final(order).reason == "rolled-back"
    machine.answered.set()
    assert machine.outcome(machine.ordered_move()).reason == "not-acknowledged"


def test_an_update_that_arrives_while_another_server_is_tried_is_refused_and_is_possible_after_a_power_cut(
    machine: Machine,
) -> None:
    moving, too_early = machine.ordered_move(), machine.ordered_update()
    machine.begin(moving)
    assert machine.refusal(too_early)[0] == "busy"

    machine.lose_power()
    assert machine.final(moving).reason == "interrupted"
    machine.begin(machine.ordered_update())
    assert read_update(machine.directory) is None
    machine.answered.set()


def test_an_update_that_arrives_after_the_move_is_for_the_new_server_to_order(machine: Machine) -> None:
    machine.problem = ""
    machine.answered.set()
    assert machine.outcome(machine.ordered_move()).state == "succeeded"
    assert machine.refusal(machine.ordered_update()) == (
        "arguments",
        f"this machine is moving to {NEW}: give the order there",
    )
    assert machine.refusal(machine.ordered_move())[0] == "arguments"

    machine.lose_power()
    assert machine.settings.server == NEW
    machine.begin(machine.ordered_update())
