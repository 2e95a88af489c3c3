"""What every part's process shares: being told to stop, and telling that it is ready.

Invariants:
- A part stops on SIGTERM and SIGINT, on SIGHUP (its terminal is gone) unless it came to ignore that (`nohup`), and when
  the process that started it is gone: a supervised part's standard input is a pipe from `dashfleet up`, and its end
  means that nobody is left to stop it later.
- A supervised part says on standard output, in one line, that it is ready; everything else goes to standard error.
"""

import json
import os
import signal
import sys
import threading
from types import FrameType
from typing import NoReturn, TypeVar

from runtime.settings.part_settings import PartSettings

SUPERVISED = "DASHFLEET_SUPERVISED"
_HANDED_OVER = "DASHFLEET_RESOLVED_SETTINGS"

S = TypeVar("S", bound=PartSettings)


class Stop:
    """Becomes `asked` when the process is told to stop."""

    def __init__(self) -> None:
        self.asked = False
        signal.signal(signal.SIGTERM, self._ask)
        signal.signal(signal.SIGINT, self._ask)
        if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # Windows has none
            signal.signal(signal.SIGHUP, self._ask)
        watch_the_supervisor()

    def _ask(self, _number: int, _frame: FrameType | None) -> None:
        self.asked = True


def watch_the_supervisor() -> None:
    """In a supervised part, send SIGTERM to this process when the supervisor is gone."""
    if os.environ.get(SUPERVISED):
        threading.Thread(target=_stop_with_the_supervisor, name="supervisor-watch", daemon=True).start()


def _stop_with_the_supervisor() -> None:
    while os.read(0, 1024):
        pass
    os.kill(os.getpid(), signal.SIGTERM)


def say_ready(what: str) -> None:
    """Tell the supervisor, or the person at the terminal."""
    sys.stdout.write(f"ready: {what}\n")
    sys.stdout.flush()


def become(module: str, settings: PartSettings) -> NoReturn:
    """Replace this process by `python -m module`, handing the resolved settings over in its environment.

    A file in the current directory that is called like the module is not run (`-P`).
    A password is not handed over: the new process reads it where this one did.
    """
    os.environ[_HANDED_OVER] = settings.model_dump_json(exclude={"password"})
    sys.stdout.flush()
    os.execv(sys.executable, [sys.executable, "-OO", "-P", "-m", module])  # noqa: S606 - a module of ours


def begin_again() -> NoReturn:
    """Replace this process by a new one that is started as this one was, with the same settings."""
    sys.stdout.flush()
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])  # noqa: S606 - our own command line


def handed_over(kind: type[S]) -> S:
    """The settings that `become` handed over, with the password from the environment if there is one."""
    values = json.loads(os.environ.get(_HANDED_OVER, "{}"))
    password = os.environ.get(f"DASHFLEET_{kind.part.upper()}_PASSWORD")
    return kind.model_validate(values if password is None else {**values, "password": password})
