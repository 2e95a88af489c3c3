"""What an installation lets the agent's user change, and that root never runs what that user can change."""

import os
import stat
import sys
from pathlib import Path

import pytest

from agent.installation import accounts, environment, installer
from agent.installation.installer import Installer, InstallOptions
from agent.services.systemd import unit
from agent.updates.layout import find_layout
from runtime.errors import UserError
from runtime.version import VERSION

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="changing owners needs root")


class Installation:
    """An environment in a prefix, as the installer finds it when it runs in that environment."""

    def __init__(self, directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        directory.chmod(0o755)
        self.prefix, self.data, self.command = directory / "opt", directory / "data", directory / "bin" / "dashfleet"
        self.command.parent.mkdir()
        self.here = self.prefix / environment.ENVIRONMENTS / f"{VERSION}-a"
        self.here.mkdir(parents=True)
        monkeypatch.setattr(accounts, "user_name", lambda: "nobody")
        monkeypatch.setattr(installer, "COMMAND", self.command)
        self._monkeypatch = monkeypatch

    def install(self, *, updates: bool = True) -> Path:
        self._monkeypatch.setattr(sys, "prefix", str(self.here))
        options = InstallOptions(self.prefix, self.data, updates=updates)
        return Installer(options, None, token=lambda: "", say=lambda _: None)._provide_program()


@pytest.fixture
def installation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Installation:
    return Installation(tmp_path, monkeypatch)


def test_the_user_may_add_an_environment_and_choose_it_but_change_nothing_of_roots(installation: Installation) -> None:
    program = installation.install()
    assert program == installation.prefix / "current" / "bin" / "dashfleet"
    for place in (installation.prefix, installation.here.parent):
        assert stat.S_IMODE(place.stat().st_mode) == 0o1775
        assert place.stat().st_uid == 0
    assert (installation.prefix / "current").lstat().st_uid == 65_534
    assert not (installation.here.stat().st_mode & 0o022)


def test_the_command_of_root_is_not_the_environment_that_the_user_chooses(installation: Installation) -> None:
    installation.install()
    assert installation.command.readlink() == installation.here / "bin" / "dashfleet"
    other = installation.here.with_name("0.9.9-b")
    other.mkdir()
    os.chown(other, 65_534, 65_534)
    (other / ".complete").touch()
    environment.switch(installation.prefix, other)
    assert installation.command.readlink() == installation.here / "bin" / "dashfleet"
    os.chown(other, 65_534, 65_534)
    assert not environment.is_complete(other)  # root runs nothing of it, but builds it anew


def test_without_updates_everything_is_roots_and_the_agent_says_so(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    installation.install()
    installation.install(updates=False)
    for place in (installation.prefix, installation.here.parent):
        assert stat.S_IMODE(place.stat().st_mode) == 0o755
    monkeypatch.setattr(os, "access", lambda *_: False)  # as for the agent's user
    with pytest.raises(UserError, match="has not allowed updates by order"):
        find_layout(installation.here)


def test_a_second_installation_changes_nothing(installation: Installation) -> None:
    installation.install()
    places = (installation.prefix, installation.here.parent, installation.prefix / "current", installation.command)
    before = [place.lstat().st_ctime_ns for place in places]
    installation.install()
    assert [place.lstat().st_ctime_ns for place in places] == before


@pytest.mark.parametrize(
    ("variables", "source", "reason"),
    [
        ({"KUBERNETES_SERVICE_HOST": "10.0.0.1"}, "/opt/x/runtime/__init__.py", "replace its image"),
        ({}, "/usr/lib/dashfleet/runtime/__init__.py", "update it with the package manager, such as apt"),
        ({}, "/home/ann/dashfleet/runtime/__init__.py", "runs from /home/ann/dashfleet and was not installed by"),
    ],
)
def test_an_agent_of_an_image_a_package_or_a_checkout_is_not_updated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], source: str, reason: str
) -> None:
    monkeypatch.setattr("agent.updates.layout._CONTAINER_FILES", ())
    monkeypatch.setattr("agent.updates.layout.runtime.__file__", source)
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(UserError, match=reason):
        find_layout(tmp_path)


def test_the_unit_lets_the_agent_write_where_its_environments_are_and_a_packages_unit_does_not() -> None:
    data = Path("/var/lib/dashfleet")
    installed = unit(Path("/opt/dashfleet/current/bin/dashfleet"), data)
    assert "ReadWritePaths=/var/lib/dashfleet /opt/dashfleet\n" in installed
    assert "ReadWritePaths=/var/lib/dashfleet\n" in unit(Path("/usr/bin/dashfleet"), data)
