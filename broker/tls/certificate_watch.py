"""The server certificate while a broker runs: its end, and its renewal without a restart.

Invariants:
- A renewed pair is loaded only when certificate and key belong together and are valid; else the old one is served on,
  and the reason is logged.
- The end of the certificate is logged once a day from WARNING_DAYS before.
"""

import datetime
import logging
import ssl
from pathlib import Path

from broker.tls.listening import listening_context, valid_until
from runtime.errors import UserError
from runtime.settings.broker import ListenerSettings

CHECK_SECONDS = 10.0
WARNING_DAYS = 30

log = logging.getLogger(__name__)


class CertificateWatch:
    """Certificate and key of a listener. `context`: the one in use, which gets a renewed pair; None if none is."""

    def __init__(self, settings: ListenerSettings, context: ssl.SSLContext | None = None) -> None:
        self._settings = settings
        self._context = context
        self._files = [path for path in (settings.certificate, settings.private_key) if path is not None]
        self._state = [_state(path) for path in self._files]
        self._warned: datetime.date | None = None

    def check(self, now: datetime.datetime) -> bool:
        """Log the certificate's end if it is near; load a changed pair and return True if it is in force."""
        certificate, key = self._settings.certificate, self._settings.private_key
        if certificate is None or key is None:
            return False
        renewed = self._renew(certificate, key)
        self._warn(certificate, now)
        return renewed

    def _renew(self, certificate: Path, key: Path) -> bool:
        state = [_state(path) for path in self._files]
        if state == self._state:
            return False
        self._state = state
        try:
            listening_context(self._settings)
            if self._context is not None:
                self._context.load_cert_chain(certificate, key)
        except (UserError, OSError) as error:  # also between the two writes of a renewal
            log.warning("the certificate changed and is not used: %s", error)
            return False
        self._warned = None
        log.info("the certificate was renewed")
        return True

    def _warn(self, certificate: Path, now: datetime.datetime) -> None:
        try:
            end = valid_until(certificate)
        except (OSError, ValueError):  # being replaced
            return
        days = (end - now).days
        if days < WARNING_DAYS and self._warned != now.date():
            self._warned = now.date()
            what = "has expired" if end <= now else f"expires in {days} days"
            log.warning("the certificate in %s %s: renew it, for example with dashfleet tls --renew", certificate, what)


def _state(path: Path) -> object:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size
