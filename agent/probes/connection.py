"""Connections of probes: TCP, and TLS with the days until the certificate of the target ends."""

import select
import socket
import ssl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from agent.probes.addresses import Permits, resolve
from agent.probes.outcome import Deadline
from runtime.settings.probe_target import ProbeTarget

_DAY_SECONDS = 86_400


@contextmanager
def connected(target: ProbeTarget, deadline: Deadline, permits: Permits) -> Iterator[socket.socket]:
    """Connect to the first address of the target that answers. Raises OSError."""
    problem: OSError = TimeoutError()
    for address in resolve(target.host, deadline, permits):
        try:
            connection = socket.create_connection((address, target.port), deadline.left())
        except OSError as error:
            problem = error
            continue
        with connection:
            yield connection
        return
    raise problem


@contextmanager
def secured(
    connection: socket.socket, target: ProbeTarget, deadline: Deadline, ca_file: Path | None
) -> Iterator[tuple[ssl.SSLSocket, float]]:
    """Begin TLS, verify the certificate, and yield the connection with the days until its end. Raises OSError."""
    context = ssl.create_default_context(cafile=ca_file)
    connection.settimeout(deadline.left())
    wrapped = context.wrap_socket(connection, server_hostname=target.host, do_handshake_on_connect=False)
    with wrapped:
        _shake_hands(wrapped, deadline)
        ends = ssl.cert_time_to_seconds(str((wrapped.getpeercert() or {})["notAfter"]))
        yield wrapped, (ends - time.time()) / _DAY_SECONDS


def _shake_hands(wrapped: ssl.SSLSocket, deadline: Deadline) -> None:
    """Shake hands in steps, since the time limit of a socket is one of each step."""
    wrapped.setblocking(False)
    while True:
        try:
            wrapped.do_handshake()
        except ssl.SSLWantReadError:
            select.select([wrapped], [], [], deadline.left())
        except ssl.SSLWantWriteError:
            select.select([], [wrapped], [], deadline.left())
        else:
            wrapped.settimeout(deadline.left())
            return
        deadline.left()
