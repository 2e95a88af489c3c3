"""HTTP over a Unix socket, without a library: HTTP/1.0, so that the answer ends with the connection."""

import json
import re
import socket
from time import monotonic
from typing import Any

ANSWER_MAX_BYTES = 4 << 20
_MESSAGE_MAX = 300
_STATUS = re.compile(rb"HTTP/1\.[01] (\d{3})")


class HttpError(OSError):
    """The answer is not a success, too long, or not JSON."""


def get_json(path: str, target: str, *, seconds: float) -> Any:  # noqa: ANN401 - JSON
    """Return the JSON at a target, such as `/version`, of the server behind the socket at `path`.

    Raises OSError: TimeoutError if the whole answer is not there within `seconds`, HttpError for any other answer.
    """
    status, body = _call(path, "GET", target, seconds)
    if not 200 <= status < 300:
        raise HttpError(f"{target} was answered with {status}")
    try:
        return json.loads(body)
    except ValueError:
        raise HttpError(f"the answer to {target} is not JSON") from None


def post(path: str, target: str, *, seconds: float) -> int:
    """Send a POST without a body; return the status if it is a success or 304.

    Raises OSError: TimeoutError if there is no answer within `seconds`, HttpError, with the message of the server, for
    any other status.
    """
    status, body = _call(path, "POST", target, seconds)
    if 200 <= status < 300 or status == 304:
        return status
    raise HttpError(_message(body) or f"it was answered with {status}")


def _message(body: bytes) -> str:
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        return ""
    message = found.get("message") if isinstance(found, dict) else None
    return message[:_MESSAGE_MAX] if isinstance(message, str) else ""


def _call(path: str, method: str, target: str, seconds: float) -> tuple[int, bytes]:
    """Return status and body of an answer. Raises OSError."""
    deadline = monotonic() + seconds
    length = "" if method == "GET" else "Content-Length: 0\r\n"
    request = f"{method} {target} HTTP/1.0\r\nHost: localhost\r\nAccept: application/json\r\n{length}\r\n"
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(seconds)
        connection.connect(path)
        connection.sendall(request.encode())
        answer = _answer(connection, deadline)
    head, _, body = answer.partition(b"\r\n\r\n")
    status = _STATUS.match(head)
    if status is None:
        raise HttpError(f"{target} was answered with no HTTP")
    return int(status[1]), body


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
