"""`dashfleet setup` keeps what is recorded, and `dashfleet up` uses one database for all parts."""

import json
import sys
from pathlib import Path

import pytest
from command_line import dashfleet, refusal
from platformdirs import user_data_path
from servers import free_port

from cli.up.installation import other_commands
from runtime.urls import sqlite_url


def recorded(data: Path) -> dict[str, str]:
    found = json.loads((data / "up.json").read_text())
    assert isinstance(found, dict)
    return found


def test_setting_up_again_keeps_what_is_recorded(tmp_path: Path) -> None:
    where = ("--data", str(tmp_path))
    server = "mqtts://fleet.example.org:8883"
    assert dashfleet("setup", *where, "--server", server, "--machine", "attic").returncode == 0
    for arguments in ((), ("--ingestor", "ingestor-2"), ("--database", sqlite_url(tmp_path / "dashfleet.db"))):
        assert dashfleet("setup", *where, *arguments).returncode == 0
        assert recorded(tmp_path) == {"server": server, "machine": "attic"}
    dashfleet("setup", *where, "--server", "mqtts://new.example.org")
    assert recorded(tmp_path) == {"server": "mqtts://new.example.org", "machine": "attic"}


@pytest.mark.parametrize("part", ["ingestor", "broker", "dashboard"])
def test_up_refuses_parts_with_different_databases(part: str, tmp_path: Path) -> None:
    (tmp_path / "dashfleet.toml").write_text(f'[{part}]\ndatabase = "sqlite:////elsewhere/fleet.db"\n')
    ports = ("--broker-port", str(free_port()), "--dashboard-port", str(free_port()))
    sentence = refusal("up", "--data", str(tmp_path), *ports)
    assert "different databases" in sentence
    assert "/elsewhere/fleet.db" in sentence
    assert not (tmp_path / "dashfleet.db").exists()
    environment = {f"DASHFLEET_{part.upper()}_DATABASE": sqlite_url(tmp_path / "other.db")}
    (tmp_path / "dashfleet.toml").unlink()
    assert "different databases" in refusal("up", "--data", str(tmp_path), *ports, **environment)


def test_setup_creates_the_principal_of_each_part_with_its_secret(tmp_path: Path) -> None:
    assert dashfleet("setup", "--data", str(tmp_path)).returncode == 0
    listed = json.loads(dashfleet("principal", "list", "--data", str(tmp_path), "--json").stdout)
    roles = {row["username"]: row["role"] for row in listed}
    for part in ("ingestor", "dashboard", "notifier"):
        assert roles[f"_{part}"] == part
        assert (tmp_path / "secrets" / part).stat().st_mode & 0o077 == 0


def test_the_start_says_how_other_commands_are_entered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only where `dashfleet` alone does not find this installation or its state directory."""
    usual = user_data_path("dashfleet", appauthor=False)
    monkeypatch.setenv("PATH", str(Path(sys.executable).parent))
    assert other_commands(usual) == ""
    assert other_commands(tmp_path) == f"Other commands: dashfleet COMMAND --data {tmp_path}"
    monkeypatch.setenv("PATH", str(tmp_path))
    assert other_commands(usual) == f"Other commands: {Path(sys.executable).with_name('dashfleet')} COMMAND"
    monkeypatch.setattr("sys.executable", str(tmp_path / "python"))
    assert other_commands(usual) == f"Other commands: {tmp_path / 'python'} -m dashfleet COMMAND"
