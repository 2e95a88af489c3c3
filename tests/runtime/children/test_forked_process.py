"""Forked processes: what reaches them, what they share, and how they end."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from waiting import wait_until

from runtime.children.child_process import ChildProcess
from runtime.children.forked_process import ForkedProcess


def describe() -> None:
    files = sorted({str(path.readlink()) for path in Path("/proc/self/fd").iterdir() if path.is_symlink()})
    files = [name for name in files if not name.startswith(("pipe:", "/proc/"))]
    print(json.dumps({"files": files, "group": os.getpgid(0) == os.getpid(), "more": os.environ["MORE"]}), flush=True)
    sys.stderr.write("an error\n")
    sys.exit(3)


@pytest.fixture
def forked() -> Iterator[Callable[..., ChildProcess]]:
    """Return a function that runs another one in a fork; its lines are in `out` and `errors`."""
    children: list[ChildProcess] = []

    def run(main: Callable[[], None], out: list[str], errors: list[str], **environment: str) -> ChildProcess:
        process = ForkedProcess(main, ("dashfleet", "a-part"), environment)
        children.append(ChildProcess("child", [], on_stdout=out.append, on_stderr=errors.append, forked=process))
        return children[-1]

    yield run
    for child in children:
        child.stop(0)


def test_a_child_has_pipes_for_streams_a_session_of_its_own_and_no_other_file(
    forked: Callable[..., ChildProcess], tmp_path: Path
) -> None:
    out: list[str] = []
    errors: list[str] = []
    with (tmp_path / "open").open("w") as file:
        child = forked(describe, out, errors, MORE="x")
        wait_until(lambda: child.exit_code is not None)
        child.drain()
        assert not file.closed
    assert "MORE" not in os.environ
    assert json.loads(out[0]) == {"files": ["/dev/null"], "group": True, "more": "x"}
    assert (child.exit_code, errors) == (3, ["an error"])


def test_an_object_of_the_parent_that_is_closed_in_the_child_closes_nothing_of_the_childs(
    forked: Callable[..., ChildProcess], tmp_path: Path
) -> None:
    file = (tmp_path / "of-the-parent").open("w")

    def close_and_read() -> None:
        own = (tmp_path / "of-the-parent").open()
        file.close()
        own.read()
        print("could be read")

    out: list[str] = []
    child = forked(close_and_read, out, [])
    wait_until(lambda: child.exit_code is not None)
    child.drain()
    file.close()
    assert out == ["could be read"]


def test_a_child_is_shown_under_its_own_name(forked: Callable[..., ChildProcess]) -> None:
    child = forked(signal.pause, [], [])
    command_line = Path(f"/proc/{child.pid}/cmdline")
    wait_until(lambda: command_line.read_bytes().startswith(b"dashfleet\0a-part\0"))
    wait_until(lambda: Path(f"/proc/{child.pid}/comm").read_text() == "dashfleet-a-par\n")
    assert child.exit_code is None


def test_what_a_child_raises_ends_it_with_a_traceback_and_never_reaches_its_parent(
    forked: Callable[..., ChildProcess],
) -> None:
    def fails() -> None:
        raise ValueError("in the child")

    errors: list[str] = []
    child = forked(fails, [], errors)
    wait_until(lambda: child.exit_code == 1)
    child.drain()
    assert errors[-1] == "ValueError: in the child"


def test_handlers_of_the_parent_do_not_run_in_the_child(forked: Callable[..., ChildProcess]) -> None:
    def wait() -> None:
        print("waiting")
        signal.pause()

    out: list[str] = []
    before = signal.signal(signal.SIGTERM, lambda *_: None)
    try:
        child = forked(wait, out, [])
    finally:
        signal.signal(signal.SIGTERM, before)
    wait_until(lambda: out)
    child.send_signal(signal.SIGTERM)
    wait_until(lambda: child.exit_code == -signal.SIGTERM)


CALLS = """
import os, sys
from runtime.children.forked_process import ForkedCall
from runtime.errors import UserError

def succeeds():
    import wave
    return True

def refuses():
    raise UserError("this cannot be done: do that")

def told(function):
    try:
        return ForkedCall(function, ("dashfleet", "call")).result()
    except (UserError, RuntimeError) as error:
        return f"{type(error).__name__}: {error}"

answers = told(succeeds), told(refuses), told(lambda: os._exit(1))
print(*answers, "wave" in sys.modules, sep="\\n")
"""


def test_a_call_returns_its_result_or_raises_its_error_and_leaves_nothing_in_memory() -> None:
    done = subprocess.run([sys.executable, "-c", CALLS], capture_output=True, text=True, check=True, timeout=30)
    assert done.stdout.splitlines() == [
        "True",
        "UserError: this cannot be done: do that",
        "RuntimeError: a child process failed: see its traceback",
        "False",
    ]


def test_a_process_is_forked_only_while_it_has_one_thread() -> None:
    program = (
        "import threading; from runtime.children.forked_process import can_fork\n"
        "alone = can_fork(); end = threading.Event(); threading.Thread(target=end.wait).start()\n"
        "print(alone, can_fork()); end.set()"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=30)
    assert done.stdout.split() == ["True", "False"]
