"""Mosquitto as a child of this process, in step with the principals.

It does for Mosquitto what `broker.embedded.server` does inside: it reads the table of principals each second, and
what changed
there is in force a moment later. That is two files and a signal: Mosquitto reads both again on SIGHUP, without a
restart, and ends the sessions of those whose record is gone or another one.

Invariants:
- The files are whole at every moment, and only this account can read them.
- A change counts when Mosquitto says that it reads its files; until then it is asked again, as a signal that comes
  while it reads is lost.
- Files that somebody else changed are written again.
- This process and Mosquitto end together, unless this one is killed: then whoever supervises it must end both, as
  systemd and containers do.
"""

import logging
import re
import shutil
import signal
import subprocess
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path

from broker.access.principals import CredentialEntry, Directory
from broker.external import mosquitto
from broker.tls.listening import BrokerError, listening_context
from runtime import files
from runtime.settings.broker import MosquittoSettings

FOLLOW_SECONDS = 1.0
START_SECONDS = 60.0
STOP_SECONDS = 10.0
ASK_MAX = 30
"""How often Mosquitto is asked to read its files before the log says that it does not."""

_TIMESTAMP = re.compile(r"^\d+: ")  # until it has read its configuration

log = logging.getLogger(__name__)


class Mosquitto:
    """A Mosquitto that runs until it is stopped. One thread calls its methods."""

    def __init__(self, settings: MosquittoSettings, directory: Directory) -> None:
        self._settings = settings
        self._directory = directory
        self._configuration = settings.directory / "mosquitto.conf"
        self._passwords = settings.directory / "passwords"
        self._rules = settings.directory / "rules"
        self._entries: Mapping[str, CredentialEntry] | None = None
        self._states: list[object] = []
        self._process: subprocess.Popen[str] | None = None
        self._reader: threading.Thread | None = None
        self._last_words: deque[str] = deque(maxlen=5)
        self._running = threading.Event()
        self._reloads = 0
        self._awaited: int | None = None
        self._asked = 0

    def start(self) -> None:
        """Write its files, start it, and wait until it listens. Raises UserError."""
        listening_context(self._settings)
        program = shutil.which(self._settings.program)
        if program is None:
            raise BrokerError(f"there is no {self._settings.program}: install Mosquitto, or name it in program")
        self._directory.refresh()
        try:
            self._write_all()
        except OSError as error:
            raise BrokerError(f"cannot write in {self._settings.directory}: {error.strerror}") from None
        argv = [program, "-c", str(self._configuration)]
        self._process = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            start_new_session=True,  # Ctrl-C reaches only this process, which ends Mosquitto
        )
        self._reader = threading.Thread(target=self._listen, args=(self._process,), name="mosquitto-log", daemon=True)
        self._reader.start()
        self._wait_until_it_runs()

    def step(self) -> None:
        """Bring what Mosquitto knows up to date. Raises BrokerError when it has ended."""
        if self._process is None or self._process.poll() is not None:
            raise BrokerError(f"Mosquitto has ended{self._because()}")
        self._directory.refresh()
        if self._awaited is not None and self._reloads < self._awaited:
            self._ask()
            return
        self._awaited = None
        try:
            changed = self._write_what_changed()
        except OSError as error:
            log.error("cannot write in %s, the rules known to Mosquitto stay: %s", self._settings.directory, error)
            return
        if changed:
            self._awaited, self._asked = self._reloads + 1, 0
            self._ask()

    def stop(self) -> None:
        """End it, and wait until it has. May be called again."""
        process, self._process = self._process, None
        if process is None:
            return
        process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if self._reader is not None:
            self._reader.join(STOP_SECONDS)
        if process.stderr is not None:
            process.stderr.close()

    def _ask(self) -> None:
        self._asked += 1
        if self._asked > ASK_MAX:
            log.error("Mosquitto does not say that it has read its files again")
            self._awaited = None
        elif self._process is not None:
            self._process.send_signal(signal.SIGHUP)

    def _write_all(self) -> None:
        directory = self._settings.directory
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        (directory / "conf.d").mkdir(exist_ok=True, mode=0o700)
        files.replace(self._configuration, mosquitto.configuration(self._settings, self._passwords, self._rules))
        self._write_what_changed()

    def _write_what_changed(self) -> bool:
        """Write the rules and passwords, unless they are as they should be."""
        entries = self._directory.entries()
        paths = (self._rules, self._passwords)
        if entries is self._entries and self._states == [_state(path) for path in paths]:
            return False
        for path, text in zip(
            paths, (mosquitto.rules(entries.values()), mosquitto.passwords(entries.values())), strict=True
        ):
            files.replace(path, text)
        self._entries, self._states = entries, [_state(path) for path in paths]
        return True

    def _listen(self, process: subprocess.Popen[str]) -> None:
        """Pass on what Mosquitto says."""
        for raw in process.stderr or ():
            line = _TIMESTAMP.sub("", raw.rstrip())
            self._last_words.append(line)
            if line == mosquitto.RELOADED:
                self._reloads += 1
            elif mosquitto.RUNNING.search(line):
                self._running.set()
            log.log(_level(line), "%s", line)

    def _wait_until_it_runs(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        while not self._running.wait(0.02):
            if self._process is None or self._process.poll() is not None:
                self.stop()
                raise BrokerError(f"Mosquitto cannot start{self._because()}")
            if time.monotonic() > deadline:
                self.stop()
                raise BrokerError(f"Mosquitto does not listen after {START_SECONDS:g} s{self._because()}")

    def _because(self) -> str:
        if self._reader is not None:
            self._reader.join(1.0)
        errors = [line for line in self._last_words if line.startswith("Error")] or list(self._last_words)
        return f": {errors[-1]}" if errors else ""


def run(
    settings: MosquittoSettings,
    directory: Directory,
    on_ready: Callable[[], None],
    *,
    stopping: Callable[[], bool],
    wait: Callable[[float], object] = time.sleep,
) -> None:
    """Run Mosquitto until it is time to stop; `on_ready` is called once it listens. Raises UserError."""
    broker = Mosquitto(settings, directory)
    broker.start()
    try:
        on_ready()
        while not stopping():
            broker.step()
            wait(FOLLOW_SECONDS)
    finally:
        broker.stop()


def _state(path: Path) -> object:
    """What tells one content of a file from another without reading it."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size


def _level(line: str) -> int:
    return logging.ERROR if line.startswith("Error") else logging.WARNING if line.startswith("Warn") else logging.INFO
