"""Symbols of the units of the shipped metrics. Other units are shown as their collector writes them."""

from collections.abc import Mapping
from typing import Final

from dashboard.i18n.language import Marked, marked

UNITS: Final[Mapping[str, Marked]] = {
    "percent": marked("%"),
    "celsius": marked("°C"),
    "seconds": marked("s"),
    "bytes": marked("B"),
    "days": marked("d"),
    "processes": marked("processes"),
    "inodes": marked("inodes"),
    "packages": marked("packages"),
    "packets": marked("packets"),
    "rpm": marked("rpm"),
    "watts": marked("W"),
}
