"""How a length of time reads to a person, in a terminal as in a browser."""

import re
from itertools import pairwise
from math import isfinite
from typing import Final

from runtime.translatable import Translatable

UNKNOWN: Final = "–"
MOST_DAYS: Final = 99_999
"""More is said as more than this: a clock was wrong."""

UNITS: Final = ((86_400, "d"), (3600, "h"), (60, "min"), (1, "s"))
_WRITTEN: Final = re.compile(r"(\d{1,9}(?:\.\d{1,3})?)\s*(s|m|min|h|d)?")
_WORTH: Final = {None: 1, "s": 1, "m": 60, "min": 60, "h": 3600, "d": 86_400}


def duration(seconds: float | None) -> str:
    """A length of time in at most two units: 4 s, 12 min, 2 h 5 min, 85 d 4 h. Never negative, never an error."""
    if seconds is None or not isfinite(seconds):
        return UNKNOWN
    if is_endless(seconds):
        return f"over {MOST_DAYS:,} d"
    return " ".join(f"{number} {unit}" for number, unit in in_units(seconds))


def is_endless(seconds: float) -> bool:
    """Whether it is longer than anybody wants to read."""
    return round(seconds) > MOST_DAYS * 86_400


def in_units(seconds: float) -> list[tuple[int, str]]:
    """A length of time in its largest unit (d, h, min, s) and, where any of it is left, in the next smaller."""
    whole = max(0, round(seconds))
    for (worth, unit), (small_worth, small_unit) in pairwise(UNITS):
        if whole >= worth:
            rest = whole % worth // small_worth
            return [(whole // worth, unit), *([(rest, small_unit)] if rest else [])]
    return [(whole, "s")]


def seconds(text: str) -> float:
    """The length of time that somebody wrote: 90, 90s, 15m, 1h, 7d. Raises ValueError with a sentence."""
    found = _WRITTEN.fullmatch(text.strip().lower())
    if found is None or float(found[1]) == 0:
        unreadable = "{text} is no length of time: write it as 90s, 15m, 1h or 7d"
        raise ValueError(Translatable(unreadable, text=repr(text)))
    return float(found[1]) * _WORTH[found[2]]


def written(seconds: float) -> str:
    """A length of time as `seconds` reads it, in the largest unit of which it is a whole number: 90s, 15m, 7d."""
    for size, unit in UNITS:
        if seconds >= size and seconds % size == 0:
            return f"{seconds / size:g}{unit.removesuffix('in')}"
    return f"{seconds:g}s"
