"""Guard around the network's use by a service: where it connects, how long it takes, and what was answered.

The libraries of the services open their own connections, so the guard is at the one place through which all of them go:
`socket.connect`. It replaces that method for the whole process; outside of `guarded` nothing changes.

Invariants:
- The address that is checked is the one that is connected to: there is no second resolution between the two. Redirects
  and repeated attempts connect through the same method.
- Proxies of the environment and `.netrc` are not used: a proxy would resolve names without the guard.
- After the time limit the connections of an attempt are closed, whatever the service waits for.
- At most BODY_MAX bytes of an answer are read. A body that is broken or slow undoes no acceptance: the message would be
  sent again.
- The libraries log no requests: their paths contain secrets.
"""

import logging
import os
import smtplib
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, BinaryIO, Final

import requests
from requests.adapters import HTTPAdapter

from schemas.people.addresses import refusal

BODY_MAX: Final = 64 << 10
_CONNECT: Final = "connect"
_EXPIRED: Final = "the service took too long"
_PERMIT: Final = (
    "the server's owner can remove the destination and add it again with dashfleet notify add … --allow-private"
)

_current: ContextVar["NetworkUse | None"] = ContextVar("network_use", default=None)
_installing = threading.Lock()
_connect = socket.socket.connect
_connect_ex = socket.socket.connect_ex
_send = HTTPAdapter.send
_getreply = smtplib.SMTP.getreply


class ForbiddenAddressError(OSError):
    """A connection to an address that is not allowed, or after the time limit."""


@dataclass(slots=True)
class NetworkUse:
    """An attempt to send: its limits, and what happened on the network."""

    allow_private: bool
    refused: str = ""
    """Reason for which a connection was not made; empty if none was refused."""
    permitted: bool = False
    """True once a connection to an allowed address was tried."""
    answers: list[str] = field(default_factory=list)
    """Answers of the service, HTTP or SMTP, in order."""
    expired: bool = False
    _open: list[socket.socket] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def check(self, family: int, address: Any) -> None:  # noqa: ANN401 - as given to `connect`
        """Raise ForbiddenAddressError unless a connection to this address is allowed."""
        if self.expired:
            raise ForbiddenAddressError(_EXPIRED)
        host = address[0] if family in (socket.AF_INET, socket.AF_INET6) and isinstance(address, tuple) else ""
        refused = refusal(str(host), allow_private=self.allow_private, permit=_PERMIT)
        if refused:
            self.refused = refused
            raise ForbiddenAddressError(refused)
        self.permitted = True

    def opened(self, sock: socket.socket) -> None:
        """Remember a connection, which outlives a wrapping in TLS as a duplicate."""
        with self._lock:
            self._open.append(socket.socket(fileno=os.dup(sock.fileno())))

    def expire(self) -> None:
        """End all connections: the time limit is reached."""
        self.expired = True
        with self._lock:
            for each in self._open:
                with suppress(OSError):
                    each.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Release the duplicates."""
        with self._lock:
            for each in self._open:
                each.close()
            self._open.clear()


@contextmanager
def guarded(*, allow_private: bool, seconds: float) -> Iterator[NetworkUse]:
    """Guard the connections that this thread opens within the context, for at most `seconds`."""
    _install()
    use = NetworkUse(allow_private)
    token = _current.set(use)
    timer = threading.Timer(seconds, use.expire)
    timer.daemon = True
    timer.start()
    try:
        yield use
    finally:
        timer.cancel()
        _current.reset(token)
        use.close()


def hide_requests() -> None:
    """Keep the libraries from logging requests, at any level of ours."""
    for name in ("urllib3", "charset_normalizer"):
        logging.getLogger(name).setLevel(logging.ERROR)


def _install() -> None:
    """Replace the methods, once."""
    with _installing:
        if getattr(socket.socket, _CONNECT) is _guarded_connect:
            return
        hide_requests()
        os.environ["NETRC"] = os.devnull
        for owner, name, replacement in (
            (socket.socket, _CONNECT, _guarded_connect),
            (socket.socket, "connect_ex", _guarded_connect_ex),
            (HTTPAdapter, "send", _bounded_send),
            (smtplib.SMTP, "getreply", _recorded_reply),
        ):
            setattr(owner, name, replacement)


def _guarded_connect(sock: socket.socket, address: Any) -> None:  # noqa: ANN401 - as `socket.connect` takes it
    use = _current.get()
    if use is None:
        _connect(sock, address)
        return
    use.check(sock.family, address)
    _connect(sock, address)
    use.opened(sock)


def _guarded_connect_ex(sock: socket.socket, address: Any) -> int:  # noqa: ANN401 - as `socket.connect_ex` takes it
    if (use := _current.get()) is not None:
        use.check(sock.family, address)
    return _connect_ex(sock, address)


def _bounded_send(
    adapter: HTTPAdapter,
    request: requests.PreparedRequest,
    stream: bool = False,
    timeout: Any = None,  # noqa: ANN401 - the same
    verify: Any = True,  # noqa: ANN401 - the same
    cert: Any = None,  # noqa: ANN401 - the same
    proxies: Any = None,  # noqa: ANN401 - the same
) -> requests.Response:
    use = _current.get()
    if use is None:
        return _send(adapter, request, stream, timeout, verify, cert, proxies)
    response = _send(adapter, request, True, timeout, verify, cert, {})
    body = b"".join(_pieces(response))
    response._content = body[:BODY_MAX]  # noqa: SLF001 - as requests itself sets it after reading
    response._content_consumed = True  # noqa: SLF001 - the same
    response.close()
    use.answers.append(f"{response.status_code} {response.reason or ''} {_text(body)}".strip())
    return response


def _pieces(response: requests.Response) -> Iterator[bytes]:
    """Yield the beginning of a body, as far as it can be read: the status alone says whether a message is accepted."""
    size = 0
    with suppress(requests.RequestException, OSError):
        for piece in response.iter_content(8192):
            yield piece
            size += len(piece)
            if size >= BODY_MAX:
                return


def _recorded_reply(client: smtplib.SMTP) -> tuple[int, bytes]:
    use = _current.get()
    if use is None:
        return _getreply(client)
    if client.file is None and client.sock is not None:
        client.file = _BoundedLines(client.sock.makefile("rb"))
    code, text = _getreply(client)
    use.answers.append(f"{code} {_text(text)}")
    return code, text


class _BoundedLines:
    """The answers of an SMTP server, of which smtplib collects any number of lines."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._left = BODY_MAX

    def readline(self, size: int) -> bytes:
        """Return the next line. Raises OSError after BODY_MAX bytes."""
        line = self._file.readline(size)
        self._left -= len(line)
        if self._left < 0:
            raise OSError("the answer is too long")
        return line

    def close(self) -> None:
        """Close the connection's file."""
        self._file.close()


def _text(body: bytes) -> str:
    return body[:400].decode("utf-8", "replace")
