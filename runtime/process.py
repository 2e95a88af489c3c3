"""The life of a part's process: readiness, shutdown, and replacement by another program or by itself.

Invariants:
- A part stops on SIGTERM and SIGINT, on SIGHUP (its terminal is gone) unless that was ignored at start (`nohup`), and
  when its supervisor is gone: the standard input of a supervised part is a pipe from `dashfleet up`, and its end sends
  the part SIGTERM.
- A supervised part reports readiness in one line on standard output; everything else goes to standard error.
"""

import ctypes
import gc
import json
import os
import signal
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress
from importlib import import_module
from types import FrameType
from typing import NoReturn, TypeVar

from runtime.settings.part_settings import PartSettings

try:
    import resource
except ImportError:  # Windows has no such limit
    resource = None  # type: ignore[assignment]

READY = "ready: "
"""Start of the line that reports readiness."""

SUPERVISED = "DASHFLEET_SUPERVISED"
_INHERITED = "DASHFLEET_RESOLVED_SETTINGS"
_forked = False
_ARENA_MAX = -8
"""M_ARENA_MAX of glibc's mallopt."""

S = TypeVar("S", bound=PartSettings)


class StopSignal:
    """Catches the signals that stop a process: `received` is True after one."""

    def __init__(self) -> None:
        self.received = False
        signal.signal(signal.SIGTERM, self._handle)
        signal.signal(signal.SIGINT, self._handle)
        if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # not on Windows
            signal.signal(signal.SIGHUP, self._handle)
        watch_supervisor()

    def _handle(self, _number: int, _frame: FrameType | None) -> None:
        self.received = True


def watch_supervisor() -> None:
    """In a supervised part, send SIGTERM to this process when the supervisor is gone."""
    if os.environ.get(SUPERVISED):
        threading.Thread(target=_stop_with_supervisor, name="supervisor-watch", daemon=True).start()


def _stop_with_supervisor() -> None:
    while os.read(0, 1024):
        pass
    os.kill(os.getpid(), signal.SIGTERM)


def notify_ready(what: str) -> None:
    """Report readiness to the supervisor, or to the user on a terminal."""
    sys.stdout.write(f"{READY}{what}\n")
    sys.stdout.flush()


def become_command(argv: Sequence[str]) -> None:
    """Let this forked process be one that was started with `argv`, a command line of this program."""
    global _forked
    _forked = True
    sys.orig_argv[:] = argv
    sys.argv[:] = argv[argv.index("dashfleet") :]
    if not sys.flags.safe_path:
        del sys.path[0]  # as `-P`: a file in the current directory is not run


def exec_module(module: str, settings: PartSettings) -> NoReturn:
    """Replace this process by `python -m module`, which reads the settings with `inherited_settings`.

    Docstrings are not loaded (`-OO`), which saves about a megabyte; so no code of the module may rely on `assert`.
    A file of the module's name in the current directory is not run (`-P`). The password is not passed on: the new
    process reads it from its own source. A forked process runs the module itself: it shares the memory that replacing
    it would save.
    """
    if _forked:
        sys.exit(import_module(f"{module}.__main__").run(settings))
    os.environ[_INHERITED] = settings.model_dump_json(exclude={"password"})
    sys.stdout.flush()
    os.execv(sys.executable, [sys.executable, "-OO", "-P", "-m", module])  # noqa: S606 - a module of ours


def release_memory() -> None:
    """Give the memory that only the start needed back to the system, and exempt the rest from garbage collection."""
    gc.collect()
    gc.freeze()
    with suppress(OSError, AttributeError):  # not glibc
        library = ctypes.CDLL(None)
        library.mallopt(
            _ARENA_MAX, 1
        )  # threads would each keep free memory of their own, and Python runs one at a time
        library.malloc_trim(0)


def re_exec() -> NoReturn:
    """Replace this process by a new one with the same command line and environment."""
    sys.stdout.flush()
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])  # noqa: S606 - our own command line


def own_environment() -> dict[str, str]:
    """Return the environment for another process of a part, which reads its settings itself."""
    return {name: value for name, value in os.environ.items() if name not in (_INHERITED, SUPERVISED)}


def inherited_settings(kind: type[S]) -> S:
    """Return the settings passed on by `exec_module`, with the password from the environment if it is set there."""
    values = json.loads(os.environ.get(_INHERITED, "{}"))
    password = os.environ.get(f"DASHFLEET_{kind.part.upper()}_PASSWORD")
    return kind.model_validate(values if password is None else {**values, "password": password})


def raise_file_limit(wanted: int) -> int:
    """Raise the limit to `wanted` as far as the system permits, and return it; `wanted` where there is none."""
    if resource is None:
        return wanted
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return wanted
    if soft < wanted:
        most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        with suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
            soft = most
    return soft
