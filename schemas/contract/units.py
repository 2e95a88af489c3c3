"""The names of units in the contract, with their codes in UCUM (the Unified Code for Units of Measure).

A metric may have any other unit; readers show it as it is.
"""

from collections.abc import Mapping

UNITS: Mapping[str, str] = {
    "percent": "%",
    "bytes": "By",
    "bytes/s": "By/s",
    "seconds": "s",
    "milliseconds": "ms",
    "celsius": "Cel",
    "hertz": "Hz",
    "watts": "W",
    "volts": "V",
    "amperes": "A",
    "rpm": "{rotation}/min",
    "processes": "{process}",
    "count": "{count}",
}
"""UCUM code by name."""
