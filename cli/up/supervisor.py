"""Runs the parts of `dashfleet up` as child processes.

Invariants:
- Parts start in order, each when the previous one is ready, and stop in the order of `stop_order` (the agent first, so
  that its goodbye is still received).
- A part that fails during startup stops all parts, with the error message it printed. A part that exits later, or whose
  restart fails, is restarted with a backoff.
- A part ends with the supervisor, however that ends: its standard input is a pipe from it (`runtime.process`).
- At the first start a part is a copy of the supervisor, whose memory it shares (`cli.up.forked_parts`). When it is
  restarted, it is a new program, so that it runs the code that is installed then.
- The standard error of a part goes to a file that is rotated at LOG_MAX_BYTES. A full disk is reported once.
"""

import logging
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from broker.client.transport import Backoff
from cli.up.forked_parts import ProcessSpec, begin, prepare
from runtime.children.child_process import ChildProcess
from runtime.children.forked_process import ForkedProcess
from runtime.errors import UserError
from runtime.log_file import LogFile
from runtime.process import READY, SUPERVISED

LOG_MAX_BYTES = 5 << 20
LOG_FILES = 3
READY_SECONDS = 60.0
STOP_SECONDS = 10.0
STEADY_SECONDS = 30.0
POLL_SECONDS = 0.2


class SupervisedProcess:
    """The process of a part, one run at a time. Raises OSError if its log file cannot be opened.

    `say` gets a sentence about a log file that cannot be written.
    """

    def __init__(self, spec: ProcessSpec, logs: Path, say: Callable[[str], None]) -> None:
        self.spec = spec
        self.log_path = logs / f"{spec.name}.log"
        self.restart_at: float | None = None
        self.ready: str | None = None
        """Report of the part when it became ready."""
        self._backoff = Backoff(first_seconds=1.0, most_seconds=30.0)
        self._started_at = 0.0
        self._process: ChildProcess | None = None
        self.prepared: ForkedProcess | None = None
        """The process of the first start, if it is there already; it waits for `start`."""
        self._log = LogFile(
            self.log_path,
            max_bytes=LOG_MAX_BYTES,
            kept=LOG_FILES,
            report=lambda sentence: say(f"{spec.name:<10} {sentence}"),
        )

    def start(self) -> None:
        """Start the process, or let the prepared one begin. Raises OSError."""
        self.ready, self.restart_at, self._started_at = None, None, time.monotonic()
        prepared, self.prepared = self.prepared, None
        self._process = ChildProcess(
            self.spec.name,
            self.spec.argv,
            environment={SUPERVISED: "1"},
            on_stdout=self._on_stdout,
            on_stderr=lambda line: self._log.emit(logging.makeLogRecord({"msg": "%s", "args": (line,)})),
            forked=prepared,
        )
        if prepared is not None:
            begin(prepared)

    @property
    def exit_code(self) -> int | None:
        """The exit code; None if the process is running or not started."""
        return None if self._process is None else self._process.exit_code

    @property
    def pid(self) -> int | None:
        """The process id; None if not started."""
        return None if self._process is None else self._process.pid

    def schedule_restart(self) -> float:
        """Set the time of the next start; return the seconds until then."""
        if time.monotonic() - self._started_at > STEADY_SECONDS:
            self._backoff.reset()
        pause = self.spec.min_pause_seconds + self._backoff.next()
        self.restart_at = time.monotonic() + pause
        return pause

    def stop(self) -> None:
        """Stop the process and wait until it has ended; kill it after STOP_SECONDS."""
        if self.prepared is not None:
            self.prepared.kill()
            self.prepared.wait()
        process, self._process = self._process, None
        if process is not None:
            process.stop(STOP_SECONDS)

    def reap(self) -> list[str]:
        """Clean up after the process has ended; return its last lines of standard error."""
        process, self._process = self._process, None
        if process is None:
            return []
        process.close()
        return list(process.last_lines)

    def close(self) -> None:
        """Close the log file."""
        self._log.close()

    def _on_stdout(self, line: str) -> None:
        if line.startswith(READY):
            self.ready = line.removeprefix(READY)


class Supervisor:
    """Runs parts. `say` prints a line for the user; `stopping` returns True when it is time to stop."""

    def __init__(
        self,
        specs: Sequence[ProcessSpec],
        *,
        stop_order: Sequence[str],
        logs: Path,
        say: Callable[[str], None],
        stopping: Callable[[], bool],
    ) -> None:
        try:
            self.processes = [SupervisedProcess(spec, logs, say) for spec in specs]
        except OSError as error:
            raise UserError(f"cannot write the log {error.filename}: {error.strerror}") from None
        self._stop_order = stop_order
        self._say = say
        self._stopping = stopping

    def prepare(self) -> None:
        """Fork the processes of all parts, where that is possible; they wait. Raises UserError for a wrong setting."""
        found = prepare([process.spec for process in self.processes], {SUPERVISED: "1"})
        for process in self.processes:
            process.prepared = found.get(process.spec.name)

    def start(self) -> None:
        """Start all parts in order. If one fails, stop all and raise UserError."""
        try:
            for process in self.processes:
                if not self._stopping():
                    self._start_first(process)
        except UserError:
            self.stop()
            raise

    def run(self) -> None:
        """Restart parts that exit, until it is time to stop."""
        while not self._stopping():
            for process in self.processes:
                self._check(process)
            time.sleep(POLL_SECONDS)

    def stop(self) -> None:
        """Stop all parts in order."""
        by_name = {process.spec.name: process for process in self.processes}
        for name in self._stop_order:
            if name in by_name:
                by_name[name].stop()
                by_name[name].close()

    def _start_first(self, process: SupervisedProcess) -> None:
        try:
            process.start()
        except OSError as error:
            raise UserError(f"cannot start the {process.spec.name}: {error.strerror}") from None
        name, deadline = process.spec.name, time.monotonic() + READY_SECONDS
        while process.ready is None and not self._stopping():
            if process.exit_code is not None:
                lines = process.reap() or [f"the {name} exited during startup"]
                raise UserError(lines[-1].removeprefix("dashfleet: "))
            if time.monotonic() > deadline:
                raise UserError(f"the {name} is not ready after {READY_SECONDS:g} s: see {process.log_path}")
            time.sleep(0.02)
        if process.ready is not None:
            self._say(f"{name:<10} {process.ready}")

    def _check(self, process: SupervisedProcess) -> None:
        """Schedule the restart of a process that has exited, or restart it if it is due."""
        name, code = process.spec.name, process.exit_code
        if code is not None:
            process.reap()
            pause = process.schedule_restart()
            how = f"was killed by signal {-code}" if code < 0 else f"exited with code {code}"
            self._say(f"{name:<10} {how}: restarting in {pause:.1f} s (see {process.log_path})")
        elif process.restart_at is not None and time.monotonic() >= process.restart_at:
            try:
                process.start()
            except OSError as error:
                pause = process.schedule_restart()
                self._say(f"{name:<10} cannot be started ({error.strerror}): retrying in {pause:.1f} s")
