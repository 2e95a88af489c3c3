"""The trial of a new version: when it is committed, and that the old one is otherwise back, with the reason."""

import json
import os
from pathlib import Path

import pytest

from agent.installation import environment
from agent.updates.trial import TRIAL_MOST_SECONDS, VersionTrial, trial_seconds
from agent.updates.update_record import TRIAL, TRIAL_SECONDS, UpdateRecord, read_update, settle_update

CONNECTED = '{"pid": %d, "version": "0.3.0", "connected": %s, "changed_at": 0, "acknowledged": %s}'


class Machine:
    """An installation whose versions are shell scripts."""

    def __init__(self, directory: Path) -> None:
        self.data, self.prefix = directory / "data", directory / "opt"
        (self.data / "agent").mkdir(parents=True)
        self.old = self._version("0.2.0-old", "exit 0")
        environment.switch(self.prefix, self.old)
        self.stopping = False

    def _version(self, name: str, script: str) -> Path:
        place = self.prefix / environment.ENVIRONMENTS / name
        program = environment.program(place)
        program.parent.mkdir(parents=True)
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)
        return place

    def says(self, *, connected: bool = True, acknowledged: bool = True, version: str = "0.3.0") -> str:
        text = CONNECTED.replace("0.3.0", version) % (0, json.dumps(connected), json.dumps(acknowledged))
        file = self.data / "agent" / "connection.json"
        return (
            f"printf '%s' '{text}' | sed \"s/: 0, \\\"version/: $$, \\\"version/\" > {file}.new && mv {file}.new {file}"
        )

    def update(self, script: str, *, seconds: float = 30.0) -> bool | None:
        self.new = self._version("0.3.0-new", script)
        self.record = UpdateRecord("a" * 32, 1, "0.2.0", "0.3.0", str(self.new), trial_seconds=seconds)
        self.record.write(self.data)
        self.trial = VersionTrial(self.data, self.record, stopping=lambda: self.stopping)
        return self.trial.run()

    @property
    def current(self) -> Path | None:
        return environment.current(self.prefix)

    @property
    def state(self) -> tuple[str, str]:
        record = read_update(self.data)
        assert record is not None
        return record.state, record.reason


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_a_version_that_connects_and_whose_sample_is_acknowledged_is_committed_and_has_ended_before_it_starts_anew(
    machine: Machine,
) -> None:
    pid = machine.data / "pid"
    assert machine.update(f"echo $$ > {pid}; {machine.says()}; exec sleep 1000") is True
    assert machine.current == machine.new
    assert machine.state == ("committed", "")
    assert list(machine.trial.command[:2]) == [str(machine.prefix / "current" / "bin" / "dashfleet"), "agent"]
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid.read_text()), 0)


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("exit 3", "it ended with exit code 3"),
        ("echo libfoo.so is missing >&2; exit 4", "it ended with exit code 4: libfoo.so is missing"),
        ("exec sleep 1000", "it did not connect within 0.5 s"),
        ("CONNECTED; exec sleep 1000", "no sample of it was acknowledged within 0.5 s"),
        ("OTHER; exec sleep 1000", "it is version 9.9.9, not 0.3.0"),
        ("trap '' TERM; OTHER; while :; do sleep 0.1; done", "it is version 9.9.9, not 0.3.0"),
    ],
)
def test_a_version_that_does_not_prove_itself_is_ended_and_removed_and_the_reason_is_kept(
    machine: Machine, script: str, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agent.updates.trial._END_SECONDS", 0.5)
    script = script.replace("CONNECTED", machine.says(acknowledged=False)).replace(
        "OTHER", machine.says(version="9.9.9")
    )
    seconds = 0.5 if "0.5 s" in reason else 30.0
    assert machine.update(script, seconds=seconds) is False
    assert machine.current == machine.old
    assert machine.state == ("rolled-back", reason)
    assert not machine.new.exists()


def test_a_version_that_is_given_up_stays_if_it_was_installed_meanwhile(machine: Machine) -> None:
    link = machine.prefix / "current"
    assert machine.update(f"ln -sfn environments/0.3.0-new {link}; exit 3") is False
    assert machine.current == machine.new
    assert machine.new.exists()


def test_a_version_that_cannot_be_started_is_given_up(machine: Machine) -> None:
    machine.new = machine.prefix / environment.ENVIRONMENTS / "0.3.0-gone"
    record = UpdateRecord("a" * 32, 1, "0.2.0", "0.3.0", str(machine.new))
    assert VersionTrial(machine.data, record, stopping=lambda: False).run() is False
    assert machine.state == ("rolled-back", "the new version could not be started: No such file or directory")


def test_the_connection_of_another_process_proves_nothing(machine: Machine) -> None:
    (machine.data / "agent" / "connection.json").write_text(CONNECTED % (os.getpid(), "true", "true"))
    assert machine.update("exec sleep 1000", seconds=0.3) is False
    assert machine.current == machine.old


def test_a_process_that_is_told_to_stop_decides_nothing_and_the_next_start_runs_the_old_version(
    machine: Machine,
) -> None:
    machine.stopping = True
    assert machine.update("exec sleep 1000") is None
    assert machine.current == machine.old
    assert machine.state[0] == "trying"
    settle_update(machine.data, machine.old)
    assert machine.state == ("rolled-back", "the machine or the agent ended while the new version was tried")


def test_after_a_power_cut_the_link_tells_whether_the_update_was_committed(machine: Machine) -> None:
    record = UpdateRecord("a" * 32, 1, "0.2.0", "0.3.0", str(machine.prefix / "environments" / "0.3.0-new"))
    record.write(machine.data)
    settle_update(machine.data, Path(record.environment))
    assert machine.state == ("committed", "")


def test_the_process_that_is_tried_does_not_settle_its_own_trial(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = UpdateRecord("a" * 32, 1, "0.2.0", "0.3.0", str(machine.prefix / "environments" / "0.3.0-new"))
    record.write(machine.data)
    monkeypatch.setenv(TRIAL, record.order)
    settle_update(machine.data, Path(record.environment))
    assert machine.state == ("trying", "")


def test_a_slow_or_busy_machine_gives_the_new_version_more_time() -> None:
    assert trial_seconds(0.1, 1.0) == TRIAL_SECONDS
    assert trial_seconds(2.0, 1.0) == 124.0
    assert trial_seconds(0.5, 20.0) == 110.0
    assert trial_seconds(60.0, 60.0) == TRIAL_MOST_SECONDS


def test_records_of_a_later_version_with_more_fields_are_read(machine: Machine) -> None:
    record = UpdateRecord("a" * 32, 1, "0.2.0", "0.3.0", "/opt/new", "committed", trial_seconds=90.0)
    record.write(machine.data)
    path = machine.data / "agent" / "update.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "added_later": [1]}))
    assert read_update(machine.data) == record
    assert machine.update(f"{machine.says()}; exec sleep 1000".replace('"pid"', '"added_later": 1, "pid"')) is True


@pytest.mark.parametrize("content", ["", "[]", '{"order": 1}', "\x00"])
def test_a_damaged_record_is_no_record(machine: Machine, content: str) -> None:
    (machine.data / "agent" / "update.json").write_text(content)
    assert read_update(machine.data) is None
    settle_update(machine.data, machine.old)
