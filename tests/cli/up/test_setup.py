"""`dashfleet setup` keeps what is recorded, and `dashfleet up` uses one database for all parts."""

import json
from pathlib import Path

import pytest
from command_line import dashfleet, refusal
from servers import free_port

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
