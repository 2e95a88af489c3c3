"""Sending through Apprise: the service behind a URL of `schemas.people.services`.

Invariants:
- Apprise loads no modules, reads no files and stores nothing: there are no plug-in paths, templates, keys or
  attachments but our own reports.
- The service is called in this thread, so that the guard of the network applies to it.
- Apprise's log of an attempt is only the source of the error; none of it reaches our log, as it may contain secrets.
"""

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from typing_extensions import override

from notifier.sending.outgoing import Outgoing, SendingError

if TYPE_CHECKING:
    from apprise import NotifyBase

_LINES_MAX: Final = 20
_INVALID: Final = "the URL is not complete for this service: compare it with the examples in docs/alerting.md"


def notify(url: str, message: Outgoing) -> None:
    """Send a message. Raises SendingError."""
    from apprise import NotifyFormat

    with _captured_log() as lines:
        service = open_service(url)
        accepted = _call(
            service,
            body=message.body,
            title=message.title,
            notify_type=message.tone,
            body_format=NotifyFormat.TEXT,
            attach=None if message.attachment is None else str(message.attachment),
        )
    if not accepted:
        raise SendingError(lines[-1] if lines else "the service did not accept the message")


def open_service(url: str) -> "NotifyBase":
    """Return Apprise's object for a URL that was checked. Raises SendingError if the service rejects the URL."""
    from apprise import Apprise, AppriseAsset, PersistentStoreMode

    asset = AppriseAsset(
        app_id="DashFleet",
        app_desc="DashFleet",
        async_mode=False,
        pgp_autogen=False,
        pem_autogen=False,
        storage_mode=PersistentStoreMode.MEMORY,
    )
    service = Apprise.instantiate(url, asset=asset, suppress_exceptions=True)
    if service is None:
        raise SendingError(_INVALID, permanent=True)
    if _reads_files(service):
        raise SendingError("templates and keys in files are not allowed", permanent=True)
    return service


def _reads_files(service: "NotifyBase") -> bool:
    """Return True if a service was given a file: its parameters were checked before, by their names."""
    return bool(getattr(service, "template", None)) or getattr(service, "pgp_mode", "no") not in ("no", None)


def _call(service: "NotifyBase", **message: Any) -> bool:  # noqa: ANN401 - Apprise's keywords
    try:
        return bool(service.notify(**message))
    except Exception as error:  # noqa: BLE001 - 80 services, each with its own ways to fail
        raise SendingError(f"the service failed: {type(error).__name__}") from None


class _ThreadLog(logging.Handler):
    """Collects what one thread logs."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.lines: list[str] = []
        self._thread = threading.get_ident()

    @override
    def emit(self, record: logging.LogRecord) -> None:
        if record.thread == self._thread and len(self.lines) < _LINES_MAX:
            self.lines.append(record.getMessage())


@contextmanager
def _captured_log() -> Iterator[list[str]]:
    log, handler = logging.getLogger("apprise"), _ThreadLog()
    log.propagate = False
    log.addHandler(handler)
    try:
        yield handler.lines
    finally:
        log.removeHandler(handler)
