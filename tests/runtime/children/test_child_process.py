"""Child processes: output lines, shutdown, cleanup."""

import os
import signal
import sys
from pathlib import Path

import pytest
from waiting import wait_until

from runtime.children.child_process import ChildProcess

IGNORES_SIGTERM = (
    "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); signal.pause()"
)


def started(code: str, out: list[str], errors: list[str]) -> ChildProcess:
    return ChildProcess("child", [sys.executable, "-c", code], on_stdout=out.append, on_stderr=errors.append)


def test_its_lines_are_passed_on_and_the_last_errors_are_kept() -> None:
    out: list[str] = []
    errors: list[str] = []
    code = (
        "import sys; print('one'); [sys.stderr.write(f'{i}\\n') for i in range(9)]; sys.stderr.buffer.write(b'\\xff')"
    )
    child = started(code, out, errors)
    wait_until(lambda: child.exit_code is not None)
    child.close()
    assert (child.exit_code, out) == (0, ["one"])
    assert errors == [*map(str, range(9)), "\N{REPLACEMENT CHARACTER}"]
    assert list(child.last_lines) == errors[-5:]


def test_its_input_is_a_pipe_and_its_environment_has_more() -> None:
    out: list[str] = []
    code = "import os,sys; print(os.environ['MORE'], flush=True); sys.stdin.read(); print('end', flush=True)"
    argv = [sys.executable, "-c", code]
    child = ChildProcess("child", argv, on_stdout=out.append, on_stderr=out.append, environment={"MORE": "x"})
    wait_until(lambda: out)
    assert (out, child.exit_code) == (["x"], None)
    child.stop(10)
    assert not Path(f"/proc/{child.pid}").exists()


def test_it_is_killed_if_it_does_not_stop_in_time() -> None:
    out: list[str] = []
    child = started(IGNORES_SIGTERM, out, [])
    wait_until(lambda: out)
    child.stop(0.2)
    assert child.exit_code == -signal.SIGKILL
    assert not Path(f"/proc/{child.pid}").exists()


def test_a_signal_to_the_group_of_this_process_does_not_reach_it() -> None:
    child = started("import signal; signal.pause()", [], [])
    assert os.getpgid(child.pid) == child.pid
    child.send_signal(signal.SIGUSR1)
    wait_until(lambda: child.exit_code == -signal.SIGUSR1)
    child.stop(1)
    child.send_signal(signal.SIGUSR1)


def test_a_program_that_is_not_there_is_an_error() -> None:
    with pytest.raises(FileNotFoundError):
        ChildProcess("child", ["/nowhere/program"], on_stderr=print)
