"""Runs the parts of `dashfleet up` as child processes.

Invariants:
- Parts start in order, each when the one before is ready, and stop in the order of `stop_order` (the agent first, so
  that its goodbye is still heard).
- A part that cannot start at first stops everything, with the sentence it gave. One that dies later is started again,
  with a backoff, and so is one whose start fails then.
- A part ends with the supervisor, however that ends: its standard input is a pipe from here (`runtime.process`).
- What a part writes to standard error goes to a file that is rotated at LOG_MAX_BYTES.
"""

import logging
import os
import subprocess
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import IO

from broker.client.transport import Backoff
from runtime.errors import UserError
from runtime.process import SUPERVISED

LOG_MAX_BYTES = 5 << 20
LOG_FILES = 3
READY_SECONDS = 60.0
STOP_SECONDS = 10.0
STEADY_SECONDS = 30.0
POLL_SECONDS = 0.2


@dataclass(frozen=True, slots=True)
class Part:
    """A part to run: its name, its command line, what its environment has beside this one's, and the least pause
    before it is started again after it died.
    """

    name: str
    argv: Sequence[str]
    environment: dict[str, str] = field(default_factory=dict)
    least_pause_seconds: float = 0.0


class Child:
    """The process of a part, one at a time."""

    def __init__(self, part: Part, logs: Path) -> None:
        self.part = part
        self.restart_at: float | None = None
        self.ready: str | None = None
        """What the part said when it was ready."""
        self.last_words: deque[str] = deque(maxlen=5)
        self._backoff = Backoff(first_seconds=1.0, most_seconds=30.0)
        self._started_at = 0.0
        self._process: subprocess.Popen[str] | None = None
        self._log = RotatingFileHandler(logs / f"{part.name}.log", maxBytes=LOG_MAX_BYTES, backupCount=LOG_FILES)
        self._readers: list[threading.Thread] = []

    def start(self) -> None:
        """Start the process."""
        self.ready, self.restart_at, self._started_at = None, None, time.monotonic()
        self.last_words.clear()
        self._process = subprocess.Popen(
            list(self.part.argv),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            env={**os.environ, SUPERVISED: "1", **self.part.environment},
            start_new_session=True,  # Ctrl-C reaches only the supervisor, which stops the parts in order
        )
        self._readers = [
            self._read(self._process.stdout, self._note_ready),
            self._read(self._process.stderr, self._note_words),
        ]

    @property
    def exit_code(self) -> int | None:
        """How the process ended, None while it runs or was never started."""
        return None if self._process is None else self._process.poll()

    @property
    def pid(self) -> int | None:
        """The process's id."""
        return None if self._process is None else self._process.pid

    def plan_restart(self) -> float:
        """Set the time of the next start, and return the seconds until then."""
        if time.monotonic() - self._started_at > STEADY_SECONDS:
            self._backoff.reset()
        pause = self.part.least_pause_seconds + self._backoff.next()
        self.restart_at = time.monotonic() + pause
        return pause

    def stop(self) -> None:
        """End the process, by force when it does not within STOP_SECONDS, and wait until it has."""
        process, self._process = self._process, None
        if process is None:
            return
        process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        self._finish(process)

    def reap(self) -> None:
        """Clear up after a process that has ended by itself."""
        process, self._process = self._process, None
        if process is not None:
            self._finish(process)

    def _finish(self, process: subprocess.Popen[str]) -> None:
        for reader in self._readers:
            reader.join(1.0)
        for pipe in (process.stdin, process.stdout, process.stderr):
            if pipe is not None:
                pipe.close()

    def close(self) -> None:
        """Let go of the log file."""
        self._log.close()

    def _read(self, pipe: IO[str] | None, note: Callable[[str], None]) -> threading.Thread:
        def read() -> None:
            for line in pipe or ():
                note(line.rstrip("\n"))

        reader = threading.Thread(target=read, name=f"{self.part.name}-output", daemon=True)
        reader.start()
        return reader

    def _note_ready(self, line: str) -> None:
        if line.startswith("ready: "):
            self.ready = line.removeprefix("ready: ")

    def _note_words(self, line: str) -> None:
        self.last_words.append(line)
        self._log.emit(logging.makeLogRecord({"msg": "%s", "args": (line,)}))


class Supervisor:
    """Runs parts. `say` prints a line for the person at the terminal; `stopping` says when to end."""

    def __init__(
        self,
        parts: Sequence[Part],
        *,
        stop_order: Sequence[str],
        logs: Path,
        say: Callable[[str], None],
        stopping: Callable[[], bool],
    ) -> None:
        self._logs = logs
        try:
            self.children = [Child(part, logs) for part in parts]
        except OSError as error:
            raise UserError(f"cannot write the log {error.filename}: {error.strerror}") from None
        self._stop_order = stop_order
        self._say = say
        self._stopping = stopping

    def start(self) -> None:
        """Start all parts in order. Raises UserError, with nothing left running, when one of them cannot."""
        try:
            for child in self.children:
                if not self._stopping():
                    self._start_first(child)
        except UserError:
            self.stop()
            raise

    def run(self) -> None:
        """Watch the parts until it is time to stop, and start again what dies."""
        while not self._stopping():
            for child in self.children:
                self._look_after(child)
            time.sleep(POLL_SECONDS)

    def stop(self) -> None:
        """Stop all parts in order."""
        by_name = {child.part.name: child for child in self.children}
        for name in self._stop_order:
            if name in by_name:
                by_name[name].stop()
                by_name[name].close()

    def _start_first(self, child: Child) -> None:
        try:
            child.start()
        except OSError as error:
            raise UserError(f"the {child.part.name} cannot be started: {error.strerror}") from None
        self._wait_until_ready(child)

    def _wait_until_ready(self, child: Child) -> None:
        name, deadline = child.part.name, time.monotonic() + READY_SECONDS
        while child.ready is None and not self._stopping():
            if child.exit_code is not None:
                child.reap()
                last = child.last_words[-1] if child.last_words else f"the {name} ended at once"
                raise UserError(last.removeprefix("dashfleet: "))
            if time.monotonic() > deadline:
                raise UserError(f"the {name} is not ready after {READY_SECONDS:g} s: see {self._log_of(child)}")
            time.sleep(0.02)
        if child.ready is not None:
            self._say(f"{name:<10} {child.ready}")

    def _look_after(self, child: Child) -> None:
        if child.exit_code is not None:
            code = child.exit_code
            child.reap()
            pause = child.plan_restart()
            how = f"was killed by signal {-code}" if code < 0 else f"ended with code {code}"
            self._say(f"{child.part.name:<10} {how}: starting it again in {pause:.1f} s (see {self._log_of(child)})")
        elif child.restart_at is not None and time.monotonic() >= child.restart_at:
            try:
                child.start()
            except OSError as error:
                pause = child.plan_restart()
                self._say(f"{child.part.name:<10} cannot be started ({error.strerror}): again in {pause:.1f} s")

    def _log_of(self, child: Child) -> Path:
        return self._logs / f"{child.part.name}.log"
