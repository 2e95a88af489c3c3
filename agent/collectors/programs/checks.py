"""Checks of the machine's owner: programs, and text files."""

import os
from time import monotonic
from typing import ClassVar

from agent.check_programs.result import CheckResult
from agent.check_programs.schedule import CheckSchedule
from agent.check_programs.text_files import read_directory
from agent.collector import DetailCollector, Details, Item
from runtime.settings.agent import AgentSettings
from schemas.contract.facts import RANKS, FactValue
from schemas.contract.messages import Metric

FIRST_SECONDS = 4.0
"""Time for which the first reading waits for the checks, so that the first list after a start is complete."""

_FILES = "textfile"


class Checks(DetailCollector):
    """State and performance data of the checks in the settings, and the readings in text files.

    The settings are `[agent.checks.NAME]` and `check_files`. A check that cannot be run, or whose output cannot be
    read, is unknown. The device of a reading is the check with the label.
    """

    metrics = (
        Metric(name="check_value", unit="", title="Check", device="check"),
        Metric(name="check_percent", unit="percent", title="Check, percent", device="check"),
        Metric(name="check_bytes", unit="bytes", title="Check, bytes", device="check"),
        Metric(name="check_seconds", unit="seconds", title="Check, seconds", device="check"),
        Metric(name="check_count", unit="count", title="Check, counter", device="check", kind="counter"),
        Metric(name="check_duration_seconds", unit="seconds", title="Duration of a check", device="check"),
    )
    facts = ("checks",)
    needs: ClassVar[str] = "Linux, and checks in the settings"
    cost: ClassVar[str] = "below 1 ms, and that of the checks"

    def __init__(self, settings: AgentSettings) -> None:
        super().__init__(settings)
        self._schedule = CheckSchedule(settings.checks, monotonic)
        self._is_first = True

    def present(self) -> bool:
        """See `DetailCollector`."""
        return os.name == "posix" and hasattr(os, "waitid") and bool(self.settings.checks or self.settings.check_files)

    def collect(self) -> Details:
        """Start the checks that are due, and return the last outcome of each."""
        self._schedule.step(tolerance_seconds=self.settings.detail_interval_seconds / 2)
        if self._is_first:
            self._is_first = False
            self._schedule.wait(FIRST_SECONDS)
        details, items = Details(), dict[str, Item]()
        for name in sorted(self.settings.checks.keys() - self._schedule.outcomes.keys()):
            items[name] = Item({"output": "has not ended yet"}, "unknown")
        for name, outcome in sorted(self._schedule.outcomes.items()):
            if outcome.seconds is not None:
                details.add(name, check_duration_seconds=round(outcome.seconds, 3))
            for service, result in outcome.results.items():
                _add(details, items, f"{name} {service}".strip(), result)
        for file, result in self._files().items():
            _add(details, items, f"{_FILES} {file}".strip(), result)
        ordered = sorted(items.items(), key=lambda pair: RANKS[pair[1].health])
        details.facts["checks"] = dict(ordered)
        return details

    def _files(self) -> dict[str, CheckResult]:
        if self.settings.check_files is None:
            return {}
        try:
            return read_directory(self.settings.check_files)
        except OSError as error:
            return {"": CheckResult("unknown", f"{self.settings.check_files}: {error.strerror}")}


def _add(details: Details, items: dict[str, Item], key: str, result: CheckResult) -> None:
    fields: dict[str, FactValue] = {"output": result.text} if result.text else {}
    for label, reading in result.readings.items():
        details.add(f"{key} {label}", **{reading.metric: reading.value})
    items[key] = Item(fields, result.state)
