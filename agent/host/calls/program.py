"""Programs that a collector reads: without a shell, in a bounded time, with a bounded output.

Invariant: after `end_programs` none of them runs and none can start, so that none outlives the agent.
"""

import os
import select
import signal
import subprocess
import threading
from contextlib import suppress
from pathlib import Path
from time import monotonic
from typing import NamedTuple

from agent.host.calls.child_environment import clean_environment

OUTPUT_MAX_BYTES = 2 << 20
_MEMORY = "/dev/shm"  # noqa: S108 - the program chooses the names, as it does in /tmp
_DIRECTORIES = (*os.get_exec_path(), "/usr/sbin", "/sbin", "/usr/local/sbin", "/usr/local/bin")

_running: set[subprocess.Popen[bytes]] = set()
_ended = threading.Event()
_lock = threading.Lock()


class ProgramOutput(NamedTuple):
    """Standard output and exit code of a program."""

    text: str
    code: int


def find_program(name: str) -> str | None:
    """Return the path of a program, also of those that are not in the PATH of a service."""
    return next((path for each in _DIRECTORIES if os.access(path := str(Path(each) / name), os.X_OK)), None)


def run_program(argv: list[str], *, seconds: float) -> ProgramOutput:
    """Run a program in the C locale and return its output. Raises OSError; TimeoutError when it takes longer.

    Its temporary files are in the system's memory, where there is such a place: apt writes 240 KiB to read its lists.
    The program and all that it has started are killed at the end of the time, and beyond OUTPUT_MAX_BYTES.
    """
    process = _start(argv)
    try:
        with process.stdout as pipe:  # type: ignore[union-attr]  # not None with PIPE
            output = _read(pipe.fileno(), monotonic() + seconds)
        code = process.wait(max(0.1, seconds))
    except (OSError, subprocess.TimeoutExpired) as error:
        raise error if isinstance(error, OSError) else TimeoutError from None
    finally:
        _end(process)
    return ProgramOutput(output.decode(errors="replace"), code)


def end_programs() -> None:
    """Kill all that run, in whatever thread, and let no other start: the agent ends."""
    with _lock:
        _ended.set()
        running = tuple(_running)
    for process in running:
        _end(process)


def _start(argv: list[str]) -> subprocess.Popen[bytes]:
    """Start a program, without the lock: where a file system hangs, this hangs, and costs only this program."""
    if _ended.is_set():
        raise OSError("the agent ends")
    process = subprocess.Popen(
        argv,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={**({"TMPDIR": _MEMORY} if os.access(_MEMORY, os.W_OK) else {}), **clean_environment(), "LC_ALL": "C"},
        start_new_session=True,
    )
    with _lock:
        _running.add(process)
        is_late = _ended.is_set()
    if is_late:
        with process:
            _end(process)
        raise OSError("the agent ends")
    return process


def _end(process: subprocess.Popen[bytes]) -> None:
    """Kill a program with all that it has started, and wait until it has ended."""
    with _lock:
        if process not in _running:  # another thread has killed it, and its id may be that of another group
            return
        _running.remove(process)
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
    with suppress(subprocess.TimeoutExpired):
        process.wait(1)


def _read(descriptor: int, deadline: float) -> bytes:
    output = bytearray()
    while True:
        ready, _, _ = select.select([descriptor], [], [], max(0.0, deadline - monotonic()))
        if not ready:
            raise TimeoutError
        part = os.read(descriptor, 64 << 10)
        if not part:
            return bytes(output)
        output += part
        if len(output) > OUTPUT_MAX_BYTES:
            raise OSError("the output is too long")
