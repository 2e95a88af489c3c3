"""A process of a simulation: `python -m agent.simulation`, with a SimulationPlan as JSON on standard input.

Writes lines of JSON to standard output: counts once a second, and the summary as the last one.
"""

import json
import logging
import sys
from collections import Counter

from agent.simulation.crowd import Crowd
from agent.simulation.machine import SimulationPlan
from runtime.clock import SystemClock
from runtime.process import StopSignal, raise_file_limit

_OWN_DESCRIPTORS = 64


def main() -> None:
    """Simulate the machines of the plan."""
    plan = SimulationPlan.model_validate_json(sys.stdin.readline())
    logging.basicConfig(level=logging.ERROR, format="%(name)s: %(message)s")
    raise_file_limit(plan.machines + _OWN_DESCRIPTORS)
    stop = StopSignal()
    summary = Crowd(plan, SystemClock()).run(lambda: stop.received, _report)
    _write(summary.model_dump_json())


def _report(counts: Counter[str]) -> None:
    _write(json.dumps({"progress": counts}))


def _write(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
