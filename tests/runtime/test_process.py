"""Shutdown by signal or with the supervisor, and replacement of the process by a part."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from runtime.process import SUPERVISED, inherited_settings
from runtime.settings.agent import AgentSettings

PART = """
import time
from runtime.process import StopSignal, notify_ready
stop = StopSignal()
notify_ready("part")
while not stop.received:
    time.sleep(0.01)
print("stopped", flush=True)
"""


@contextmanager
def part(*, supervised: bool, code: str = PART) -> Iterator[subprocess.Popen[str]]:
    environment = {**os.environ, SUPERVISED: "1"} if supervised else dict(os.environ)
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def ready(process: subprocess.Popen[str]) -> None:
    assert process.stdout is not None
    assert process.stdout.readline() == "ready: part\n"


def last_words(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    words = process.stdout.read()
    assert process.wait(15) == 0
    return words


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_asks_a_part_to_stop(number: signal.Signals) -> None:
    with part(supervised=False, code=PART) as process:
        ready(process)
        process.send_signal(number)
        assert last_words(process) == "stopped\n"


def test_a_part_that_was_told_to_outlive_its_terminal_does() -> None:
    ignoring = "import signal; signal.signal(signal.SIGHUP, signal.SIG_IGN)"
    with part(supervised=False, code=ignoring + PART) as process:
        ready(process)
        process.send_signal(signal.SIGHUP)
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.3)
        process.terminate()
        assert last_words(process) == "stopped\n"


def test_a_supervised_part_stops_when_its_standard_input_ends() -> None:
    with part(supervised=True) as process:
        ready(process)
        assert process.stdin is not None
        process.stdin.write("whatever it says")
        process.stdin.close()
        assert last_words(process) == "stopped\n"


def test_a_part_of_its_own_does_not_care_about_its_standard_input() -> None:
    with part(supervised=False) as process:
        ready(process)
        assert process.stdin is not None
        process.stdin.close()
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.3)
        process.terminate()
        assert last_words(process) == "stopped\n"


def test_settings_are_handed_over_without_the_password() -> None:
    code = """
import os, sys
from pathlib import Path
from runtime import process
from runtime.settings.agent import AgentSettings
os.execv = lambda path, argv: print(argv[1:], os.environ["DASHFLEET_RESOLVED_SETTINGS"])
process.exec_module("agent", AgentSettings(data=Path("/d"), machine="attic", password="made-up", labels={"rack": "b"}))
"""
    with part(supervised=False, code=code) as process:
        argv, _, values = last_words(process).partition(" {")

    assert argv == "['-OO', '-P', '-m', 'agent']"
    assert "made-up" not in values
    assert json.loads("{" + values)["labels"] == {"rack": "b"}


def test_the_password_is_read_from_the_environment_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DASHFLEET_RESOLVED_SETTINGS", '{"data": "/d", "machine": "attic", "interval_seconds": 2.5}')
    monkeypatch.delenv("DASHFLEET_AGENT_PASSWORD", raising=False)
    assert inherited_settings(AgentSettings).password is None
    monkeypatch.setenv("DASHFLEET_AGENT_PASSWORD", "made-up")

    settings = inherited_settings(AgentSettings)

    assert (settings.secret(), settings.interval_seconds) == ("made-up", 2.5)
