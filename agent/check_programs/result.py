"""Result of a check: its state, a line of text, and readings."""

from dataclasses import dataclass, field
from typing import Final, NamedTuple

from schemas.contract.facts import Judgement

STATES: Final[dict[int, Judgement]] = {0: "good", 1: "fair", 2: "critical", 3: "unknown"}
"""Judgements by the exit code of Nagios plug-ins. Any other code is unknown, never good."""

READINGS_MAX: Final = 32
"""Readings of one check."""

READING_MAX: Final = 1e300
"""Highest absolute value of a reading; what is above it, infinite or NaN is null."""

TEXT_MAX: Final = 256


class CheckReading(NamedTuple):
    """A reading in the unit of its metric, one of `METRIC_OF_UNIT`."""

    metric: str
    value: float | None


@dataclass(frozen=True, slots=True)
class CheckResult:
    """The result of a check, or of one of the services that it reports. `readings` are by label."""

    state: Judgement
    text: str
    readings: dict[str, CheckReading] = field(default_factory=dict)


def judge(code: object) -> Judgement:
    """Return the judgement of a state: a code of Nagios, or its name in any case."""
    if isinstance(code, str):
        names = {"ok": 0, "warning": 1, "warn": 1, "critical": 2, "crit": 2, "0": 0, "1": 1, "2": 2}
        code = names.get(code.strip().lower(), 3)
    return STATES.get(code, "unknown") if isinstance(code, int) and not isinstance(code, bool) else "unknown"


def first_line(output: str) -> str:
    """Return the first line that is not empty, shortened."""
    lines = (line.strip() for line in output.splitlines())
    return next((line for line in lines if line), "")[:TEXT_MAX]
