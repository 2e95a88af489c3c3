"""The clock of this machine."""

import urllib.request
from contextlib import suppress
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http.client import HTTPException
from pathlib import Path

from agent.check import Examination, Finding, check

_RELEASED_AT = datetime(2026, 11, 1, tzinfo=UTC).timestamp()
"""Earlier than any clock that is right can say."""

_OFFSET_MAX_SECONDS = 60
_SYNCHRONISED = Path("/run/systemd/timesync/synchronized")


@check(order=40)
def clock(examination: Examination) -> Finding:
    """Check that the clock is plausible, and synchronised where systemd does that.

    The server corrects the times of samples; certificates and the expiry of orders are checked with this clock.
    """
    now = examination.clock.now() / 1000
    advice = "Set the clock, and switch on time synchronisation: timedatectl set-ntp true."
    if now < _RELEASED_AT:
        return Finding("clock", "problem", "it is before the release of this program", advice)
    offset = _offset(examination)
    if offset is not None and abs(offset) > _OFFSET_MAX_SECONDS:
        direction = "ahead of" if offset > 0 else "behind"
        return Finding("clock", "problem", f"it is {abs(offset):.0f} s {direction} the server's clock", advice)
    if _SYNCHRONISED.parent.is_dir() and not _SYNCHRONISED.exists():
        return Finding("clock", "warning", "time synchronisation runs, but has not succeeded", advice)
    return Finding("clock", "ok", "plausible" if offset is None else f"within {abs(offset) + 1:.0f} s of the server's")


def _offset(examination: Examination) -> float | None:
    """Return the seconds by which this clock is ahead of the dashboard's; None if it does not tell its time."""
    if not examination.dashboard.startswith(("https://", "http://")):
        return None
    with suppress(OSError, ValueError, TypeError, HTTPException):
        url = f"{examination.dashboard}/readyz"
        with urllib.request.urlopen(url, timeout=examination.timeout) as answer:  # noqa: S310 - http(s), see above
            told = parsedate_to_datetime(answer.headers["Date"]).timestamp()
        return examination.clock.now() / 1000 - told
    return None
