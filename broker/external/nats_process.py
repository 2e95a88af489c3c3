"""Keeps the configuration of a NATS node in sync with the principals: files, and a signal to the node.

Invariants:
- The files are complete at every moment, and only this account can read them.
- A running node gets SIGHUP, and reloads, whenever they or the certificate change; one that starts later reads them
  anyway.
"""

import datetime
import logging
import os
import signal
import time
from collections.abc import Mapping
from contextlib import suppress

from broker.access.principals import CredentialEntry, Directory
from broker.external import nats
from broker.tls.certificate_watch import CHECK_SECONDS, CertificateWatch
from broker.tls.listening import BrokerError, listening_context
from runtime import files
from runtime.settings.broker import NatsSettings

log = logging.getLogger(__name__)


class NatsFiles:
    """The files of one node. The node itself is run by others."""

    def __init__(self, settings: NatsSettings, directory: Directory) -> None:
        self._settings = settings
        self._directory = directory
        self._entries: Mapping[str, CredentialEntry] | None = None
        self._left_out: list[str] = []
        self._certificate = CertificateWatch(settings)
        self._certificate_due = 0.0

    def start(self) -> None:
        """Write all files. Raises UserError."""
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
        """Write the users if the principals changed, and have the node reload."""
        self._directory.refresh()
        try:
            renewed = self._certificate_renewed()
            if self._write_users() or renewed:
                self._reload()
        except OSError as error:
            log.error("cannot write in %s, NATS keeps the previous users: %s", self._settings.directory, error)

    def stop(self) -> None:
        """Do nothing: the node runs by itself."""

    def _write_users(self) -> bool:
        entries = self._directory.entries()
        if entries is self._entries:
            return False
        files.replace(self._settings.directory / "users.conf", nats.users(entries.values()))
        self._entries = entries
        left_out = nats.left_out(entries.values())
        if left_out and left_out != self._left_out:
            shown = ", ".join(left_out[:5])
            log.warning(
                "%s principals have a record that NATS does not support, rotate their secrets: %s …",
                len(left_out),
                shown,
            )
        self._left_out = left_out
        return True

    def _certificate_renewed(self) -> bool:
        if time.monotonic() < self._certificate_due:
            return False
        self._certificate_due = time.monotonic() + CHECK_SECONDS
        return self._certificate.check(datetime.datetime.now(datetime.UTC))

    def _reload(self) -> None:
        with suppress(FileNotFoundError, ValueError, ProcessLookupError):  # not running
            os.kill(int((self._settings.directory / "nats.pid").read_text()), signal.SIGHUP)
