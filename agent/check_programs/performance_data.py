"""Performance data of Nagios plug-ins: `'label'=value[unit];warning;critical;minimum;maximum`, separated by spaces.

Invariants:
- A value that cannot be read, such as `U` or `1e400`, is null. A part that is not performance data is left out.
- Units are converted to those of the contract: seconds, bytes, percent, a counter, or none.
"""

import re
from typing import Final

from agent.check_programs.result import READING_MAX, READINGS_MAX, CheckReading

METRIC_OF_UNIT: Final = {
    "": "check_value",
    "%": "check_percent",
    "c": "check_count",
    "s": "check_seconds",
    "B": "check_bytes",
}
_FACTORS: Final = {
    "s": ("s", 1.0),
    "ms": ("s", 1e-3),
    "us": ("s", 1e-6),
    "µs": ("s", 1e-6),
    "ns": ("s", 1e-9),
    "min": ("s", 60.0),
    "h": ("s", 3600.0),
    "d": ("s", 86_400.0),
    **{f"{prefix}b": ("B", float(1024**power)) for power, prefix in enumerate(("", "k", "m", "g", "t", "p"))},
    **{f"{prefix}ib": ("B", float(1024**power)) for power, prefix in enumerate("kmgtp", start=1)},
    "%": ("%", 1.0),
    "c": ("c", 1.0),
    "": ("", 1.0),
}
_PART: Final = re.compile(
    r"\s*(?:'(?P<quoted>(?:[^']|'')*)'|(?P<plain>[^\s=']+))="
    r"(?P<value>[-+]?(?:\d+(?:[.,]\d*)?|[.,]\d+)(?:[eE][-+]?\d+)?|U)(?P<unit>[^\s;0-9]*)(?P<rest>;\S*)?(?=\s|$)"
)
LABEL_MAX: Final = 64
_LINE_MAX: Final = 8192


def parse_performance_data(text: str) -> dict[str, CheckReading]:
    """Return the readings of a line by label, at most READINGS_MAX."""
    found: dict[str, CheckReading] = {}
    at, text = 0, text[:_LINE_MAX]
    while at < len(text) and len(found) < READINGS_MAX:
        part = _PART.match(text, at)
        if part is None:
            following = re.compile(r"\s+").search(text, at + 1)
            at = following.start() if following else len(text)
            continue
        at = part.end()
        label = (part["plain"] or (part["quoted"] or "").replace("''", "'")).strip()[:LABEL_MAX]
        if label:
            found[label] = reading(part["value"], part["unit"])
    return found


def reading(value: str, unit: str) -> CheckReading:
    """Return a reading in the unit of the contract; a unit that is not known counts as none."""
    unit = unit if unit in _FACTORS or unit == "C" else unit.lower()  # C is a temperature, c a counter
    base, factor = _FACTORS.get(unit, ("", 1.0))
    number = None if value == "U" else round(float(value.replace(",", ".")) * factor, 9)
    return CheckReading(METRIC_OF_UNIT[base], None if number is None or abs(number) > READING_MAX else number)
