"""Each action: its outcome, and the commands that it starts."""

import json
import os
import socket
import sys
from pathlib import Path

import pytest
from agent_under_test import AgentUnderTest, RecordingContext, recorded, recorder
from clocks import Clock
from distributions import install
from pydantic import ValidationError
from waiting import wait_until

import agent.actions
from agent import action
from agent.action import MachineState, Outcome, StartedOrder
from agent.actions import message as messages
from agent.actions.message import MessageArguments, message, programs
from agent.actions.reboot import PATIENCE_SECONDS, RebootArguments, command, reboot
from runtime.settings.agent import ALLOWED_ACTIONS, AgentSettings
from runtime.version import VERSION
from schemas.contract.messages import ActionDescription

SHIPPED = {
    "configure",
    "container",
    "message",
    "move",
    "ping",
    "pull",
    "push",
    "reboot",
    "refresh",
    "restart",
    "run",
    "service",
    "top",
    "update",
}


def test_a_ping_comes_back_with_when_it_was_ordered_heard_and_answered(tmp_path: Path, clock: Clock) -> None:
    machine = AgentUnderTest(tmp_path, clock)
    clock.advance(0)
    order = machine.operator.order("ping", arguments={"echo": "ünïcode"})
    issued = clock.now()
    clock.advance(2)
    facts = json.loads(machine.outcome(order).output or "")

    assert facts["echo"] == "ünïcode"
    assert facts["issued_at"] == issued <= facts["received_at"] - 2000 <= facts["answered_at"] - 2000
    assert facts["agent_version"] == VERSION
    machine.kill()


def test_a_refresh_publishes_a_sample_at_once(tmp_path: Path, clock: Clock) -> None:
    machine = AgentUnderTest(tmp_path, clock, interval_seconds=3600.0)
    machine.run(5)
    before = len(machine.samples)
    result = machine.outcome(machine.operator.order("refresh"))

    assert len(machine.samples) == before + 1
    assert result.detail == f"Sample {machine.samples[-1].seq} was taken."
    machine.kill()


def test_by_default_only_what_cannot_harm_is_allowed(tmp_path: Path, clock: Clock) -> None:
    assert set(ALLOWED_ACTIONS) == {"ping", "refresh", "top", "message", "restart", "configure", "update"}
    assert AgentSettings(data=tmp_path, machine="attic").allowed_actions == list(ALLOWED_ACTIONS)
    machine = AgentUnderTest(tmp_path, clock, allowed_actions=list(ALLOWED_ACTIONS))

    assert {found.name for found in machine.infos[-1].actions} == set(ALLOWED_ACTIONS)
    for name in ("run", "reboot", "append"):
        assert machine.outcome(machine.operator.order(name)).reason == "not-allowed"
    machine.kill()


def test_a_file_that_is_dropped_in_adds_an_action_and_one_that_is_broken_costs_only_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "dropped"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "broken.py").write_text("raise RuntimeError")
    (package / "wave.py").write_text(
        "from agent.action import NoArguments, Outcome, action\n"
        "from agent.actions.ping import ping\n"
        "@action(NoArguments, title='Wave')\n"
        "def wave(arguments, context):\n    return Outcome.succeeded('hello')\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    import dropped  # type: ignore[import-not-found]

    found = action.discover(dropped)
    assert list(found) == ["wave"]
    description = found["wave"].description(AgentSettings(data=tmp_path, machine="attic"))
    assert isinstance(description, ActionDescription)
    assert description.arguments_schema["additionalProperties"] is False


def test_an_installed_distribution_adds_an_action_through_an_entry_point(
    tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    install(
        tmp_path,
        "gestures",
        "dashfleet.actions",
        {"nod": "gestures:nod", "ping": "gestures:ping", "plain": "gestures:plain", "broken": "gestures:missing"},
        gestures="from agent.action import NoArguments, Outcome, action\n"
        "@action(NoArguments, title='Nod')\n"
        "def nod(arguments, context):\n    return Outcome.succeeded('nodded')\n"
        "@action(NoArguments, title='Another ping')\n"
        "def ping(arguments, context):\n    return Outcome.succeeded('not the ping of this package')\n"
        "def plain(arguments, context):\n    return None\n",
    )
    monkeypatch.syspath_prepend(tmp_path)

    assert set(action.discover(agent.actions)) == {*SHIPPED, "nod"}
    for ignored in ("gestures:ping of gestures", "gestures:plain of gestures", "gestures:missing of gestures"):
        assert ignored in caplog.text

    machine = AgentUnderTest(tmp_path, clock, allowed_actions=["nod", "ping"])
    assert {found.name for found in machine.infos[-1].actions} == {"nod", "ping"}
    assert machine.outcome(machine.operator.order("nod")).detail == "nodded"
    assert machine.outcome(machine.operator.order("ping")).detail == "The machine is there."
    machine.kill()


# Messages.


def test_without_a_desktop_a_message_has_failed(clock: Clock, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("DBUS_SESSION_BUS_ADDRESS", "DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(messages, "BUSES", tmp_path)
    monkeypatch.setattr(messages.programs, "__kwdefaults__", {"platform": "linux", "buses": tmp_path})
    outcome = message.run(MessageArguments(title="hello"), RecordingContext(clock))

    assert isinstance(outcome, Outcome)
    assert (outcome.state, outcome.reason) == ("failed", "no-desktop")


def test_a_desktop_without_a_program_that_shows_it_has_failed_with_the_reason(
    clock: Clock, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("DBUS_SESSION_BUS_ADDRESS", "unix:path=/nowhere")
    monkeypatch.setattr(messages.programs, "__kwdefaults__", {"platform": "linux", "buses": tmp_path})
    outcome = message.run(MessageArguments(title="hello"), RecordingContext(clock))

    assert isinstance(outcome, Outcome)
    assert (outcome.state, outcome.reason) == ("failed", "no-desktop")
    assert "notify-send" in outcome.detail


def test_a_message_goes_to_the_session_bus_of_who_is_logged_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DBUS_SESSION_BUS_ADDRESS", raising=False)
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    mine = tmp_path / str(os.geteuid())
    foreign = tmp_path / "54321"  # the directory has not its owner's uid as name
    for place in (mine, foreign):
        place.mkdir()
        with socket.socket(socket.AF_UNIX) as bus:
            monkeypatch.chdir(place)
            bus.bind("bus")
    (found,) = programs(MessageArguments(title="hello"), platform="linux", buses=tmp_path)

    assert found.user is None
    assert found.environment["DBUS_SESSION_BUS_ADDRESS"] == f"unix:path={mine}/bus"


@pytest.mark.skipif(sys.platform == "win32" or os.geteuid() != 0, reason="only root may become somebody else")
def test_root_shows_it_as_the_person_who_is_logged_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    place = tmp_path / "1"
    place.mkdir()
    (place / "bus").touch()
    for path in (place, place / "bus"):
        os.chown(path, 1, 1)
    (found,) = programs(MessageArguments(title="hello"), platform="linux", buses=tmp_path)

    assert found.user == 1


# Rebooting.


def state(clock: Clock, **facts: object) -> MachineState:
    values = {"process": "p", "boot": "b", "now": clock.now(), "configured_at": 0, "reverted_at": 0, **facts}
    return MachineState(**values)  # type: ignore[arg-type]


def test_the_reboot_command_gets_its_delay_in_minutes_rounded_up(tmp_path: Path) -> None:
    settings = AgentSettings(
        data=tmp_path, machine="attic", reboot_command=["go", "+{minutes}", "{seconds}", "{notice}"]
    )

    assert command(RebootArguments(delay_seconds=61, notice="soon"), settings) == ["go", "+2", "61", "soon"]
    assert command(RebootArguments(), settings) == ["go", "+0", "0"]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has neither")
def test_the_reboot_command_asks_for_the_right_only_when_the_agent_has_not_got_it(tmp_path: Path) -> None:
    words = command(RebootArguments(), AgentSettings(data=tmp_path, machine="attic"))

    assert words == ["shutdown", "-r", "+0"] if os.geteuid() == 0 else ["sudo", "-n", "shutdown", "-r", "+0"]


def test_a_reboot_succeeds_when_the_machine_is_back_and_has_failed_when_it_never_went(
    tmp_path: Path, clock: Clock
) -> None:
    program = recorder(tmp_path, "go")
    context = RecordingContext(clock, reboot_command=[str(program), "{notice}"])
    assert reboot.run(RebootArguments(notice="soon"), context) is None
    assert (context.asked, recorded(program)) == ([("set_stop_reason", "rebooting")], [["soon"]])
    started = StartedOrder(context.order, clock.now(), "p", "b")
    assert reboot.resolve is not None

    assert reboot.resolve(started, state(clock)) is None
    assert reboot.resolve(started, state(clock, process="another")) is None
    back = reboot.resolve(started, state(clock, boot="another"))
    assert back is not None
    assert back.state == "succeeded"
    clock.advance(PATIENCE_SECONDS + 1)
    late = reboot.resolve(started, state(clock))
    assert late is not None
    assert late.reason == "not-rebooted"


def test_a_reboot_command_that_fails_or_is_not_there_is_a_failure_at_once(tmp_path: Path, clock: Clock) -> None:
    for program, reason in ((recorder(tmp_path, "no", code=3), "exit-code"), (tmp_path / "nothing", "not-started")):
        context = RecordingContext(clock, reboot_command=[str(program)])
        outcome = reboot.run(RebootArguments(), context)
        assert isinstance(outcome, Outcome)
        assert outcome.reason == reason
        assert context.asked == [("set_stop_reason", "rebooting"), ("set_stop_reason", "stopped")]


@pytest.mark.parametrize("arguments", [{"delay_seconds": -1}, {"delay_seconds": 90_000}, {"delay_seconds": "1"}])
def test_a_delay_is_a_number_of_seconds_within_a_day(arguments: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        RebootArguments.model_validate(arguments)


def test_a_machine_reports_a_reboot_when_it_is_back(tmp_path: Path, clock: Clock) -> None:
    program = recorder(tmp_path, "go")
    machine = AgentUnderTest(tmp_path, clock, reboot_command=[str(program)])
    machine.send(order := machine.operator.order("reboot"))
    # Each step advances the clock, which must not reach the time limit.
    wait_until(lambda: recorded(program), what="the command to run")

    def idle() -> bool:
        machine.step()
        return machine.idle

    wait_until(idle, what="the action to end")
    machine.stop()
    assert machine.statuses[-1].reason == "rebooting"
    machine.boot = "c" * 32
    machine.start()

    assert machine.states(order)[-1] == "succeeded"
    machine.send(order)
    assert len(recorded(program)) == 1
    machine.kill()
