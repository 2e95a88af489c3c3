"""Values as text in the user's language: times in their zone, durations, sizes, and the words for codes.

Invariants:
- An unknown value is a dash, never a zero.
- Nothing is escaped here; `dashboard.widgets.markup` escapes everything.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, tzinfo
from functools import lru_cache
from math import isfinite
from typing import Final

from babel import Locale
from babel.dates import format_datetime, format_skeleton, format_time
from babel.numbers import format_decimal, format_scientific
from babel.units import format_unit

from dashboard.i18n.language import Marked, _, kept_by_language, locale, marked, ngettext
from dashboard.i18n.units import UNITS
from runtime.durations import MOST_DAYS, UNKNOWN, in_units, is_endless
from schemas.fleet.availability import FLAPPING
from schemas.fleet.history import MINUTE

__all__ = ["UNKNOWN"]


@dataclass(frozen=True, slots=True)
class Word:
    """The label of a code in the current language. `tone` selects its colour: good, fair, bad, muted or plain."""

    label: str
    tone: str


PRESENCE: Final[Mapping[str, tuple[Marked, str]]] = {
    "online": (marked("Online"), "good"),
    "stale": (marked("Stale"), "fair"),
    "offline": (marked("Offline"), "bad"),
    "expired": (marked("Long offline"), "muted"),
    "unknown": (marked("Unknown"), "plain"),
    "retired": (marked("Retired"), "plain"),
}
"""All presences with label and tone, in display order."""

HEALTH: Final[Mapping[str, tuple[Marked, str]]] = {
    "ok": (marked("OK"), "good"),
    "warn": (marked("Warning"), "fair"),
    "critical": (marked("Critical"), "bad"),
    "unknown": (marked("Unknown"), "plain"),
}

COMMANDS: Final[Mapping[str, tuple[Marked, str]]] = {
    "sending": (marked("Sending"), "plain"),
    "queued": (marked("Waiting"), "plain"),
    "sent": (marked("Sent"), "plain"),
    "running": (marked("Running"), "fair"),
    "succeeded": (marked("Succeeded"), "good"),
    "failed": (marked("Failed"), "bad"),
    "rejected": (marked("Rejected"), "bad"),
    "refused": (marked("Refused"), "bad"),
    "timed-out": (marked("No answer"), "fair"),
    "expired": (marked("Expired"), "muted"),
    "cancelled": (marked("Cancelled"), "muted"),
}
"""All states of a command with label and tone, in the order in which they may occur."""

_COMMAND_REASONS: Final[Mapping[str, Marked]] = {
    "interrupted": marked("it was interrupted, with an unknown result"),
    "signature": marked("the machine does not trust the key that signed it"),
    "expired": marked("it expired before it started"),
    "not-allowed": marked("the machine does not allow it"),
    "arguments": marked("the machine rejects these arguments"),
    "timeout": marked("it exceeded its time limit"),
}

_REASONS: Final[Mapping[str, Marked]] = {
    "lost": marked("the connection was lost"),
    "stopped": marked("the agent was stopped"),
    "restarting": marked("the agent is restarting"),
    "rebooting": marked("the machine is rebooting"),
    "asleep": marked("the machine went to sleep"),
    "silent": marked("no data received"),
    "session-behind": marked("session number began again"),
    "expired": marked("no data received for too long"),
    "connected": marked("connected"),
    "heard": marked("data received again"),
    "revoked": marked("retired by an operator"),
    "reinstated": marked("returned to service"),
}

_LENGTHS: Final[Mapping[str, Marked]] = {
    "d": marked("{n} d"),
    "h": marked("{n} h"),
    "min": marked("{n} min"),
    "s": marked("{n} s"),
}
_PERIODS: Final = ((365 * 86_400, "year"), (86_400, "day"), (3600, "hour"), (60, "minute"), (1, "second"))
_MARK: Final = r"[\u0300-\u036f\u0483-\u0489\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\ufe20-\ufe2f]"
_STACKED: Final = re.compile(f"({_MARK}{{2}}){_MARK}+")
_UNREADABLE: Final = re.compile(
    r"[\x00-\x08\x0b-\x0c\x0e-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\uffff"
    r"\ud800-\udfff\U000e0000-\U000e007f]"
)
_ANY: Final = re.compile(f"{_UNREADABLE.pattern}|{_MARK}{{3}}")
"""One search for both, since most texts have neither."""
_UNIT_MAX: Final = 12
_BIG: Final = 1000.0
_ENDLESS: Final = 1e15
"""From here on numbers are shown in scientific notation: they are wrong, and too wide for a card."""


@dataclass(frozen=True, slots=True)
class UnitScale:
    """A unit in the current language, and its factor to the base unit."""

    unit: str
    factor: float


def readable(said: str) -> str:
    """Return text of a machine or a user without characters that affect the text around it.

    Control characters, changes of writing direction and invisible characters become a visible one, so that a name
    cannot imitate another; of stacked marks on a letter two are left. Line ends and tabs stay.
    """
    if (said.isascii() and said.isprintable()) or _ANY.search(said) is None:
        return said
    return _STACKED.sub(r"\1", _UNREADABLE.sub("\N{REPLACEMENT CHARACTER}", said))


def shortened(said: str, most: int) -> str:
    """Truncate to at most `most` characters."""
    return said if len(said) <= most else said[: most - 1] + "…"


def presence(code: str) -> Word:
    """Return the label of a presence; an unknown code, as of a later version, is its own label."""
    return _word(PRESENCE, code)


def health(code: str) -> Word:
    """Return the label of a health status."""
    return _word(HEALTH, code)


def reason(code: str) -> str:
    """Return the reason of a presence as a phrase; empty if there is none."""
    return _(_REASONS.get(code, code))


def transition_reason(code: str, times: int) -> str:
    """Return the reason of a transition; of one that stands for several (`FLAPPING`), their number."""
    if code != FLAPPING:
        return reason(code)
    return ngettext("flapping: {n} more change in this hour", "flapping: {n} more changes in this hour", times)


def command(code: str) -> Word:
    """Return the label of a command's state."""
    return _word(COMMANDS, code)


def command_reason(reason: str, detail: str) -> str:
    """Return the reason of a command's state; empty if there is none. `detail` takes precedence, untranslated."""
    return detail or _(_COMMAND_REASONS.get(reason, reason))


def percent(value: float | None) -> str:
    """Format a percentage: 72 %."""
    return UNKNOWN if value is None else f"{_decimal(value, 0)} %"


def size(value: float | None) -> str:
    """Format an amount of memory or disk: 7.5 GiB."""
    return UNKNOWN if value is None else _scaled(value, size_scale(value))


def byte_rate(value: float | None) -> str:
    """Format bytes per second: 1.2 MB/s."""
    return UNKNOWN if value is None else _scaled(value, rate_scale(value))


def size_scale(value: float) -> UnitScale:
    """Return the largest unit of memory in which the value is at least 1."""
    return _scale(value, 1024, (_("B"), _("KiB"), _("MiB"), _("GiB"), _("TiB"), _("PiB")))


def rate_scale(value: float) -> UnitScale:
    """Return the largest unit of bytes per second in which the value is at least 1."""
    return _scale(value, 1000, (_("B/s"), _("kB/s"), _("MB/s"), _("GB/s"), _("TB/s")))


def count(value: int) -> str:
    """Format a whole number with separators of thousands."""
    return _decimal(value, 0)


def number(value: float | None) -> str:
    """Format a reading without a unit, in three significant digits: 0.42, 17.3, 12,400."""
    if value is None:
        return UNKNOWN
    if abs(value) >= _BIG or value == round(value):
        return count(round(value))
    return _decimal(float(f"{value:.3g}"), 9)


def fixed(value: float, decimals: int) -> str:
    """Format a reading with a fixed number of decimals."""
    return format_decimal(value, f"#,##0.{'0' * decimals}", locale=locale())


def quantity(value: float | None, unit: str) -> str:
    """Format a reading in the unit that its collector declared."""
    if value is None:
        return UNKNOWN
    shown = {"percent": percent, "bytes": size, "seconds": duration}.get(unit)
    if shown is not None:
        return shown(value)
    return f"{number(value)} {unit_symbol(unit)}".strip()


def unit_symbol(unit: str) -> str:
    """Return the symbol of a declared unit; free text stays as it is, truncated to fit beside a value."""
    return "" if unit == "count" else _(UNITS.get(unit, shortened(readable(unit), _UNIT_MAX)))


def duration(seconds: float | None) -> str:
    """Format a duration in at most two units: 4 s, 12 min, 2 h 5 min, 85 d 4 h. A negative one is 0 s."""
    if seconds is None or not isfinite(seconds):
        return UNKNOWN
    if is_endless(seconds):
        return _("over {length}", length=_length(MOST_DAYS, "d"))
    return " ".join(_length(number, unit) for number, unit in in_units(seconds))


def period(seconds: int) -> str:
    """Format a duration in words, in the largest unit of which it is a whole number: 5 minutes, 7 days, 1 year."""
    worth, unit = next(pair for pair in _PERIODS if seconds % pair[0] == 0)
    return format_unit(seconds // worth, f"duration-{unit}", "long", locale=locale())


def hours(number: int) -> str:
    """Format a number of hours: 24 h."""
    return _length(number, "h")


def labels(found: Mapping[str, str] | None) -> list[str]:
    """Format a machine's labels as `name: value`, in the order of their names."""
    return [f"{name}: {value}" for name, value in sorted((found or {}).items())]


def ago(then: int | None, now: int) -> str:
    """Format the age of a time (milliseconds), in one unit: 4 s ago, 12 min ago."""
    if then is None:
        return _("never")
    return _("{length} ago", length=_length(*in_units((now - then) // 1000)[0]))


def clock(moment: int, zone: tzinfo) -> str:
    """Format the time of day: 10:42:07."""
    return format_time(_local(moment, zone), "medium", locale=locale())


def moment(then: int, now: int, zone: tzinfo) -> str:
    """Format a time (milliseconds): the time of day, with the date unless it is today."""
    local = _local(then, zone)
    if local.date() == _local(now, zone).date():
        return clock(then, zone)
    return format_datetime(local, "medium", locale=locale())


def short_moment(then: int, now: int, zone: tzinfo) -> str:
    """Format a time (milliseconds) to the minute: the time of day, with the day unless it is today."""
    return _short_moment(then // MINUTE, _local(now, zone).date(), zone)


@kept_by_language(5000)
def _short_moment(minute: int, today: date, zone: tzinfo) -> str:
    local = _local(minute * MINUTE, zone)
    at = format_time(local, "short", locale=locale())
    if local.date() == today:
        return at
    day = format_skeleton("MMMd" if local.year == today.year else "yMMMd", local, locale=locale())
    return f"{day}, {at}"


def as_of(then: int | None, now: int, zone: tzinfo) -> str:
    """Return the time of readings that are no longer current; empty if there are none."""
    return "" if then is None else _("as of {at}", at=short_moment(then, now, zone))


def chart_day() -> str:
    """Return the ECharts template of a day of a month on a chart's axis, such as {d}/{M}."""
    return re.sub("d+|M+", r"{\g<0>}", str(locale().datetime_skeletons["Md"].pattern))


def machines(count: int) -> str:
    """Return a number of machines in words, such as "3 machines"."""
    return ngettext("{n} machine", "{n} machines", count)


def listed(names: Sequence[str], *, most: int = 4) -> str:
    """Return the first `most` names, and how many more there are, for use in a sentence."""
    shown, rest = ", ".join(names[:most]), len(names) - most
    return ngettext("{names} and {n} more", "{names} and {n} more", rest, names=shown) if rest > 0 else shown


def and_more(rest: int) -> str:
    """Return how many entries a list leaves out."""
    return ngettext("and {n} more", "and {n} more", rest)


def _word(words: Mapping[str, tuple[Marked, str]], code: str) -> Word:
    label, tone = words.get(code, (code, "plain"))
    return Word(_(label), tone)


@kept_by_language(10_000)
def _length(number: int, unit: str) -> str:
    return _(_LENGTHS[unit], n=_decimal(number, 0))


def _local(milliseconds: int, zone: tzinfo) -> datetime:
    return datetime.fromtimestamp(milliseconds / 1000, UTC).astimezone(zone)


def _scale(value: float, base: int, units: Sequence[str]) -> UnitScale:
    power = 0
    while abs(value) >= base ** (power + 1) and power < len(units) - 1:
        power += 1
    return UnitScale(units[power], float(base**power))


def _scaled(value: float, scale: UnitScale) -> str:
    return f"{_decimal(value / scale.factor, 1)} {scale.unit}"


def _decimal(value: float, most: int) -> str:
    return _written(round(value, most), most, locale())


@lru_cache(maxsize=20_000)
def _written(value: float, most: int, spoken: Locale) -> str:
    """Cached: the readings of thousands of machines have few distinct values."""
    if abs(value) >= _ENDLESS:
        return format_scientific(value, "0.##E0", locale=spoken)
    return format_decimal(value, f"#,##0.{'#' * most}" if most else "#,##0", locale=spoken)
