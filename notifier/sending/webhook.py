"""Signed webhooks: a JSON document, POSTed with an HMAC that proves where it comes from (docs/alerting.md).

    DashFleet-Delivery: 4711
    DashFleet-Signature: t=1780000000,v1=<hex HMAC-SHA256 of "1780000000." and the body, with the secret>

Invariants:
- Every attempt of one delivery has the same body and the same delivery id, so that a receiver can deduplicate.
- Redirects are not followed: an answer other than 2xx is a failure.
"""

import hashlib
import hmac
import json
import time
from typing import Final

import requests

from notifier.sending.outgoing import Outgoing, SendingError
from runtime.version import VERSION

CONNECT_SECONDS: Final = 10.0
READ_SECONDS: Final = 20.0


def post(url: str, message: Outgoing, secret: str) -> None:
    """Send a message. Raises SendingError."""
    body = json.dumps(message.data, ensure_ascii=False, separators=(",", ":")).encode()
    headers = {
        "Content-Type": "application/json",
        "User-Agent": f"DashFleet/{VERSION}",
        "DashFleet-Delivery": message.delivery,
        "DashFleet-Signature": signature(secret, body, round(time.time())),
    }
    try:
        timeout = (CONNECT_SECONDS, READ_SECONDS)
        response = requests.post(url, data=body, headers=headers, timeout=timeout, allow_redirects=False)
    except requests.RequestException as error:
        raise SendingError(_cause(error)) from None
    except ValueError:  # raised as it is for names and passwords that cannot be encoded
        raise SendingError("the URL is not valid: check its host, user and password") from None
    if not 200 <= response.status_code < 300:
        gone = response.status_code == 410  # the receiver asks for nothing more
        raise SendingError(f"the webhook answered {response.status_code}", permanent=gone)


def signature(secret: str, body: bytes, at: int) -> str:
    """Return the value of the header `DashFleet-Signature`. `at`: seconds since the epoch."""
    signed = hmac.new(secret.encode(), f"{at}.".encode() + body, hashlib.sha256).hexdigest()
    return f"t={at},v1={signed}"


def _cause(error: requests.RequestException) -> str:
    if isinstance(error, requests.exceptions.SSLError):
        return "the certificate of the server is not valid"
    if isinstance(error, requests.Timeout):
        return "the server did not answer in time"
    if isinstance(error, requests.ConnectionError):
        return "cannot connect to the server"
    return "the request failed"
