"""Mosquitto as a child of this process, kept in sync with the principals.

Each second the table of principals is read, as `broker.embedded.server` does for the embedded broker. Changes are
written to two files and Mosquitto gets SIGHUP: it reads both again without a restart, and ends the sessions of
principals whose record was removed or replaced.

Invariants:
- The files are complete at every moment, and only this account can read them.
- A change is in force when Mosquitto logs that it reloads; until then the signal is repeated, as one that arrives
  during a reload is lost.
- Files changed by others are written again.
- This process and Mosquitto end together, unless this process is killed: then its supervisor must end both, as systemd
  and containers do.
"""

import datetime
import logging
import os
import re
import shutil
import signal
import threading
import time
from collections.abc import Mapping
from pathlib import Path

from broker.access.principals import CredentialEntry, Directory
from broker.external import mosquitto
from broker.tls.certificate_watch import CHECK_SECONDS, CertificateWatch
from broker.tls.listening import BrokerError, listening_context
from runtime import files
from runtime.children.child_process import ChildProcess
from runtime.settings.broker import MosquittoSettings

START_SECONDS = 60.0
STOP_SECONDS = 10.0
ASK_MAX = 30
"""Number of reload signals before the missing reload is logged."""

_ALLOCATOR = {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "131072"}
"""Variables of glibc: fixed thresholds, with which it returns memory after a flood of large messages instead of keeping
it. See mallopt(3): otherwise the thresholds grow with the largest block that was freed."""

_TIMESTAMP = re.compile(r"^\d+: ")  # until it has read its configuration

log = logging.getLogger(__name__)


class Mosquitto:
    """A Mosquitto that runs until it is stopped. Not thread-safe."""

    def __init__(self, settings: MosquittoSettings, directory: Directory) -> None:
        self._settings = settings
        self._directory = directory
        self._configuration = settings.directory / "mosquitto.conf"
        self._passwords = settings.directory / "passwords"
        self._rules = settings.directory / "rules"
        self._entries: Mapping[str, CredentialEntry] | None = None
        self._states: list[object] = []
        self._process: ChildProcess | None = None
        self._certificate = CertificateWatch(settings)
        self._certificate_due = 0.0
        self._running = threading.Event()
        self._reloads = 0
        self._awaited: int | None = None
        self._asked = 0

    def start(self) -> None:
        """Write the files, start Mosquitto, and wait until it listens. Raises UserError."""
        listening_context(self._settings)
        program = shutil.which(self._settings.program)
        if program is None:
            raise BrokerError(f"{self._settings.program} not found: install Mosquitto, or set program to its path")
        self._directory.refresh()
        try:
            self._write_all()
        except OSError as error:
            raise BrokerError(f"cannot write in {self._settings.directory}: {error.strerror}") from None
        argv = [program, "-c", str(self._configuration)]
        environment = {**_ALLOCATOR, **os.environ}  # an administrator may have chosen others
        self._process = ChildProcess("mosquitto", argv, on_stderr=self._on_line, environment=environment)
        self._wait_until_running()

    def step(self) -> None:
        """Write changes of the principals and have Mosquitto reload. Raises BrokerError if it has exited."""
        if self._process is None or self._process.exit_code is not None:
            raise self._failure("has exited")
        self._directory.refresh()
        if self._awaited is not None and self._reloads < self._awaited:
            self._ask()
            return
        self._awaited = None
        try:
            changed = self._write_what_changed()
        except OSError as error:
            log.error(
                "cannot write in %s, Mosquitto keeps the previous access rules: %s", self._settings.directory, error
            )
            return
        if self._certificate_renewed() or changed:
            self._awaited, self._asked = self._reloads + 1, 0
            self._ask()

    def _certificate_renewed(self) -> bool:
        """Return True if Mosquitto has to read a renewed certificate, which it does at SIGHUP."""
        if time.monotonic() < self._certificate_due:
            return False
        self._certificate_due = time.monotonic() + CHECK_SECONDS
        return self._certificate.check(datetime.datetime.now(datetime.UTC))

    def stop(self) -> None:
        """Stop Mosquitto and wait until it has exited. May be called again."""
        process, self._process = self._process, None
        if process is not None:
            process.stop(STOP_SECONDS)

    def _ask(self) -> None:
        self._asked += 1
        if self._asked > ASK_MAX:
            log.error("Mosquitto has not reloaded its files after %s signals", ASK_MAX)
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
        """Write access rules and passwords if the principals or the files changed; return True if so."""
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

    def _on_line(self, raw: str) -> None:
        line = _TIMESTAMP.sub("", raw.rstrip())
        if line == mosquitto.RELOADED:
            self._reloads += 1
        elif mosquitto.RUNNING.search(line):
            self._running.set()
        log.log(_level(line), "%s", line)

    def _wait_until_running(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        while not self._running.wait(0.02):
            if self._process is None or self._process.exit_code is not None:
                raise self._failure("cannot start")
            if time.monotonic() > deadline:
                raise self._failure(f"does not listen after {START_SECONDS:g} s")

    def _failure(self, what: str) -> BrokerError:
        """Stop Mosquitto; return an error that ends with what it last logged."""
        process = self._process
        self.stop()
        lines = [_TIMESTAMP.sub("", line) for line in process.last_lines] if process is not None else []
        errors = [line for line in lines if line.startswith("Error")] or lines
        return BrokerError(f"Mosquitto {what}" + (f": {errors[-1]}" if errors else ""))


def _state(path: Path) -> object:
    """Return a value that changes with the content of the file, without reading it."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size


def _level(line: str) -> int:
    return logging.ERROR if line.startswith("Error") else logging.WARNING if line.startswith("Warn") else logging.INFO
