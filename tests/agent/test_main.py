"""The agent's process: settings that it refuses, and the place of its memory file."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from agent import action as action_module
from agent.__main__ import build
from agent.action import Action, NoArguments
from agent.agent import Agent
from agent.outbox import memory_file
from runtime.errors import SettingsError
from runtime.settings.agent import AgentSettings


def settings_of(data: Path, **values: object) -> AgentSettings:
    return AgentSettings.model_validate({"data": data, "machine": "attic", "password": "made-up", **values})


@pytest.fixture(autouse=True)
def memory_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    place = tmp_path / "shm"
    place.mkdir()
    monkeypatch.setattr(memory_file, "MEMORY_FILES", place)
    return place


def test_an_agent_is_built_with_its_files_in_its_state_directory(tmp_path: Path, memory_files: Path) -> None:
    running = build(settings_of(tmp_path / "state"))
    running.stop()

    assert (tmp_path / "state" / "agent" / "outbox.db").exists()
    assert [path.name for path in memory_files.glob("*/*")] == ["hot.db"]


def test_without_a_password_it_does_not_start(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="no password"):
        build(settings_of(tmp_path, password=None))


def test_a_state_directory_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SettingsError, match=f"cannot create {tmp_path / 'file'}: .*--data"):
        build(settings_of(tmp_path / "file"))


def test_a_second_agent_on_the_same_state_directory_does_not_start(tmp_path: Path) -> None:
    running = build(settings_of(tmp_path))
    with pytest.raises(SettingsError, match="another agent uses"):
        build(settings_of(tmp_path))
    running.stop()


def test_an_action_that_there_is_not_is_refused_at_the_start_by_its_name(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="allowed_actions names dance, which is no action: there are configure"):
        build(settings_of(tmp_path, allowed_actions=["ping", "dance"]))


@pytest.mark.parametrize(
    ("name", "title", "problem"),
    [
        ("Find-File", "Find a file", "name must be lower-case letters, digits and underscores"),
        ("find_file", "x" * 65, "title must have 64 characters at most"),
    ],
)
def test_an_allowed_action_that_cannot_be_described_is_refused_at_the_start_with_the_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, title: str, problem: str
) -> None:
    odd = Action(name, title, NoArguments, lambda _arguments, _context: None)
    monkeypatch.setattr(action_module, "discover", lambda _package: {name: odd})
    settings = settings_of(tmp_path).model_copy(update={"allowed_actions": [name]})
    with pytest.raises(SettingsError, match=rf"the action {name} of allowed_actions cannot be described \({problem}"):
        build(settings)


@pytest.mark.parametrize("action_name", ["Find-File", "find file"])
def test_a_setting_that_allows_an_action_with_an_invalid_name_ends_the_start_with_one_sentence_and_exit_code_2(
    tmp_path: Path, action_name: str
) -> None:
    """As `dashfleet agent` resolves it, from the environment."""
    environment = {**os.environ, "DASHFLEET_AGENT_ALLOWED_ACTIONS": json.dumps([action_name])}
    argv = [sys.executable, "-m", "dashfleet", "agent", "--data", str(tmp_path)]
    done = subprocess.run(argv, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert "allowed_actions" in done.stderr
    assert "Traceback" not in done.stderr


def stored(running: Agent) -> int:
    """Return the number of the newest sample that waits for the server."""
    queue: Any = running._outbox  # its implementation numbers the samples
    return int(queue.next_seq)


def test_a_journal_on_a_disk_that_fails_keeps_no_machine_from_being_watched(tmp_path: Path) -> None:
    (tmp_path / "agent" / "journal.db").mkdir(parents=True)
    running = build(settings_of(tmp_path))
    running.step()
    before = stored(running)
    running.sample()
    assert stored(running) == before + 1
    running.stop()


def test_two_state_directories_have_two_memory_files(tmp_path: Path) -> None:
    assert memory_file.hot_path(tmp_path / "a") != memory_file.hot_path(tmp_path / "b")


def test_without_memory_files_the_hot_store_is_beside_the_rest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory_file, "MEMORY_FILES", tmp_path / "missing")

    assert memory_file.hot_path(tmp_path) == tmp_path / "hot.db"


@pytest.mark.parametrize("trap", ["link", "open to others", "a file"])
def test_a_memory_directory_that_somebody_else_prepared_is_not_used(tmp_path: Path, trap: str) -> None:
    directory = memory_file.hot_path(tmp_path).parent
    directory.rmdir()
    if trap == "link":
        (tmp_path / "elsewhere").mkdir(mode=0o700)
        directory.symlink_to(tmp_path / "elsewhere")
    elif trap == "a file":
        directory.touch()
    else:
        directory.mkdir()
        directory.chmod(0o755)

    assert memory_file.hot_path(tmp_path) == tmp_path / "hot.db"


@pytest.mark.skipif(os.geteuid() != 0, reason="giving a directory away needs root")
def test_a_memory_directory_of_another_user_is_not_used(tmp_path: Path) -> None:
    directory = memory_file.hot_path(tmp_path).parent
    os.chown(directory, 65_534, 65_534)

    assert memory_file.hot_path(tmp_path) == tmp_path / "hot.db"
