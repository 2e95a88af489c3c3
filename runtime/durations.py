"""Durations as text, on a terminal and in a browser."""

import re
from itertools import pairwise
from math import isfinite
from typing import Final

from runtime.translatable import Translatable

UNKNOWN: Final = "–"
MOST_DAYS: Final = 99_999
"""Longer durations are shown as "over" this number of days: a clock was wrong."""

UNITS: Final = ((86_400, "d"), (3600, "h"), (60, "min"), (1, "s"))
_WRITTEN: Final = re.compile(r"(\d{1,9}(?:\.\d{1,3})?)\s*(s|m|min|h|d)?")
_WORTH: Final = {None: 1, "s": 1, "m": 60, "min": 60, "h": 3600, "d": 86_400}


def duration(seconds: float | None) -> str:
    """Format a duration in at most two units: 4 s, 12 min, 2 h 5 min, 85 d 4 h. Never negative, never raises."""
    if seconds is None or not isfinite(seconds):
        return UNKNOWN
    if is_endless(seconds):
        return f"over {MOST_DAYS:,} d"
    return " ".join(f"{number} {unit}" for number, unit in in_units(seconds))


def is_endless(seconds: float) -> bool:
    """Return whether a duration is longer than MOST_DAYS."""
    return round(seconds) > MOST_DAYS * 86_400


def in_units(seconds: float) -> list[tuple[int, str]]:
    """Split a duration into its largest unit (d, h, min, s) and the next smaller unit unless that is zero."""
    whole = max(0, round(seconds))
    for (worth, unit), (small_worth, small_unit) in pairwise(UNITS):
        if whole >= worth:
            rest = whole % worth // small_worth
            return [(whole // worth, unit), *([(rest, small_unit)] if rest else [])]
    return [(whole, "s")]


def seconds(text: str) -> float:
    """Parse a duration: 90, 90s, 15m, 1h, 7d. Raises ValueError with a sentence."""
    found = _WRITTEN.fullmatch(text.strip().lower())
    if found is None or float(found[1]) == 0:
        unreadable = "{text} is not a duration: write 90s, 15m, 1h or 7d"
        raise ValueError(Translatable(unreadable, text=repr(text)))
    return float(found[1]) * _WORTH[found[2]]


def written(seconds: float) -> str:
    """Format a duration so that `seconds` parses it, in the largest unit that divides it: 90s, 15m, 7d."""
    for size, unit in UNITS:
        if seconds >= size and seconds % size == 0:
            return f"{seconds / size:g}{unit.removesuffix('in')}"
    return f"{seconds:g}s"
