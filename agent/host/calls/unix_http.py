"""HTTP GET over a Unix socket, without a library: HTTP/1.0, so that the answer ends with the connection."""

import json
import re
import socket
from time import monotonic
from typing import Any

ANSWER_MAX_BYTES = 4 << 20
_STATUS = re.compile(rb"HTTP/1\.[01] (\d{3})")


class HttpError(OSError):
    """The answer is not a success, too long, or not JSON."""


def get_json(path: str, target: str, *, seconds: float) -> Any:  # noqa: ANN401 - JSON
    """Return the JSON at a target, such as `/version`, of the server behind the socket at `path`.

    Raises OSError: TimeoutError if the whole answer is not there within `seconds`, HttpError for any other answer.
    """
    deadline = monotonic() + seconds
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(seconds)
        connection.connect(path)
        connection.sendall(f"GET {target} HTTP/1.0\r\nHost: localhost\r\nAccept: application/json\r\n\r\n".encode())
        answer = _answer(connection, deadline)
    head, _, body = answer.partition(b"\r\n\r\n")
    status = _STATUS.match(head)
    if status is None or not status[1].startswith(b"2"):
        raise HttpError(f"{target} was answered with {status[1].decode() if status else 'no HTTP'}")
    try:
        return json.loads(body)
    except ValueError:
        raise HttpError(f"the answer to {target} is not JSON") from None


def _answer(connection: socket.socket, deadline: float) -> bytes:
    answer = bytearray()
    while True:
        left = deadline - monotonic()
        if left <= 0:
            raise TimeoutError
        connection.settimeout(left)
        part = connection.recv(64 << 10)
        if not part:
            return bytes(answer)
        answer += part
        if len(answer) > ANSWER_MAX_BYTES:
            raise HttpError("the answer is too long")
