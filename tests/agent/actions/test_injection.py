"""Texts of operators reach programs unchanged, each in an element of argv, or are rejected."""

import html
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from agent_under_test import AgentUnderTest, recorded, recorder
from clocks import Clock
from injections import INJECTIONS, OWNED
from pydantic import ValidationError
from waiting import wait_until

import agent.actions
from agent.action import discover
from agent.actions.message import MessageArguments, NotificationProgram, osascript, show
from runtime.settings.agent import AgentSettings
from schemas.contract import topics
from schemas.contract.text import clean_text

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the recorders are scripts")
PROGRAMS = ("notify-send", "zenity", "osascript", "shutdown", "sudo", "systemctl", "sh", "bash", "touch")
COVERED = {
    ("ping", "echo"),
    ("message", "title"),
    ("message", "text"),
    ("message", "urgency"),
    ("reboot", "notice"),
    ("run", "command"),
    ("run", "parameters"),
    ("configure", "labels"),
    ("configure", "collectors_off"),
    ("configure", "probes"),
    ("container", "name"),
    ("container", "operation"),
    ("service", "name"),
    ("service", "operation"),
    ("move", "destination"),
    ("update", "version"),
    ("update", "sha256"),
    ("push", "path"),
    ("push", "sha256"),
    ("push", "mode"),
    ("pull", "path"),
}
"""Every argument that carries text; what an action adds must be tried here, too."""


class Place:
    """A machine on which a recorder replaces every program that a text could mislead."""

    def __init__(self, directory: Path, clock: Clock) -> None:
        self.programs = {name: recorder(directory, name) for name in PROGRAMS}
        recorder(directory, "notify-send", code=1)  # so that zenity is tried, too
        self.directory = directory
        values = {"pattern": "(?s).*"}
        self.machine = AgentUnderTest(
            directory,
            clock,
            reboot_command=[str(directory / "shutdown"), "-r", "+{minutes}", "{notice}"],
            container_sockets=[directory / "docker.sock"],
            controlled_containers=["*"],
            controlled_services=["*"],
            service_command=[str(directory / "sudo"), "{operation}", "{service}"],
            commands={"it": {"argv": [str(directory / "systemctl"), "{value}"], "parameters": {"value": values}}},
        )

    def order(self, action: str, arguments: dict[str, Any]) -> str:
        """Order an action; return the final state, `rejected` if it was."""
        try:
            order = self.machine.operator.order(action, arguments=arguments)
        except ValidationError:  # control characters: no program of ours signs them, but another may
            self.machine.forget()
            self.machine.publish(topics.COMMAND, self.machine.operator.unchecked_command(action, arguments))
            self.machine.step(5)
            assert {result.state for result in self.machine.results()} <= {"rejected"}
            return "rejected"
        self.machine.send(order)
        if action == "reboot":  # it fails only when the machine has not rebooted in time

            def is_over() -> bool:
                self.machine.step()
                return "rejected" in self.machine.states(order) or self.machine.idle

            wait_until(is_over, what="the reboot command")
            self.machine.clock.advance(3600)
        return self.machine.final(order).state

    def argvs(self, *names: str) -> list[list[str]]:
        return [argv for name in names for argv in recorded(self.programs[name])]

    def assert_untouched(self, *used: str) -> None:
        """Assert that no injected command ran."""
        assert self.argvs(*(name for name in PROGRAMS if name not in used)) == []
        assert not (self.directory / OWNED).exists()
        assert not Path(OWNED).exists()


@pytest.fixture
def place(tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("DBUS_SESSION_BUS_ADDRESS", "unix:path=/nowhere")
    monkeypatch.setenv("DISPLAY", ":99")
    monkeypatch.chdir(tmp_path)
    made = Place(tmp_path, clock)
    yield made
    made.machine.kill()


texts = pytest.mark.parametrize("text", INJECTIONS, ids=lambda text: ascii(text)[:24])


def test_every_argument_that_carries_text_is_tried(tmp_path: Path) -> None:
    settings = AgentSettings(data=tmp_path, machine="attic")
    found = set()
    for name, action in discover(agent.actions).items():
        properties = action.arguments.model_json_schema().get("properties", {})
        found |= {(name, field) for field, schema in properties.items() if "string" in str(schema)}
        assert action.description(settings).name == name

    assert found <= COVERED


@texts
def test_a_message_is_shown_as_it_was_written(place: Place, text: str) -> None:
    for arguments in ({"title": "Title", "text": text}, {"title": text}, {"title": "x", "urgency": text}):
        place.order("message", arguments)
    shown = place.argvs("notify-send")
    if len(shown) == 2:  # valid as a title, too
        assert (html.unescape(unescaped(shown[0][4])), shown[1][3]) == (text, text)
        assert not re.search(r"[<>]|&(?!amp;|lt;|gt;)", shown[0][4])
    for argv in shown:
        assert argv[:3] == ["--app-name=DashFleet", "--urgency=normal", "--"]
        assert len(argv) == 5
    for argv in place.argvs("zenity"):
        assert argv[:3] == ["--info", "--no-markup", "--timeout=600"]
        assert [option.partition("=")[0] for option in argv[3:]] == ["--title", "--text"]
        assert {unescaped(argv[4].partition("=")[2]), argv[3].partition("=")[2]} <= {text, "Title"}
    place.assert_untouched("notify-send", "zenity")


@texts
def test_nothing_but_a_version_and_a_hash_orders_an_update(
    place: Place, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agent.actions.update.find_layout", lambda: None)  # so that only the arguments decide
    for arguments in ({"version": text, "sha256": "0" * 64}, {"version": "9.9", "sha256": text}):
        assert place.order("update", arguments) == "rejected"
    place.assert_untouched()


@texts
def test_a_mac_reads_nothing_of_a_message_as_a_script(place: Place, text: str) -> None:
    arguments = MessageArguments.model_construct(title=text, text=text, urgency="normal")
    if "\0" in text:
        return  # rejected before: no argv can contain it
    show(NotificationProgram(osascript(arguments)))

    ((*script, dashes, title, body),) = place.argvs("osascript")
    assert [word for word in script if word != "-e"] == [
        "on run argv",
        "display notification (item 2 of argv) with title (item 1 of argv)",
        "end run",
    ]
    assert (dashes, title, body) == ("--", text, text)
    place.assert_untouched("osascript")


@texts
def test_a_reboots_notice_is_one_element_and_no_option(place: Place, text: str) -> None:
    state = place.order("reboot", {"notice": text})

    notices = [argv[2:] for argv in place.argvs("shutdown")]
    if state == "rejected":
        assert notices == []
        assert clean_text(text) != text or re.search(r"[\x00-\x1f\x7f]", text) or text[0] in "-/"
    else:
        assert notices == [[text] if text else []]
    place.assert_untouched("shutdown")


@texts
def test_a_commands_value_is_one_element_and_no_option(place: Place, text: str) -> None:
    state = place.order("run", {"command": "it", "parameters": {"value": text}})

    if state == "rejected":
        assert place.argvs("systemctl") == []
        assert clean_text(text) != text or text.startswith("-")
    else:
        assert place.argvs("systemctl") == [[text]]
    place.assert_untouched("systemctl")


@texts
def test_other_texts_start_nothing(place: Place, text: str) -> None:
    for action, arguments in (
        ("run", {"command": text}),
        ("run", {"command": "it", "parameters": {text: "x"}}),
        ("ping", {"echo": text}),
        ("configure", {"collectors_off": [text]}),
        ("configure", {"labels": {text: text}}),
        ("configure", {"probes": {"x": text}}),
        ("push", {"path": text, "sha256": "a" * 64}),
        ("push", {"path": f"/srv/{text}", "sha256": text}),
        ("push", {"path": "/srv/file", "sha256": "a" * 64, "mode": text}),
        ("pull", {"path": text}),
        ("container", {"name": text, "operation": "stop"}),
        ("container", {"name": "web", "operation": text}),
        ("service", {"name": "nginx.service", "operation": text}),
        ("configure", {"probes": {"x": f"http://x/ contains={text}"}}),
        ("move", {"destination": text}),
        (re.sub(r"[^a-z0-9_]", "_", f"x{text}".lower())[:60], {}),
    ):
        place.order(action, arguments)
        place.machine.clock.advance(1)
    place.assert_untouched()
    assert place.order("ping", {"echo": "x"}) == "succeeded", "the machine still runs what it is ordered"


@texts
def test_a_name_of_a_service_is_one_element_or_rejected(place: Place, text: str) -> None:
    state = place.order("service", {"name": text, "operation": "restart"})
    assert place.argvs("sudo") == ([] if state == "rejected" else [["restart", text]])
    assert not text.startswith(("-", "/")) or state == "rejected"
    place.assert_untouched("sudo")


def unescaped(text: str) -> str:
    """Decode as GLib's g_strcompress; allow a backslash only before another one."""
    assert not re.search(r"(?<!\\)(?:\\\\)*\\(?!\\)", text)
    return text.replace("\\\\", "\\")
