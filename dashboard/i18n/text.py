"""How values read to a person, in their language: times in their zone, durations, sizes, and the words for codes.

Invariants:
- What is not known is a dash, never a zero.
- Nothing here is escaped; `dashboard.widgets.markup` does that, for everything.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from functools import lru_cache
from math import isfinite
from typing import Final

from babel import Locale
from babel.dates import format_datetime, format_time
from babel.numbers import format_decimal, format_scientific
from babel.units import format_unit

from dashboard.i18n.language import Marked, _, locale, marked, ngettext
from runtime.durations import MOST_DAYS, UNKNOWN, in_units, is_endless

__all__ = ["UNKNOWN"]


@dataclass(frozen=True, slots=True)
class Word:
    """A code as people read it. `tone` picks its colour: good, fair, bad, muted or plain."""

    label: str
    tone: str


@dataclass(frozen=True, slots=True)
class Coded:
    """The word for a code, in all languages."""

    label: Marked
    tone: str

    def word(self) -> Word:
        """In the current language."""
        return Word(_(self.label), self.tone)


PRESENCE: Final[Mapping[str, Coded]] = {
    "online": Coded(marked("Online"), "good"),
    "stale": Coded(marked("Stale"), "fair"),
    "offline": Coded(marked("Offline"), "bad"),
    "expired": Coded(marked("Expired"), "muted"),
    "unknown": Coded(marked("Unknown"), "plain"),
    "retired": Coded(marked("Retired"), "plain"),
}
"""Every presence, in the order in which people look at them."""

HEALTH: Final[Mapping[str, Coded]] = {
    "ok": Coded(marked("OK"), "good"),
    "warn": Coded(marked("Warning"), "fair"),
    "critical": Coded(marked("Critical"), "bad"),
    "unknown": Coded(marked("Unknown"), "plain"),
}

COMMANDS: Final[Mapping[str, Coded]] = {
    "sending": Coded(marked("Sending"), "plain"),
    "queued": Coded(marked("Waiting"), "plain"),
    "sent": Coded(marked("Sent"), "plain"),
    "running": Coded(marked("Running"), "fair"),
    "succeeded": Coded(marked("Succeeded"), "good"),
    "failed": Coded(marked("Failed"), "bad"),
    "rejected": Coded(marked("Rejected"), "bad"),
    "refused": Coded(marked("Refused"), "bad"),
    "timed-out": Coded(marked("No answer"), "fair"),
    "expired": Coded(marked("Expired"), "muted"),
    "cancelled": Coded(marked("Cancelled"), "muted"),
}
"""Every state of a command, in the order in which it may come to be."""

_COMMAND_REASONS: Final[Mapping[str, Marked]] = {
    "interrupted": marked("it was interrupted, and nobody knows how far it came"),
    "signature": marked("the machine does not obey the key that signed it"),
    "expired": marked("its time ran out before it began"),
    "not-allowed": marked("the machine does not allow it"),
    "arguments": marked("the machine does not take these arguments"),
    "timeout": marked("it took too long"),
}

_REASONS: Final[Mapping[str, Marked]] = {
    "lost": marked("the connection was lost"),
    "stopped": marked("the agent was stopped"),
    "restarting": marked("the agent is restarting"),
    "rebooting": marked("the machine is rebooting"),
    "asleep": marked("the machine went to sleep"),
    "silent": marked("nothing was heard from it"),
    "expired": marked("nothing was heard from it for too long"),
    "connected": marked("it connected"),
    "heard": marked("it was heard again"),
    "retired": marked("an operator retired it"),
}

_LENGTHS: Final[Mapping[str, Marked]] = {
    "d": marked("{n} d"),
    "h": marked("{n} h"),
    "min": marked("{n} min"),
    "s": marked("{n} s"),
}
_UNITS: Final[Mapping[str, Marked]] = {
    "percent": marked("%"),
    "celsius": marked("°C"),
    "seconds": marked("s"),
    "bytes": marked("B"),
    "processes": marked("processes"),
}
_PERIODS: Final = ((365 * 86_400, "year"), (86_400, "day"), (3600, "hour"), (60, "minute"), (1, "second"))
_MARK: Final = r"[\u0300-\u036f\u0483-\u0489\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\ufe20-\ufe2f]"
_STACKED: Final = re.compile(f"({_MARK}{{2}}){_MARK}+")
_UNREADABLE: Final = re.compile(
    r"[\x00-\x08\x0b-\x0c\x0e-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\uffff"
    r"\ud800-\udfff\U000e0000-\U000e007f]"
)
_UNIT_MAX: Final = 12
_BIG: Final = 1000.0
_ENDLESS: Final = 1e15
"""From here on a number's digits say nothing but that it is wrong."""


@dataclass(frozen=True, slots=True)
class Scale:
    """A unit in the current language, and what one of it is worth."""

    unit: str
    factor: float


def readable(said: str) -> str:
    """What a machine or a person wrote, without what would change the text around it or leave its line.

    Control characters, changes of writing direction and invisible signs become a visible sign, so that a name cannot
    pretend to be another; of marks on one letter two are left. Line ends and tabs stay.
    """
    if said.isascii() and said.isprintable():
        return said
    return _STACKED.sub(r"\1", _UNREADABLE.sub("\N{REPLACEMENT CHARACTER}", said))


def shortened(said: str, most: int) -> str:
    """At most so many characters."""
    return said if len(said) <= most else said[: most - 1] + "…"


def presence(code: str) -> Word:
    """The word for a presence; a code that a later version added shows as it is."""
    return _word(PRESENCE, code)


def health(code: str) -> Word:
    """The word for a health status."""
    return _word(HEALTH, code)


def reason(code: str) -> str:
    """Why a machine is what it is, as half a sentence; empty when there is nothing to say."""
    return _(_REASONS.get(code, code))


def command(code: str) -> Word:
    """The word for a command's state."""
    return _word(COMMANDS, code)


def command_reason(reason: str, detail: str) -> str:
    """Why a command is where it is; empty when there is nothing to say. `detail` is in the words of who wrote it."""
    return detail or _(_COMMAND_REASONS.get(reason, reason))


def percent(value: float | None) -> str:
    """A share such as 72 %."""
    return UNKNOWN if value is None else f"{_decimal(value, 0)} %"


def size(value: float | None) -> str:
    """An amount of memory or disk, such as 7.5 GiB."""
    return UNKNOWN if value is None else _scaled(value, size_scale(value))


def byte_rate(value: float | None) -> str:
    """A flow of bytes, such as 1.2 MB/s."""
    return UNKNOWN if value is None else _scaled(value, rate_scale(value))


def size_scale(value: float) -> Scale:
    """The largest unit of memory in which this is at least 1."""
    units = (_("B"), _("KiB"), _("MiB"), _("GiB"), _("TiB"), _("PiB"))
    return _scale(value, 1024, units)


def rate_scale(value: float) -> Scale:
    """The largest unit of flow in which this is at least 1."""
    return _scale(value, 1000, (_("B/s"), _("kB/s"), _("MB/s"), _("GB/s"), _("TB/s")))


def count(value: int) -> str:
    """A whole number with its thousands set apart."""
    return _decimal(value, 0)


def number(value: float | None) -> str:
    """A reading without a unit, short: 0.42, 17.3, 12,400."""
    if value is None:
        return UNKNOWN
    if abs(value) >= _BIG or value == round(value):
        return count(round(value))
    return _decimal(float(f"{value:.3g}"), 9)


def fixed(value: float, decimals: int) -> str:
    """A reading with so many decimals, whatever they are."""
    return format_decimal(value, f"#,##0.{'0' * decimals}", locale=locale())


def quantity(value: float | None, unit: str) -> str:
    """A reading in the unit that its collector declared."""
    if value is None:
        return UNKNOWN
    shown = {"percent": percent, "bytes": size, "seconds": duration}.get(unit)
    if shown is not None:
        return shown(value)
    return f"{number(value)} {unit_symbol(unit)}".strip()


def unit_symbol(unit: str) -> str:
    """The sign of a declared unit; free text stays as it is, as long as it fits beside a figure."""
    return "" if unit == "count" else _(_UNITS.get(unit, shortened(readable(unit), _UNIT_MAX)))


def duration(seconds: float | None) -> str:
    """A length of time in at most two units: 4 s, 12 min, 2 h 5 min, 85 d 4 h. Never negative, never an error."""
    if seconds is None or not isfinite(seconds):
        return UNKNOWN
    if is_endless(seconds):
        return _("over {length}", length=_length(MOST_DAYS, "d"))
    return " ".join(_length(number, unit) for number, unit in in_units(seconds))


def period(seconds: int) -> str:
    """A length of time in words, in the largest unit of which it is a whole number: 5 minutes, 7 days, 1 year."""
    worth, unit = next(pair for pair in _PERIODS if seconds % pair[0] == 0)
    return format_unit(seconds // worth, f"duration-{unit}", "long", locale=locale())


def hours(number: int) -> str:
    """So many hours, short: 24 h."""
    return _length(number, "h")


def labels(found: Mapping[str, str] | None) -> list[str]:
    """A machine's labels as people write them, in the order of their names."""
    return [f"{name}: {value}" for name, value in sorted((found or {}).items())]


def ago(then: int | None, now: int) -> str:
    """How long ago a moment was, in one unit: 4 s ago, 12 min ago."""
    if then is None:
        return _("never")
    return _("{length} ago", length=_length(*in_units((now - then) // 1000)[0]))


def clock(moment: int, zone: tzinfo) -> str:
    """The time of day of a moment, such as 10:42:07."""
    return format_time(_local(moment, zone), "medium", locale=locale())


def moment(then: int, now: int, zone: tzinfo) -> str:
    """A moment: the time of day, with the date when it was not today."""
    local = _local(then, zone)
    if local.date() == _local(now, zone).date():
        return clock(then, zone)
    return format_datetime(local, "medium", locale=locale())


def chart_day() -> str:
    """How a chart's axis writes a day of a month: a template of ECharts, such as {d}/{M}, without names of months."""
    return re.sub("d+|M+", r"{\g<0>}", str(locale().datetime_skeletons["Md"].pattern))


def machines(count: int) -> str:
    """Return a number of machines in words, such as "3 machines"."""
    return ngettext("{n} machine", "{n} machines", count)


def listed(names: Sequence[str], *, most: int = 4) -> str:
    """Return the first `most` names, and how many more there are, for use in a sentence."""
    shown, rest = ", ".join(names[:most]), len(names) - most
    return ngettext("{names} and {n} more", "{names} and {n} more", rest, names=shown) if rest > 0 else shown


def and_more(rest: int) -> str:
    """Below a list: how many there are beyond it."""
    return ngettext("and {n} more", "and {n} more", rest)


def _word(words: Mapping[str, Coded], code: str) -> Word:
    found = words.get(code)
    return Word(code, "plain") if found is None else found.word()


def _length(number: int, unit: str) -> str:
    return _(_LENGTHS[unit], n=_decimal(number, 0))


def _local(milliseconds: int, zone: tzinfo) -> datetime:
    return datetime.fromtimestamp(milliseconds / 1000, UTC).astimezone(zone)


def _scale(value: float, base: int, units: Sequence[str]) -> Scale:
    power = 0
    while abs(value) >= base ** (power + 1) and power < len(units) - 1:
        power += 1
    return Scale(units[power], float(base**power))


def _scaled(value: float, scale: Scale) -> str:
    """With one decimal where it says something."""
    return f"{_decimal(value / scale.factor, 1)} {scale.unit}"


def _decimal(value: float, most: int) -> str:
    """With this many decimals at most, and never longer than a card is wide."""
    return _written(round(value, most), most, locale())


@lru_cache(maxsize=20_000)
def _written(value: float, most: int, spoken: Locale) -> str:
    """Kept, as the figures of thousands of machines are few different ones."""
    if abs(value) >= _ENDLESS:
        return format_scientific(value, "0.##E0", locale=spoken)
    return format_decimal(value, f"#,##0.{'#' * most}" if most else "#,##0", locale=spoken)
