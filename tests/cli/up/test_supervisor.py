"""The supervisor, with small programs instead of parts."""

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from waiting import wait_until

from broker.client.transport import Backoff
from cli.up.forked_parts import ProcessSpec
from cli.up.supervisor import SupervisedProcess, Supervisor
from runtime.errors import UserError

WAITS = "import signal,sys; print('ready: waiting', flush=True); signal.pause()"
STOPS_WHEN_TOLD = (
    "import os,signal,sys\n"
    "def stop(*_):\n"
    "    open(sys.argv[1], 'a').write(sys.argv[2] + '\\n'); os._exit(0)\n"
    "signal.signal(signal.SIGTERM, stop)\n"
    "print('ready: ' + sys.argv[2], flush=True)\n"
    "while True: signal.pause()\n"
)


def program(code: str, name: str = "part", *arguments: str) -> ProcessSpec:
    return ProcessSpec(name, [sys.executable, "-c", code, *arguments])


def supervise(
    tmp_path: Path, *parts: ProcessSpec, stop_order: tuple[str, ...] = ("part",)
) -> tuple[Supervisor, list[str]]:
    said: list[str] = []
    supervisor = Supervisor(parts, stop_order=stop_order, logs=tmp_path, say=said.append, stopping=lambda: False)
    return supervisor, said


@pytest.fixture
def child(tmp_path: Path) -> Iterator[SupervisedProcess]:
    child = SupervisedProcess(program(WAITS), tmp_path, print)
    yield child
    child.stop()
    child.close()


def test_each_part_is_announced_when_it_is_ready_and_parts_stop_in_their_order(tmp_path: Path) -> None:
    order = tmp_path / "order"
    names = ("broker", "ingestor", "agent")
    parts = [program(STOPS_WHEN_TOLD, name, str(order), name) for name in names]
    supervisor, said = supervise(tmp_path, *parts, stop_order=("agent", "ingestor", "broker"))
    supervisor.start()
    supervisor.stop()
    assert [line.split() for line in said] == [[name, name] for name in names]
    assert order.read_text().split() == ["agent", "ingestor", "broker"]


def test_a_part_that_cannot_start_stops_the_others_with_its_own_sentence(tmp_path: Path) -> None:
    order = tmp_path / "order"
    good = program(STOPS_WHEN_TOLD, "good", str(order), "good")
    bad = program("import sys; sys.exit('port 1 is taken: choose another')", "bad")
    supervisor, _ = supervise(tmp_path, good, bad, stop_order=("bad", "good"))
    with pytest.raises(UserError, match="port 1 is taken: choose another"):
        supervisor.start()
    assert order.read_text() == "good\n"


def test_the_sentence_of_a_part_is_passed_on_without_the_name_of_the_program(tmp_path: Path) -> None:
    bad = program("import sys; sys.exit('dashfleet: port 1 is taken')")
    supervisor, _ = supervise(tmp_path, bad)
    with pytest.raises(UserError, match=r"^port 1 is taken$"):
        supervisor.start()


def test_a_part_that_cannot_even_be_run_stops_the_others_with_a_sentence(tmp_path: Path) -> None:
    order = tmp_path / "order"
    good = program(STOPS_WHEN_TOLD, "good", str(order), "good")
    supervisor, _ = supervise(tmp_path, good, ProcessSpec("bad", ["/nowhere/python"]), stop_order=("bad", "good"))
    with pytest.raises(UserError, match=r"^cannot start the bad: No such file"):
        supervisor.start()
    assert order.read_text() == "good\n"


def test_a_log_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "part.log").mkdir()
    with pytest.raises(UserError, match=f"^cannot write the log {tmp_path}/part.log: Is a directory"):
        supervise(tmp_path, program(WAITS))


def test_a_part_that_cannot_be_run_again_is_tried_later(tmp_path: Path) -> None:
    interpreter = tmp_path / "python"
    interpreter.symlink_to(sys.executable)
    said: list[str] = []

    def failed_twice() -> bool:
        return sum("cannot be started (No such file or directory): retrying in" in line for line in said) == 2

    def back() -> bool:
        if failed_twice() and not interpreter.exists():
            interpreter.symlink_to(sys.executable)
        return failed_twice() and supervised.ready is not None

    supervisor = Supervisor(
        [ProcessSpec("part", [str(interpreter), "-c", WAITS])],
        stop_order=("part",), logs=tmp_path, say=said.append, stopping=lambda: len(said) > 1 and back(),
    )  # fmt: skip
    supervised = supervisor.processes[0]
    supervised._backoff = Backoff(first_seconds=0.01, most_seconds=0.01)
    supervisor.start()
    interpreter.unlink()
    os.kill(supervised.pid or 0, signal.SIGKILL)
    supervisor.run()
    supervisor.stop()


def test_a_part_that_dies_is_started_again(tmp_path: Path) -> None:
    said: list[str] = []
    supervisor = Supervisor(
        [program(WAITS)], stop_order=("part",), logs=tmp_path, say=said.append, stopping=lambda: bool(restarted())
    )
    child = supervisor.processes[0]
    first: list[int] = []

    def restarted() -> bool:
        return bool(first) and child.pid not in (None, first[0]) and child.ready is not None

    supervisor.start()
    first.append(child.pid or 0)
    os.kill(first[0], signal.SIGKILL)
    supervisor.run()
    supervisor.stop()
    assert any("was killed by signal 9: restarting in" in line for line in said)


def test_what_a_part_writes_to_standard_error_is_kept_in_its_log(tmp_path: Path) -> None:
    code = "import sys; sys.stderr.write('something happened\\n'); print('ready: x', flush=True); sys.stdin.read()"
    supervisor, _ = supervise(tmp_path, program(code))
    supervisor.start()
    supervisor.stop()
    assert (tmp_path / "part.log").read_text() == "something happened\n"


def test_a_part_ends_when_its_supervisor_does(child: SupervisedProcess, tmp_path: Path) -> None:
    del child
    watches = (
        "from runtime.process import StopSignal, notify_ready\nimport time\nstop = StopSignal()\nnotify_ready('x')\n"
        "while not stop.received: time.sleep(0.01)"
    )
    code = (
        "import sys, os; from pathlib import Path; from cli.up.forked_parts import ProcessSpec\n"
        "from cli.up.supervisor import SupervisedProcess\n"
        f"spec = ProcessSpec('part', [sys.executable, '-c', {watches!r}])\n"
        f"child = SupervisedProcess(spec, Path({str(tmp_path)!r}), print)\n"
        "child.start()\n"
        "while child.ready is None: pass\n"
        "print(child.pid, flush=True); os.kill(os.getpid(), 9)\n"
    )
    read, write = os.pipe()
    pid = os.posix_spawn(
        sys.executable, [sys.executable, "-c", code], os.environ, file_actions=[(os.POSIX_SPAWN_DUP2, write, 1)]
    )
    os.close(write)
    os.waitpid(pid, 0)
    with os.fdopen(read) as pipe:
        orphan = int(pipe.readline())
    wait_until(lambda: not Path(f"/proc/{orphan}").exists(), what="the orphan's end")


def test_a_part_that_will_not_stop_is_ended_by_force(child: SupervisedProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cli.up.supervisor.STOP_SECONDS", 0.2)
    child.spec = program("import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('ready: x', flush=True)\n"
                         "while True: signal.pause()")  # fmt: skip
    child.start()
    wait_until(lambda: child.ready)
    pid = child.pid
    child.stop()
    assert not Path(f"/proc/{pid}").exists()
