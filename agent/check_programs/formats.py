"""The output of a check in each of its formats, as results by the name of a service; empty: the check itself.

- `nagios`: the state is the exit code; the first line is the text, and behind `|` are performance data.
- `lines`: as Checkmk's local checks, a line for each service: `0 "Name" label=1;2;3|other=4 Text`.
- `json`: an object with `state`, `text` and `values`, or an array of such objects with a `name`.

Invariant: output that cannot be read is unknown, never good.
"""

import json
import re
from typing import Any, Final

from agent.check_programs.performance_data import METRIC_OF_UNIT, parse_performance_data
from agent.check_programs.result import (
    READING_MAX,
    READINGS_MAX,
    STATES,
    TEXT_MAX,
    CheckReading,
    CheckResult,
    first_line,
    judge,
)

SERVICES_MAX: Final = 64
_LINE: Final = re.compile(
    r'(?P<state>[0-3P])\s+(?:"(?P<quoted>[^"]+)"|(?P<name>\S+))\s+'
    r"(?P<data>\S+)(?:\s+(?P<text>.*))?"
)
_NAME_MAX: Final = 100
_SUFFIXES: Final = {"_percent": "%", "_bytes": "B", "_seconds": "s", "_count": "c"}


def parse(format_: str, code: int, output: str) -> dict[str, CheckResult]:
    """Return the results in the output of a check that ended with an exit code."""
    return {"nagios": _nagios, "lines": _lines, "json": _json}[format_](code, output)


def _nagios(code: int, output: str) -> dict[str, CheckResult]:
    first, _separator, more = output.strip().partition("\n")
    text, _bar, data = first.partition("|")
    long_data = more.partition("|")[2]
    readings = parse_performance_data(f"{data} {long_data}".replace("\n", " "))
    return {"": CheckResult(STATES.get(code, "unknown"), first_line(text) or f"exit code {code}", readings)}


def _lines(code: int, output: str) -> dict[str, CheckResult]:
    found: dict[str, CheckResult] = {}
    for line in output.splitlines()[: 4 * SERVICES_MAX]:
        part = _LINE.fullmatch(line.strip())
        if part is not None and len(found) < SERVICES_MAX:
            readings = {} if part["data"] == "-" else parse_performance_data(part["data"].replace("|", " "))
            state = _of_levels(part["data"]) if part["state"] == "P" else int(part["state"])
            name = (part["quoted"] or part["name"])[:_NAME_MAX]
            found[name] = CheckResult(STATES[state], first_line(part["text"] or ""), readings)
    if code != 0 or not found:
        said = first_line(output) if not found else f"exit code {code}"
        found[""] = CheckResult("unknown", said or "no output")
    return found


def _of_levels(data: str) -> int:
    """Return the state that the levels of the values give, the worst of all: `label=value;warning;critical`."""
    worst = 0
    for part in data.split("|"):
        numbers = [_number(each) for each in part.partition("=")[2].split(";")]
        if not numbers or numbers[0] is None:
            return 3
        levels = [*numbers[1:3], None, None][:2]
        reached = [place for place, level in enumerate(levels, start=1) if level is not None and numbers[0] >= level]
        worst = max([worst, *reached])
    return worst


def _number(text: str) -> float | None:
    found = re.match(r"[-+]?\d+(\.\d+)?", text)
    return None if found is None else float(found[0])


def _json(code: int, output: str) -> dict[str, CheckResult]:
    try:
        read = json.loads(output)
    except (ValueError, RecursionError):
        return {"": CheckResult("unknown", f"not JSON: {first_line(output)}"[:TEXT_MAX])}
    if isinstance(read, dict):
        return {"": _of_object(read, code)}
    if not isinstance(read, list):
        return {"": CheckResult("unknown", "not an object or an array of objects")}
    objects = [each for each in read if isinstance(each, dict)][:SERVICES_MAX]
    return {str(each.get("name", ""))[:_NAME_MAX]: _of_object(each, 0) for each in objects}


def _of_object(read: dict[str, Any], code: int) -> CheckResult:
    """Return the result of an object. The state may be missing: then it is the exit code."""
    state = judge(read["state"]) if "state" in read else STATES.get(code, "unknown")
    values = read.get("values")
    readings = {
        str(label)[:_NAME_MAX]: CheckReading(_metric(str(label)), _reading(value))
        for label, value in list(values.items() if isinstance(values, dict) else ())[:READINGS_MAX]
    }
    return CheckResult(state, first_line(str(read.get("text", ""))), readings)


def _metric(label: str) -> str:
    """Return the metric of a label that ends in its unit."""
    return METRIC_OF_UNIT[next((unit for suffix, unit in _SUFFIXES.items() if label.endswith(suffix)), "")]


def _reading(value: object) -> float | None:
    """Return a number of JSON; None for anything else, and for a number that no reading can be."""
    if not isinstance(value, int | float) or isinstance(value, bool) or not abs(value) <= READING_MAX:
        return None
    return float(value)
