"""The trial of a new version: this process, of the old version, starts it, watches it, and commits or gives it up.

    fetch, build → stop sampling, write `trying` → start the new version → connected, and a sample acknowledged?
        yes: change the link `current`, and become the new version
        no, within the time of the record: end it, and start the old version again

Invariants:
- The link `current` is changed only after the new version has connected and one of its samples is stored. Until then a
  power cut, or the end of this process, makes the service start the old version.
- The environment that the link names is never removed.
- Old and new version never use the outbox and the journal at once: this process has closed them, and the new one has
  ended before this one goes on.
- The new version is started as the service starts it, so that what was tried is what runs after the next boot.
"""

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from agent.connection_record import read_connection
from agent.installation import environment
from agent.service import CURRENT
from agent.updates.update_record import TRIAL, TRIAL_SECONDS, UpdateRecord
from runtime.process import SUPERVISED, own_environment

TRIAL_MOST_SECONDS = 300.0
_STARTS = 60.0
"""Multiple of the time in which Python starts and loads libraries: the agent itself takes up to 15 times as long."""
_ACKNOWLEDGEMENTS = 4.0
_POLL_SECONDS = 0.1
_END_SECONDS = 10.0
_LINES_KEPT = 5
_REASON_MAX = 400


def trial_seconds(start_seconds: float, acknowledged_after_seconds: float) -> float:
    """Return the time limit of a trial on a machine as slow, or as busy, as this one.

    `start_seconds`: how long the Python of the new version has just taken to start; `acknowledged_after_seconds`: how
    long this version has waited, once connected, until its first sample was acknowledged.
    """
    needed = _STARTS * start_seconds + _ACKNOWLEDGEMENTS * acknowledged_after_seconds
    return round(min(TRIAL_MOST_SECONDS, max(TRIAL_SECONDS, needed)))


class VersionTrial:
    """The trial of one update. `stopping`: whether this process is told to stop."""

    def __init__(self, data: Path, record: UpdateRecord, *, stopping: Callable[[], bool]) -> None:
        self._data = data
        self._prefix = Path(record.environment).parents[1]
        self._record = record
        self._stopping = stopping
        self._said: deque[str] = deque(maxlen=_LINES_KEPT)

    def run(self) -> bool | None:
        """Try the new version; return whether it is committed, and None if this process was told to stop meanwhile.

        Raises nothing: what goes wrong is the reason why the version is given up.
        """
        try:
            reason = self._try()
            if reason is None:
                return None
            if not reason:
                environment.switch(self._prefix, Path(self._record.environment))
                with suppress(OSError):  # the link has decided; the next start settles the record
                    replace(self._record, state="committed").write(self._data)
                return True
        except OSError as error:
            reason = f"the new version could not be started: {error.strerror or error}"
        with suppress(OSError):  # the next start settles the record
            self._record.gave_up(reason[:_REASON_MAX]).write(self._data)
        if environment.current(self._prefix) != Path(self._record.environment):  # it may have been installed meanwhile
            shutil.rmtree(self._record.environment, ignore_errors=True)
        return False

    @property
    def command(self) -> Sequence[str]:
        """The command line with which the service starts the version in force."""
        return self._command(self._prefix / CURRENT)

    def _try(self) -> str | None:
        """Run the new version; return why it failed, an empty string if it did not, and None if it was interrupted."""
        process = subprocess.Popen(
            self._command(Path(self._record.environment)),
            stdin=subprocess.PIPE,  # its end tells the new version that this process has ended
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            env={**own_environment(), SUPERVISED: "1", TRIAL: self._record.order},
            cwd="/",
            start_new_session=True,
        )
        reader = threading.Thread(target=self._read, args=(process,), daemon=True)
        reader.start()
        try:
            return self._watch(process, reader)
        finally:
            _end(process)
            reader.join(_END_SECONDS)
            for pipe in (process.stdin, process.stderr):
                if pipe is not None:
                    pipe.close()

    def _watch(self, process: "subprocess.Popen[str]", reader: threading.Thread) -> str | None:
        connected = False
        deadline = time.monotonic() + self._record.trial_seconds
        while time.monotonic() < deadline:
            if self._stopping():
                return None
            code = process.poll()
            if code is not None:
                reader.join(1.0)
                said = f": {self._said[-1]}" if self._said else ""
                return f"it ended with exit code {code}{said}"
            state = read_connection(self._data)
            if state is not None and state.pid == process.pid:
                connected = connected or state.connected
                if state.version != self._record.version:
                    return f"it is version {state.version}, not {self._record.version}"
                if state.connected and state.acknowledged:
                    return ""
            time.sleep(_POLL_SECONDS)
        what = "no sample of it was acknowledged" if connected else "it did not connect"
        return f"{what} within {self._record.trial_seconds:g} s"

    def _read(self, process: "subprocess.Popen[str]") -> None:
        """Pass on what the new version logs."""
        for line in process.stderr or ():
            self._said.append(line.strip())
            with suppress(OSError):
                sys.stderr.write(line)

    def _command(self, place: Path) -> Sequence[str]:
        return [str(environment.program(place)), "agent", "--data", str(self._data)]


def become(command: Sequence[str]) -> None:
    """Replace this process by a program of a part. Raises OSError."""
    sys.stdout.flush()
    os.execve(command[0], list(command), {k: v for k, v in own_environment().items() if k != TRIAL})  # noqa: S606


def _end(process: "subprocess.Popen[str]") -> None:
    """End a process in order, and by force if it does not end; then what it has started."""
    process.terminate()
    with suppress(subprocess.TimeoutExpired):
        process.wait(_END_SECONDS)
    process.kill()
    process.wait()
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
