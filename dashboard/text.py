"""How values read to a person: times in their zone, durations, sizes, and the words for what the database codes.

Invariants:
- What is not known is a dash, never a zero.
- Nothing here is escaped; `dashboard.markup` does that, for everything.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from typing import Final

from schemas.durations import UNITS, UNKNOWN, duration

__all__ = ["UNKNOWN", "duration"]


@dataclass(frozen=True, slots=True)
class Word:
    """A code as people read it. `tone` picks its colour: good, fair, bad, muted or plain."""

    label: str
    tone: str


PRESENCE: Final[Mapping[str, Word]] = {
    "online": Word("Online", "good"),
    "stale": Word("Stale", "fair"),
    "offline": Word("Offline", "bad"),
    "expired": Word("Expired", "muted"),
    "unknown": Word("Unknown", "plain"),
    "retired": Word("Retired", "plain"),
}
"""Every presence, in the order in which people look at them."""

HEALTH: Final[Mapping[str, Word]] = {
    "ok": Word("OK", "good"),
    "warn": Word("Warning", "fair"),
    "critical": Word("Critical", "bad"),
    "unknown": Word("Unknown", "plain"),
}

COMMANDS: Final[Mapping[str, Word]] = {
    "sending": Word("Sending", "plain"),
    "queued": Word("Waiting", "plain"),
    "sent": Word("Sent", "plain"),
    "running": Word("Running", "fair"),
    "succeeded": Word("Succeeded", "good"),
    "failed": Word("Failed", "bad"),
    "rejected": Word("Rejected", "bad"),
    "refused": Word("Refused", "bad"),
    "timed-out": Word("No answer", "fair"),
    "expired": Word("Expired", "muted"),
    "cancelled": Word("Cancelled", "muted"),
}
"""Every state of a command, in the order in which it may come to be."""

_COMMAND_REASONS: Final[Mapping[str, str]] = {
    "interrupted": "it was interrupted, and nobody knows how far it came",
    "signature": "the machine does not obey the key that signed it",
    "expired": "its time ran out before it began",
    "not-allowed": "the machine does not allow it",
    "arguments": "the machine does not take these arguments",
    "timeout": "it took too long",
}

_REASONS: Final[Mapping[str, str]] = {
    "lost": "the connection was lost",
    "stopped": "the agent was stopped",
    "restarting": "the agent is restarting",
    "rebooting": "the machine is rebooting",
    "asleep": "the machine went to sleep",
    "silent": "nothing was heard from it",
    "expired": "nothing was heard from it for too long",
    "connected": "it connected",
    "heard": "it was heard again",
    "retired": "an operator retired it",
}

_BIG: Final = 1000.0
_SIZES: Final = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")
_RATES: Final = ("B/s", "kB/s", "MB/s", "GB/s", "TB/s")


def presence(code: str) -> Word:
    """The word for a presence; a code that a later version added shows as it is."""
    return PRESENCE.get(code, Word(code, "plain"))


def health(code: str) -> Word:
    """The word for a health status."""
    return HEALTH.get(code, Word(code, "plain"))


def reason(code: str) -> str:
    """Why a machine is what it is, as half a sentence; empty when there is nothing to say."""
    return _REASONS.get(code, code)


def command(code: str) -> Word:
    """The word for a command's state."""
    return COMMANDS.get(code, Word(code, "plain"))


def command_reason(reason: str, detail: str) -> str:
    """Why a command is where it is; empty when there is nothing to say."""
    return detail or _COMMAND_REASONS.get(reason, reason)


def percent(value: float | None) -> str:
    """A share such as 72 %."""
    return UNKNOWN if value is None else f"{value:.0f} %"


def size(value: float | None) -> str:
    """An amount of memory or disk, such as 7.5 GiB."""
    return UNKNOWN if value is None else _scaled(value, 1024, _SIZES)


def byte_rate(value: float | None) -> str:
    """A flow of bytes, such as 1.2 MB/s."""
    return UNKNOWN if value is None else _scaled(value, 1000, _RATES)


def count(value: int) -> str:
    """A whole number with its thousands set apart."""
    return f"{value:,}"


def number(value: float | None) -> str:
    """A reading without a unit, short: 0.42, 17.3, 12,400."""
    if value is None:
        return UNKNOWN
    if abs(value) >= _BIG or value == round(value):
        return count(round(value))
    return f"{value:.3g}"


def quantity(value: float | None, unit: str) -> str:
    """A reading in the unit that its collector declared."""
    if value is None:
        return UNKNOWN
    shown = {"percent": percent, "bytes": size, "seconds": duration}.get(unit)
    if shown is not None:
        return shown(value)
    return f"{number(value)} {unit_symbol(unit)}".strip()


def unit_symbol(unit: str) -> str:
    """The sign of a declared unit; free text stays as it is."""
    return {"percent": "%", "celsius": "°C", "count": "", "seconds": "s", "bytes": "B", "": ""}.get(unit, unit)


def labels(found: Mapping[str, str] | None) -> list[str]:
    """A machine's labels as people write them, in the order of their names."""
    return [f"{name}: {value}" for name, value in sorted((found or {}).items())]


def ago(then: int | None, now: int) -> str:
    """How long ago a moment was, in one unit: 4 s ago, 12 min ago."""
    if then is None:
        return "never"
    seconds = max(0, (now - then) // 1000)
    for size_, name, _, _ in UNITS:
        if seconds >= size_:
            return f"{seconds // size_} {name} ago"
    return f"{seconds} s ago"


def clock(moment: int, zone: tzinfo) -> str:
    """The time of day of a moment, such as 10:42:07."""
    return _local(moment, zone).strftime("%H:%M:%S")


def moment(then: int, now: int, zone: tzinfo) -> str:
    """A moment: the time of day, with the date when it was not today."""
    local = _local(then, zone)
    return local.strftime("%H:%M:%S" if local.date() == _local(now, zone).date() else "%-d %b %Y, %H:%M:%S")


def _local(milliseconds: int, zone: tzinfo) -> datetime:
    return datetime.fromtimestamp(milliseconds / 1000, UTC).astimezone(zone)


def _scaled(value: float, base: int, units: tuple[str, ...]) -> str:
    """The value in the largest of these units in which it is at least 1, with one decimal where it says something."""
    power = 0
    while abs(value) >= base and power < len(units) - 1:
        value /= base
        power += 1
    return f"{value:.1f}".removesuffix(".0") + f" {units[power]}"
