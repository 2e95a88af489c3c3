"""Outgoing heartbeat: a URL that is called while everything works, so that an outside service notices when it does not.

Invariants:
- It is called only if `healthy` says so at that moment; nothing is called to say that something is wrong.
- It has a thread of its own, since the call may hang. The URL is a secret, and is not logged.
"""

import logging
import threading
from collections.abc import Callable
from typing import Final

import requests

from notifier.sending.network_guard import hide_requests

CALL_SECONDS: Final = 10.0

log = logging.getLogger(__name__)


class HeartbeatCaller:
    """Calls a URL every `seconds` while `healthy` returns an empty text; it returns the trouble otherwise."""

    def __init__(self, url: str, *, seconds: float, healthy: Callable[[], str]) -> None:
        hide_requests()
        self._url = url
        self._seconds = seconds
        self._healthy = healthy
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)
        self.calls = 0
        """Number of calls that the service accepted."""
        self._trouble = ""

    def start(self) -> None:
        """Start calling."""
        self._thread.start()

    def stop(self) -> None:
        """Stop calling; a call under way may go on."""
        self._ended.set()

    def call(self) -> None:
        """Call the URL if everything works; log a trouble when it changes."""
        trouble = self._healthy() or self._get()
        if trouble and trouble != self._trouble:
            log.warning("no heartbeat is sent: %s", trouble)
        self._trouble = trouble

    def _get(self) -> str:
        try:
            response = requests.get(self._url, timeout=CALL_SECONDS, stream=True)
            response.close()
        except requests.RequestException as error:
            return f"the service cannot be reached ({type(error).__name__})"
        if response.status_code >= 400:
            return f"the service answered {response.status_code}"
        self.calls += 1
        return ""

    def _run(self) -> None:
        while not self._ended.wait(self._seconds):
            self.call()
