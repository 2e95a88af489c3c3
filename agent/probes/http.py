"""HTTP probes: status, a text in the body, and the certificate of HTTPS.

Invariants:
- A redirect is an answer and is never followed: the target of a redirect is in other hands.
- At most ANSWER_MAX bytes are read, all within the deadline, however slowly they come. The body is read only if a text
  is looked for.
"""

import http.client
import io
import socket
from collections.abc import Callable
from typing import Final

from agent.probes.addresses import Permits
from agent.probes.connection import connected, secured
from agent.probes.outcome import Deadline, ProbeOutcome
from runtime.settings.probe import Probe
from runtime.version import VERSION

ANSWER_MAX: Final = 256 << 10
"""Bytes that are read of an answer, with its header."""

_GOOD: Final = range(200, 400)


def probe_http(probe: Probe, deadline: Deadline, permits: Permits) -> ProbeOutcome:
    """Request the target once. Raises OSError or http.client.HTTPException."""
    target = probe.parsed
    with connected(target, deadline, permits) as connection:
        if target.scheme == "http":
            return _exchange(probe, connection, deadline, None)
        with secured(connection, target, deadline, probe.ca_file) as (wrapped, days):
            return _exchange(probe, wrapped, deadline, days)


def _exchange(probe: Probe, connection: socket.socket, deadline: Deadline, days: float | None) -> ProbeOutcome:
    target = probe.parsed
    host = f"[{target.host}]" if ":" in target.host else target.host
    host += "" if target.port == {"http": 80, "https": 443}[target.scheme] else f":{target.port}"
    lines = (f"GET {target.path or '/'} HTTP/1.1", f"Host: {host}", f"User-Agent: dashfleet/{VERSION}")
    request = "\r\n".join((*lines, "Accept: */*", "Accept-Encoding: identity", "Connection: close", "", ""))
    connection.settimeout(deadline.left())
    connection.sendall(request.encode("ascii"))
    response = http.client.HTTPResponse(_Readable(connection, deadline))  # type: ignore[arg-type]
    response.begin()
    seconds = deadline.taken()
    status = response.status
    if not (status in probe.status if probe.status else status in _GOOD):
        return ProbeOutcome(False, f"status {status}", seconds, days)
    if probe.contains and probe.contains.encode() not in _body(response.read):
        return ProbeOutcome(False, f"status {status}, without the expected text", seconds, days)
    return ProbeOutcome(True, f"status {status}", seconds, days)


def _body(read: Callable[[int], bytes]) -> bytes:
    try:
        return read(ANSWER_MAX)
    except http.client.IncompleteRead as error:
        return bytes(error.partial)


class _Readable:
    """A connection as `http.client` reads it: within the deadline, and up to ANSWER_MAX bytes."""

    def __init__(self, connection: socket.socket, deadline: Deadline) -> None:
        self._raw = _BoundedReader(connection, deadline)

    def makefile(self, _mode: str) -> io.BufferedReader:
        """Return the file from which the answer is read."""
        return io.BufferedReader(self._raw)


class _BoundedReader(io.RawIOBase):
    def __init__(self, connection: socket.socket, deadline: Deadline) -> None:
        self._connection = connection
        self._deadline = deadline
        self._room = ANSWER_MAX

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        if self._room <= 0:
            return 0
        self._connection.settimeout(self._deadline.left())
        number = self._connection.recv_into(buffer, min(len(buffer), self._room))
        self._room -= number
        return number
