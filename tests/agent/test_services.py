"""Service managers: what their files say. systemd itself runs in tests/faults/test_installation.py."""

import plistlib
import subprocess
from pathlib import Path
from xml.etree import ElementTree

import pytest
from servers import require_program

from agent.service import Service
from agent.services import SERVICES, launchd, openrc, systemd, windows_task

PROGRAM = Path("/opt/dashfleet/current/bin/dashfleet")
DATA = Path("/var/lib/dashfleet")


def text(service: Service) -> str:
    (content,) = service.files(PROGRAM, DATA).values()
    return content


@pytest.mark.parametrize("service", SERVICES, ids=lambda service: service.title)
def test_every_manager_starts_the_agent_with_its_state_directory(service: Service) -> None:
    assert str(PROGRAM) in text(service)
    assert str(DATA) in text(service)
    assert "@" not in text(service).replace("@system-service", "").replace("@privileged @resources", "")


def test_the_script_of_openrc_is_a_shell_script_without_findings() -> None:
    program = require_program("shellcheck", "shellcheck")
    argv = [program, "--shell=sh", "--exclude=SC2034", "-"]  # its variables are read by openrc-run
    done = subprocess.run(argv, input=text(openrc.SERVICE), capture_output=True, text=True, check=False)
    assert done.stdout == ""
    assert 'command_user="dashfleet:dashfleet"' in text(openrc.SERVICE)


def test_the_property_list_of_launchd_can_be_read() -> None:
    read = plistlib.loads(text(launchd.SERVICE).encode())
    assert read["ProgramArguments"] == [str(PROGRAM), "agent", "--data", str(DATA)]
    assert (read["UserName"], read["KeepAlive"], read["RunAtLoad"]) == ("_dashfleet", True, True)


def test_the_task_of_windows_can_be_read_whatever_the_paths_are() -> None:
    (content,) = windows_task.SERVICE.files(Path("C:/A & B/dashfleet.exe"), DATA).values()
    task = ElementTree.fromstring(content.encode())  # noqa: S314 - made here
    names = {"t": "http://schemas.microsoft.com/windows/2004/02/mit/task"}
    assert task.findtext(".//t:Command", namespaces=names) == "C:/A & B/dashfleet.exe"
    assert task.findtext(".//t:UserId", namespaces=names) == "S-1-5-19"


def test_a_failing_program_of_a_manager_is_one_sentence(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "systemctl").write_text("#!/bin/sh\necho 'Failed to enable unit' >&2; exit 1\n")
    (tmp_path / "systemctl").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    monkeypatch.setattr(systemd, "_RUNNING", tmp_path / "not-running")
    with pytest.raises(Exception, match="systemctl enable --quiet dashfleet-agent failed: Failed to enable unit"):
        systemd.SERVICE.start()
