"""Top processes from a /proc of files, logged-in users, and the action `top`."""

import os
import time
from collections import namedtuple
from pathlib import Path

import psutil
import pytest
from agent_under_test import RecordingContext
from clocks import Clock

from agent.actions.top import top
from agent.collectors.programs import top_processes as collector_module
from agent.collectors.programs.top_processes import RENEW_SECONDS, TopProcesses
from agent.collectors.system import users
from agent.collectors.system.users import LoggedIn
from agent.host import process_table
from agent.host import top_processes as watch_module
from runtime.settings.agent import AgentSettings

TICKS, PAGE = os.sysconf("SC_CLK_TCK"), os.sysconf("SC_PAGE_SIZE")


class Machine:
    """A /proc whose processes the test sets, on four processors, and its time."""

    def __init__(self, proc: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.proc, self.at = proc, 1000.0
        monkeypatch.setattr(process_table, "PROC", proc)
        monkeypatch.setattr(watch_module, "monotonic", lambda: self.at)
        monkeypatch.setattr(collector_module, "monotonic", lambda: self.at)
        monkeypatch.setattr(os, "cpu_count", lambda: 4)
        self.put(os.getpid())
        (proc / "self").symlink_to(proc / str(os.getpid()))

    def put(
        self, pid: int, name: str = "idle", *, cpu: float = 0.0, mib: float = 1.0, disk: int = 0, start: int = 5
    ) -> None:
        directory = self.proc / str(pid)
        directory.mkdir(exist_ok=True)
        ticks, pages = round(cpu * TICKS), round(mib * 2**20) // PAGE
        fields = ["S", *["0"] * 10, str(ticks), "0", *["0"] * 6, str(start), "0", str(pages)]
        (directory / "stat").write_text(f"{pid} ({name}) {' '.join(fields)} 0 0\n")
        (directory / "io").write_text(f"rchar: 9\nwchar: 9\nread_bytes: {disk}\nwrite_bytes: 0\n")
        (directory / "cmdline").write_bytes(f"{name}\0--password\0secret\0".encode())


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    (tmp_path / "proc").mkdir()
    return Machine(tmp_path / "proc", monkeypatch)


def collector_of(**settings: object) -> TopProcesses:
    return TopProcesses(AgentSettings.model_validate({"data": Path("unused"), "machine": "attic", **settings}))


def names(collector: TopProcesses) -> list[str]:
    return [str(item.fields["name"]) for item in collector.collect().facts["processes"].values()]


def test_a_peak_is_named_by_who_caused_it_and_kept_until_the_next(machine: Machine) -> None:
    collector = collector_of()
    machine.put(10, "mysqld", mib=900)
    assert names(collector)[0] == "mysqld"

    machine.at += 60
    machine.put(20, "backup (old) x", cpu=57.0, mib=30, disk=6_000_000)
    assert names(collector)[0] == "backup (old) x"
    kept = collector.collect().facts["processes"]
    assert kept["backup (old) x 20"].fields == {
        "name": "backup (old) x", "pid": 20, "cpu_percent": 95.0, "memory_bytes": 30 * 2**20,
        "disk_bytes_per_second": 100_000,
    }  # fmt: skip

    for _ in range(60):  # a quiet night
        machine.at += 60
        assert collector.collect().facts["processes"] == kept


def test_during_a_long_peak_the_list_changes_only_with_its_leaders_and_every_quarter_of_an_hour(
    machine: Machine,
) -> None:
    collector = collector_of()
    lists = []
    collector.collect()
    for minute in range(1, 46):
        machine.at += 60
        machine.put(20, "encoder", cpu=59.0 * minute, mib=30 + minute)
        if minute >= 20:
            machine.put(21, "second", cpu=50.0 * (minute - 19))
        if (found := collector.collect().facts["processes"]) not in lists:
            lists.append(found)

    assert len(lists) == 4  # the beginning, a quarter of an hour later, the second, and a quarter of an hour later
    assert RENEW_SECONDS == 900


def test_many_small_processes_make_a_peak_together(machine: Machine) -> None:
    collector = collector_of()
    collector.collect()
    machine.at += 60
    for pid in range(100, 120):
        machine.put(pid, f"worker-{pid}", cpu=10.0)

    assert len([name for name in names(collector) if name.startswith("worker")]) >= 5


def test_arguments_are_left_out_unless_the_owner_allows_them(machine: Machine) -> None:
    machine.put(10, "mysqld", mib=900)

    assert "secret" not in str(collector_of().collect())
    assert "mysqld --password secret" in str(collector_of(process_arguments=True).collect())


def test_a_number_that_is_used_again_is_another_process(machine: Machine) -> None:
    collector = collector_of()
    machine.put(20, "old", cpu=1000.0)
    collector.collect()
    machine.at += 60
    machine.put(20, "new", cpu=57.0, start=6)

    assert collector.collect().facts["processes"]["new 20"].fields["cpu_percent"] == 95.0


def test_processes_that_end_or_hide_while_they_are_read_are_left_out(machine: Machine) -> None:
    machine.put(10, "shy", mib=900)
    (machine.proc / "10" / "io").unlink()
    (machine.proc / "11").mkdir()
    (machine.proc / "12").mkdir()
    (machine.proc / "12" / "stat").write_text("12 (broken")

    fields = collector_of().collect().facts["processes"]["shy 10"].fields

    assert "disk_bytes_per_second" not in fields


def test_the_action_lists_the_top_processes(machine: Machine, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    def work(seconds: float) -> None:
        machine.at += seconds
        machine.put(20, "encoder", cpu=3.0, mib=64, disk=1 << 20)

    monkeypatch.setattr(time, "sleep", work)
    machine.put(20, "encoder", cpu=1.0, mib=64)

    outcome = top.run(None, RecordingContext(clock))  # type: ignore[arg-type]

    assert outcome is not None
    assert outcome.state == "succeeded"
    lines = (outcome.output or "").splitlines()
    assert lines[1].split() == ["20", "100.0", "64.0", "512", "encoder"]
    assert "secret" not in str(outcome)
    allowed = top.run(None, RecordingContext(clock, process_arguments=True))  # type: ignore[arg-type]
    assert "secret" in str(allowed)


def test_sessions_of_systemd_are_the_logged_in_users(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(users, "SESSIONS", tmp_path)
    (tmp_path / "3").write_text(
        "# This is private data. Do not parse.\nUID=1000\nUSER=ada\nACTIVE=1\nSTATE=active\nREMOTE=1\nTYPE=tty\n"
        "CLASS=user\nTTY=pts/0\nREMOTE_HOST=10.0.0.7\nSERVICE=sshd\nREALTIME=1760000000123456\n"
    )
    (tmp_path / "c1").write_text("UID=42\nUSER=gdm\nSTATE=active\nCLASS=greeter\n")
    (tmp_path / "4").write_text("UID=0\nUSER=root\nSTATE=closing\nCLASS=user\n")
    (tmp_path / "5").write_text("UID=0\nUSER=cron\nSTATE=active\nCLASS=background\n")
    (tmp_path / "3.ref").write_text("")

    found = LoggedIn(AgentSettings(data=Path("unused"), machine="attic")).collect().facts["users"]

    assert {key: item.fields for key, item in found.items()} == {
        "ada pts/0": {"user": "ada", "terminal": "pts/0", "host": "10.0.0.7", "started_at": 1760000000123}
    }


def test_without_systemd_users_are_those_that_who_lists(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    User = namedtuple("User", "name terminal host started pid")
    monkeypatch.setattr(users, "SESSIONS", tmp_path / "missing")
    monkeypatch.setattr(psutil, "users", lambda: [User("bob", "console", None, 1760000000.5, 1)])

    found = LoggedIn(AgentSettings(data=Path("unused"), machine="attic")).collect().facts["users"]

    assert found["bob console"].fields == {"user": "bob", "terminal": "console", "started_at": 1760000000500}
