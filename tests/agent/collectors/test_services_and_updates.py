"""Services, pending updates, and the programs that tell of them."""

import json
import os
import subprocess
import threading
from pathlib import Path
from typing import Any

import psutil
import pytest
from waiting import wait_until

from agent.collectors.programs import systemd_services as services_module
from agent.collectors.programs.systemd_services import SystemdServices
from agent.collectors.programs.windows_services import WindowsServices
from agent.collectors.system.updates import Updates
from agent.host import package_managers
from agent.host.calls import program
from agent.host.calls.program import find_program, run_program
from agent.host.package_managers import parse_apk, parse_apt, parse_dnf, parse_pacman, reboot_required
from runtime.settings.agent import AgentSettings


def settings(**fields: object) -> AgentSettings:
    return AgentSettings.model_validate({"data": Path("unused"), "machine": "attic", **fields})


class Programs:
    """Programs of the test, first in the PATH."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def put(self, name: str, output: str, *, code: int = 0) -> None:
        (self.directory / f"{name}.out").write_text(output)
        self.script(name, f'echo run >> "{self.directory}/{name}.runs"\ncat "{self.directory}/{name}.out"\nexit {code}')

    def script(self, name: str, body: str) -> None:
        (self.directory / name).write_text(f"#!/bin/sh\n{body}\n")
        (self.directory / name).chmod(0o755)

    def runs(self, name: str) -> int:
        file = self.directory / f"{name}.runs"
        return len(file.read_text().splitlines()) if file.exists() else 0


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Programs:
    (tmp_path / "bin").mkdir()
    monkeypatch.setattr(program, "_DIRECTORIES", (str(tmp_path / "bin"),))
    return Programs(tmp_path / "bin")


# Programs.


def test_a_program_that_runs_when_the_agent_ends_is_killed_and_no_other_starts(
    programs: Programs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(program, "_ended", threading.Event())
    programs.script(
        "slow", f'sleep 300 &\necho $$ $! > "{tmp_path}/begun"\nmv "{tmp_path}/begun" "{tmp_path}/pids"\nwait'
    )
    path = find_program("slow") or ""
    reading = threading.Thread(target=run_program, args=([path],), kwargs={"seconds": 300})
    reading.start()
    wait_until((tmp_path / "pids").exists)
    processes = [psutil.Process(int(pid)) for pid in (tmp_path / "pids").read_text().split()]
    program.end_programs()
    assert not psutil.wait_procs(processes, timeout=60)[1]
    reading.join(60)
    assert not reading.is_alive()
    with pytest.raises(OSError, match="the agent ends"):
        run_program([path], seconds=300)


def test_a_program_that_hangs_while_it_starts_delays_no_other_and_does_not_outlive_the_agent(
    programs: Programs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(program, "_ended", threading.Event())
    hanging, released, started = threading.Event(), threading.Event(), list[int]()
    popen = subprocess.Popen

    def start(argv: list[str], **options: Any) -> Any:  # noqa: ANN401 - a process
        if argv[0].endswith("stuck"):
            hanging.set()
            released.wait(60)
            started.append((process := popen(argv, **options)).pid)
            return process
        return popen(argv, **options)

    monkeypatch.setattr(subprocess, "Popen", start)
    programs.script("stuck", "sleep 300")
    programs.put("quick", "done")

    def read() -> None:
        with pytest.raises(OSError, match="the agent ends"):
            run_program([find_program("stuck") or ""], seconds=300)

    reading = threading.Thread(target=read)
    reading.start()
    assert hanging.wait(60)
    assert run_program([find_program("quick") or ""], seconds=60).text == "done"
    program.end_programs()
    released.set()
    reading.join(60)
    assert not reading.is_alive()
    assert started
    assert not psutil.pid_exists(started[0])


def test_a_program_is_found_also_where_the_path_of_a_service_does_not_lead() -> None:
    assert find_program("sh") is not None
    assert find_program("no-such-program") is None


def _is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def test_a_program_that_takes_too_long_is_killed_with_its_children(programs: Programs, tmp_path: Path) -> None:
    programs.script("slow", f'sleep 300 &\necho $! > "{tmp_path}/child"\nsleep 300')

    with pytest.raises(TimeoutError):
        run_program([str(find_program("slow"))], seconds=2)  # on a busy machine the script needs time to begin

    wait_until(lambda: not _is_running(int((tmp_path / "child").read_text())))


def test_a_program_that_never_stops_writing_is_killed(programs: Programs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(program, "OUTPUT_MAX_BYTES", 1000)
    programs.script("loud", "while true; do echo xxxxxxxxxxxxxxxxxxxxxxxxxxxx; done")

    with pytest.raises(OSError, match="too long"):
        run_program([str(find_program("loud"))], seconds=10)


def test_a_program_gets_none_of_the_secrets_of_the_agent(programs: Programs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DASHFLEET_AGENT_PASSWORD", "made-up-9")
    programs.script("show", "env")

    output = run_program([str(find_program("show"))], seconds=10)

    assert "made-up-9" not in output.text
    assert "LC_ALL=C" in output.text


@pytest.mark.skipif(not os.access(program._MEMORY, os.W_OK), reason="no memory for files")
@pytest.mark.parametrize("chosen", [None, "/var/tmp"])  # noqa: S108
def test_temporary_files_of_a_program_are_in_memory_unless_its_owner_chose_a_place(
    programs: Programs, monkeypatch: pytest.MonkeyPatch, chosen: str | None
) -> None:
    monkeypatch.delenv("TMPDIR", raising=False)
    if chosen is not None:
        monkeypatch.setenv("TMPDIR", chosen)
    programs.script("show", 'echo "$TMPDIR"')

    assert run_program([str(find_program("show"))], seconds=60).text == f"{chosen or program._MEMORY}\n"


# systemd.


def unit(name: str, state: str, sub: str, title: str = "A service") -> list[Any]:
    return [name, title, "loaded", state, sub, "", f"/org/freedesktop/systemd1/unit/{name}", 0, "", "/"]


@pytest.fixture
def systemd(programs: Programs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Programs:
    monkeypatch.setattr(services_module, "BOOTED", tmp_path)
    units = [
        unit("nginx.service", "active", "running", "Web server"),
        unit("backup.service", "failed", "failed", "Backup"),
        unit("mnt-nas.mount", "failed", "failed", "/mnt/nas"),
        unit("apt-daily.service", "inactive", "dead"),
        unit("worker@1.service", "activating", "auto-restart"),
        unit("cron.service", "active", "running"),
        unit("nginx.socket", "active", "listening"),
        ["too short"],
    ]
    programs.put("busctl", json.dumps({"type": "a(ssssssouso)", "data": [units]}))
    return programs


def test_failed_units_are_reported_always_and_others_when_the_owner_names_them(systemd: Programs) -> None:
    collector = SystemdServices(
        settings(services=["nginx*", "worker@*", "apt-daily.service", "gone.service", "!cron*"])
    )
    assert collector.present()

    found = collector.collect().facts["services"]

    assert {name: (item.health, item.fields["state"]) for name, item in found.items()} == {
        "backup.service": ("critical", "failed"),
        "mnt-nas.mount": ("critical", "failed"),
        "gone.service": ("fair", "not loaded"),
        "worker@1.service": ("fair", "activating"),
        "apt-daily.service": (None, "inactive"),
        "nginx.service": ("good", "active"),
    }
    assert next(iter(found)) == "backup.service"
    assert found["backup.service"].fields["title"] == "Backup"
    assert list(SystemdServices(settings()).collect().facts["services"]) == ["backup.service", "mnt-nas.mount"]
    assert systemd.runs("busctl") == 2


@pytest.mark.parametrize(("output", "code"), [("", 0), ("{}", 0), ('{"data": 7}', 0), ("Failed to connect", 1)])
def test_a_systemd_that_does_not_answer_is_an_error_and_not_an_empty_list(
    systemd: Programs, output: str, code: int
) -> None:
    systemd.put("busctl", output, code=code)

    with pytest.raises(OSError, match="busctl"):
        SystemdServices(settings()).collect()


def test_without_systemd_there_are_no_services(programs: Programs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(services_module, "BOOTED", Path("/missing"))
    programs.put("busctl", "")

    assert not SystemdServices(settings()).present()


# Windows.


class WindowsService:
    def __init__(self, name: str, status: str, start: str, *, gone: bool = False) -> None:
        self._found = {"name": name, "status": status, "start_type": start, "display_name": name.title()}
        self._gone = gone

    def as_dict(self) -> dict[str, str]:
        if self._gone:
            raise psutil.NoSuchProcess(0)
        return self._found


def test_windows_services_that_should_run_and_do_not_are_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    assert WindowsServices(settings()).present() == hasattr(psutil, "win_service_iter")
    listed = [
        WindowsService("spooler", "running", "automatic"),
        WindowsService("sqlserver", "stopped", "automatic"),
        WindowsService("fax", "stopped", "manual"),
        WindowsService("removed", "stopped", "automatic", gone=True),
        WindowsService("w3svc", "running", "automatic"),
    ]
    monkeypatch.setattr(psutil, "win_service_iter", lambda: iter(listed), raising=False)
    collector = WindowsServices(settings(services=["w3*", "fax"]))

    found = collector.collect().facts["services"]

    assert collector.present()
    assert {name: item.health for name, item in found.items()} == {"sqlserver": "fair", "fax": None, "w3svc": "good"}
    assert next(iter(found)) == "sqlserver"
    assert found["w3svc"].fields == {"state": "running", "start": "automatic", "title": "W3Svc"}


# Updates.

APT = """\
NOTE: This is only a simulation!
Reading package lists...
The following packages will be upgraded:
  bash nginx
Inst base-files [12.4+deb12u11] (12.4+deb12u15 Debian:12.15/oldstable [amd64])
Inst libssl3 [3.0.15-1] (3.0.17-1~deb12u2 Debian:12.15/oldstable, Debian-Security:12/oldstable-security [amd64]) []
Inst linux-image-6.1.0-40-amd64 (6.1.153-1 Debian-Security:12/oldstable-security [amd64])
Conf libssl3 (3.0.17-1~deb12u2 Debian:12.15/oldstable [amd64])
"""


def test_apt_tells_updates_from_new_packages_and_which_are_for_security() -> None:
    assert [(each.package, each.installed, each.available, each.security) for each in parse_apt(APT)] == [
        ("base-files", "12.4+deb12u11", "12.4+deb12u15", False),
        ("libssl3", "3.0.15-1", "3.0.17-1~deb12u2", True),
    ]


def test_other_package_managers_name_packages_and_versions() -> None:
    apk = "Installed:                                Available:\nbusybox-1.36.1-r2          < 1.36.1-r29 \n"
    pacman = "linux 6.11.1.arch1-1 -> 6.11.2.arch1-1\nwarning: something\n"
    dnf = (
        "\nkernel.x86_64        5.14.0-503.11.1.el9_5        baseos\nNetworkManager.x86_64  1:1.48.10-2.el9  baseos\n"
        "Obsoleting Packages\nold.noarch   1   baseos\n"
    )

    assert [(x.package, x.installed, x.available) for x in parse_apk(apk)] == [("busybox", "1.36.1-r2", "1.36.1-r29")]
    assert [x.package for x in parse_pacman(pacman)] == ["linux"]
    assert [x.package for x in parse_dnf(dnf)] == ["kernel", "NetworkManager"]


def test_apt_keeps_its_log_of_the_last_installation(programs: Programs, tmp_path: Path) -> None:
    manager = package_managers.PACKAGE_MANAGERS[0]._replace(caches=(str(tmp_path),))
    programs.script("apt-get", f'echo "$@" > {tmp_path}/arguments')
    assert manager.pending() == []
    arguments = (tmp_path / "arguments").read_text().split()
    assert {arguments[place + 1] for place, each in enumerate(arguments) if each == "-o"} >= {
        "Debug::NoLocking=true",
        "Dir::Cache::pkgcache=",
        "Dir::Log::Planner=",
    }


def test_pending_updates_are_read_once_for_each_state_of_the_cache(
    programs: Programs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (lists := tmp_path / "lists").mkdir()
    (status := tmp_path / "status").write_text("")
    os.utime(lists, (1000, 1000))
    manager = package_managers.PACKAGE_MANAGERS[0]._replace(caches=(str(lists),), databases=(str(status),))
    monkeypatch.setattr(package_managers, "PACKAGE_MANAGERS", (manager,))
    assert not Updates(settings()).present()
    programs.put("apt-get", APT)
    collector = Updates(settings())
    assert collector.present()

    for _ in range(3):
        details = collector.collect()
    assert programs.runs("apt-get") == 1
    assert details.series == {"pending_updates_count": {"apt": 2}, "security_updates_count": {"apt": 1}}
    assert details.facts["updates"]["apt"].fields["cached_at"] == 1_000_000
    assert details.facts["updates"]["apt"].health == "fair"
    assert list(details.facts["packages"]) == ["libssl3", "base-files"]

    os.utime(lists, (2000, 2000))
    programs.put("apt-get", "")
    assert collector.collect().series["pending_updates_count"] == {"apt": 0}
    assert programs.runs("apt-get") == 2

    os.utime(status, (3000, 3000))
    programs.put("apt-get", APT, code=100)
    with pytest.raises(OSError, match="apt-get ended with 100"):
        collector.collect()


def test_a_reboot_is_required_when_debian_says_so_or_the_running_kernel_has_lost_its_modules(tmp_path: Path) -> None:
    run, modules = tmp_path / "run", tmp_path / "modules"
    run.mkdir()
    assert reboot_required(run, modules) is None
    modules.mkdir()
    assert reboot_required(run, modules) is None
    (modules / "6.99.0").mkdir()
    assert reboot_required(run, modules) is True
    (modules / os.uname().release).mkdir()
    assert reboot_required(run, modules) is False
    (run / "reboot-required").touch()
    assert reboot_required(run, modules) is True
