"""Keeps what a NATS node is told in step with the principals: a file, and a signal to the node.

Invariants:
- The files are whole at every moment, and only this account can read them.
- A node that runs is asked to read them again whenever they changed (SIGHUP); one that starts reads them anyway.
"""

import logging
import os
import signal
import time
from collections.abc import Callable, Mapping
from contextlib import suppress

from broker.access.principals import CredentialEntry, Directory
from broker.external import nats
from broker.tls.listening import BrokerError, listening_context
from runtime import files
from runtime.settings.broker import NatsSettings

FOLLOW_SECONDS = 1.0

log = logging.getLogger(__name__)


class NatsFiles:
    """The files of one node, in its directory."""

    def __init__(self, settings: NatsSettings, directory: Directory) -> None:
        self._settings = settings
        self._directory = directory
        self._entries: Mapping[str, CredentialEntry] | None = None
        self._left_out: list[str] = []

    def start(self) -> None:
        """Write everything. Raises UserError."""
        listening_context(self._settings)
        place = self._settings.directory
        self._directory.refresh()
        try:
            place.mkdir(parents=True, exist_ok=True, mode=0o700)
            files.replace(place / "nats.conf", nats.configuration(self._settings))
            self._write_users()
        except OSError as error:
            raise BrokerError(f"cannot write in {place}: {error.strerror}") from None

    def step(self) -> None:
        """Bring the users up to date, and tell the node when they changed."""
        self._directory.refresh()
        try:
            if self._write_users():
                self._tell()
        except OSError as error:
            log.error("cannot write in %s, the users known to NATS stay: %s", self._settings.directory, error)

    def _write_users(self) -> bool:
        entries = self._directory.entries()
        if entries is self._entries:
            return False
        files.replace(self._settings.directory / "users.conf", nats.users(entries.values()))
        self._entries = entries
        left_out = nats.left_out(entries.values())
        if left_out and left_out != self._left_out:
            shown = ", ".join(left_out[:5])
            log.warning("%s principals have no record that NATS takes, rotate them: %s …", len(left_out), shown)
        self._left_out = left_out
        return True

    def _tell(self) -> None:
        with suppress(FileNotFoundError, ValueError, ProcessLookupError):  # it does not run
            os.kill(int((self._settings.directory / "nats.pid").read_text()), signal.SIGHUP)


def run(
    settings: NatsSettings,
    directory: Directory,
    on_ready: Callable[[], None],
    *,
    stopping: Callable[[], bool],
    wait: Callable[[float], object] = time.sleep,
) -> None:
    """Write the files, and keep them in step until it is time to stop. Raises UserError."""
    written = NatsFiles(settings, directory)
    written.start()
    on_ready()
    while not stopping():
        written.step()
        wait(FOLLOW_SECONDS)
