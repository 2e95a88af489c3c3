"""Running checks: their end, their bounds, what they leave behind, and the plug-ins of Debian."""

import os
import socket
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from servers import require_program
from waiting import wait_until

from agent.check_programs.process import OUTPUT_MAX, run
from agent.check_programs.schedule import CheckSchedule
from agent.collectors.programs import checks as checks_module
from agent.collectors.programs.checks import Checks
from agent.host.calls.job_schedule import Job, JobSchedule
from runtime.settings.agent import AgentSettings
from runtime.settings.check_program import CheckProgram

PLUGINS = Path("/usr/lib/nagios/plugins")


def python(code: str) -> list[str]:
    return [sys.executable, "-I", "-S", "-c", code]


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def test_a_program_ends_with_its_code_and_output_and_gets_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DASHFLEET_AGENT_PASSWORD", "secret")
    shown = "os.getcwd(), os.environ.get('LC_ALL'), [name for name in os.environ if 'FLEET' in name]"
    code = f"import os; print({shown}); raise SystemExit(2)"
    ended = run(python(code), 10)
    assert (ended.code, ended.output, ended.problem) == (2, "/ C []\n", "")
    assert run(["/nonexistent"], 10).code is None
    assert run(python("import os; os.kill(os.getpid(), 9)"), 10).code == -9


def test_output_above_the_bound_is_dropped_and_does_not_block_the_program() -> None:
    ended = run(python(f"print('x' * {20 * OUTPUT_MAX}); raise SystemExit(1)"), 20)
    assert (ended.code, len(ended.output)) == (1, OUTPUT_MAX)


def test_a_check_that_forks_and_never_ends_is_killed_with_all_its_processes_at_its_time_limit(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    code = f"""
import os, signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
for _ in range(2):
    if os.fork() == 0:
        os.setsid()
open({str(pids)!r}, "a").write(f"{{os.getpid()}}\\n")
time.sleep(600)
"""
    began = time.monotonic()
    ended = run(python(code), 3.0)  # on a busy machine the four need time to begin
    assert (ended.code, ended.problem) == (None, "did not end within 3 s")
    assert time.monotonic() - began < 30  # not the 600 s that it sleeps
    left = [int(pid) for pid in pids.read_text().split()]
    assert len(left) == 4
    assert not any(map(is_alive, left))


def test_a_process_that_a_check_leaves_behind_neither_delays_it_nor_stays() -> None:
    code = "import os,time; pid=os.fork(); print(pid, flush=True) if pid else time.sleep(600)"
    began = time.monotonic()
    ended = run(python(code), 20)
    assert ended.code == 0
    assert time.monotonic() - began < 18  # its own limit is 20 s, the child would sleep for 600 s
    wait_until(lambda: not is_alive(int(ended.output)), what="the process ended")


ESCAPES = """
import os, signal, time
reading, writing = os.pipe()
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        os.environ.clear()
        print(os.getpid(), flush=True)
        os.closerange(0, 256)
        time.sleep(600)
    os._exit(0)
os.close(writing)
os.read(reading, 1)  # until the other one has closed its files
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux lets a process reap its descendants")
def test_a_process_that_leaves_its_session_by_a_double_fork_does_not_outlive_its_check() -> None:
    ended = run(python(ESCAPES), 60)
    assert (ended.code, ended.problem) == (0, "")
    assert int(ended.output) > 1
    assert not is_alive(int(ended.output))  # it ended before the result was known


def test_a_check_that_still_runs_when_it_is_due_is_skipped_and_never_queued() -> None:
    waiting: list[Callable[[], None]] = []
    now = [0.0]
    check = CheckProgram(argv=["/bin/true"], interval_seconds=10)
    schedule = CheckSchedule({"one": check}, lambda: now[0], start=waiting.append)
    for at in (0, 5, 10, 20, 30):
        now[0] = float(at)
        schedule.step()
    assert (len(waiting), schedule.skipped) == (1, 3)
    waiting.pop()()
    assert schedule.outcomes["one"].results[""].state == "good"
    now[0] = 40.0
    schedule.step()
    assert len(waiting) == 1


def test_the_outcome_of_a_run_does_not_stand_for_a_later_one_that_fails() -> None:
    outcomes: list[str] = ["good"]
    schedule = JobSchedule({"one": Job(0.0, lambda: outcomes.pop())}, lambda: 0.0, name="x", start=lambda work: work())
    schedule.step()
    assert schedule.outcomes == {"one": "good"}
    with pytest.raises(IndexError):
        schedule.step()
    assert schedule.outcomes == {}
    outcomes.append("fair")
    schedule.step()
    assert schedule.outcomes == {"one": "fair"}


def listening(answer: bytes) -> int:
    """Answer each connection, until the test process ends; return the port."""
    server = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            connection, _ = server.accept()
            with connection:
                connection.sendall(answer)

    threading.Thread(target=serve, daemon=True).start()
    return int(server.getsockname()[1])


def test_ten_plug_ins_of_debian_run_unchanged_with_their_state_and_performance_data(tmp_path: Path) -> None:
    require_program(str(PLUGINS / "check_load"), "monitoring-plugins-basic")
    port = listening(b"HTTP/1.0 200 OK\r\nContent-Length: 3\r\n\r\nyes")
    old = tmp_path / "old"
    old.write_text("x" * 10)
    os.utime(old, (0, 0))
    expected = {
        "dummy": ("2 gone", "critical", set()),
        "load": ("-w 9999,9999,9999 -c 9999,9999,9999", "good", {"load1", "load5", "load15"}),
        "disk": ("-w 0% -c 0% -p /", "good", {"/"}),
        "procs": ("-w 0:0 -c 0:1000000", "fair", {"procs"}),
        "users": ("-w 9999 -c 9999", "good", {"users"}),
        "tcp": (f"-H 127.0.0.1 -p {port}", "good", {"time"}),
        "http": (f"-H 127.0.0.1 -p {port} -s yes", "good", {"time", "size"}),
        "ssh": ("-H 127.0.0.1 -p 1", "critical", set()),
        "file_age": (f"-f {old} -w 10 -c 20", "critical", {"age", "size"}),
        "log": (f"-F {old} -O {tmp_path / 'log'} -q y", "good", set()),
        "time": ("", "unknown", set()),
    }
    programs = {
        name: CheckProgram(argv=[str(PLUGINS / f"check_{name}"), *words.split()], timeout_seconds=20)
        for name, (words, *_rest) in expected.items()
    }
    schedule = CheckSchedule(programs, time.monotonic)
    schedule.step()
    wait_until(lambda: len(schedule.outcomes) == len(expected), what="all checks ended", seconds=60)
    found = {name: outcome.results[""] for name, outcome in schedule.outcomes.items()}
    for name, (_words, state, labels) in expected.items():
        assert (found[name].state, set(found[name].readings)) == (state, labels), (name, found[name])
    assert found["dummy"].text == "CRITICAL: gone"
    assert found["disk"].readings["/"].metric == "check_bytes"
    assert found["file_age"].readings["size"] == ("check_bytes", 10.0)
    assert (found["file_age"].readings["age"].value or 0) > 1e9


def test_the_collector_makes_facts_and_series_of_checks_and_text_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "backup.prom").write_text("backup_age_seconds 12\n")
    line = "print('0 queue length=3 fine'); print('2 disk - full')"
    settings = AgentSettings.model_validate(
        {
            "data": tmp_path,
            "machine": "attic",
            "check_files": tmp_path,
            "checks": {"own": {"argv": python(line), "format": "lines"}, "gone": {"argv": ["/nonexistent"]}},
        }
    )
    checks = Checks(settings)
    assert checks.present()
    slow = {"slow": CheckProgram(argv=python("import time; time.sleep(9)"), timeout_seconds=1.0)}
    monkeypatch.setattr(checks_module, "FIRST_SECONDS", 0.1)
    (item,) = (
        Checks(settings.model_copy(update={"checks": slow, "check_files": None})).collect().facts["checks"].values()
    )
    assert (item.health, item.fields) == ("unknown", {"output": "has not ended yet"})
    monkeypatch.undo()
    assert not Checks(settings.model_copy(update={"checks": {}, "check_files": None})).present()
    details = checks.collect()  # the first reading waits: a restart of the agent is no change
    shown = {key: (item.health, item.fields.get("output")) for key, item in details.facts["checks"].items()}
    assert list(shown) == ["own disk", "gone", "own queue", "textfile backup.prom"]
    assert shown["own disk"] == ("critical", "full")
    assert shown["gone"][0] == "unknown"
    assert details.series["check_value"] == {"own queue length": 3.0}
    assert details.series["check_seconds"] == {"textfile backup.prom backup_age_seconds": 12.0}
    assert set(details.series["check_duration_seconds"]) == {"own", "gone"}
    assert set(details.series) <= {metric.name for metric in Checks.metrics}
