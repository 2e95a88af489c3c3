"""Reachability probes: targets of the machine's owner, and of operators within the owner's allow-list."""

from collections.abc import Mapping
from time import monotonic
from typing import ClassVar

from agent.collector import DetailCollector, Details, Item
from agent.host.calls.job_schedule import Job, JobSchedule
from agent.probes.running import ProbeState, RunningProbe
from runtime.settings.agent import AgentSettings
from runtime.settings.probe import Probe, RequestedProbe
from runtime.settings.probe_target import parse_pattern
from schemas.contract.facts import RANKS, FactValue
from schemas.contract.messages import Metric

FIRST_SECONDS = 4.0
"""Time for which the first reading waits for the probes, so that the first list after a start is complete."""


class Probes(DetailCollector):
    """Whether this machine reaches the targets of its probes, how fast, and how long their certificates are valid.

    The settings are `[agent.probes.NAME]`, and `probe_targets` for those of operators. An item is a target.
    """

    metrics = (
        Metric(name="probe_reachable", unit="", title="Reachable", device="target"),
        Metric(name="probe_seconds", unit="seconds", title="Response time", device="target"),
        Metric(name="probe_certificate_days", unit="days", title="Certificate, days left", device="target"),
    )
    facts = ("probes",)
    needs: ClassVar[str] = "probes in the settings; ICMP: net.ipv4.ping_group_range"
    cost: ClassVar[str] = "below 1 ms, and 1 to 3 ms for each attempt"

    def __init__(self, settings: AgentSettings) -> None:
        super().__init__(settings)
        self._running: dict[str, RunningProbe] = {}
        self._of: Mapping[str, Probe] = {}
        self._schedule: JobSchedule[ProbeState] = JobSchedule({}, monotonic, name="probe")

    def present(self) -> bool:
        """See `DetailCollector`."""
        return bool(self.settings.probes)

    def collect(self) -> Details:
        """Start the probes that are due, and return the last outcome of each."""
        is_new = self._follow(self.settings)
        self._schedule.step(tolerance_seconds=self.settings.detail_interval_seconds / 2)
        if is_new:
            self._schedule.wait(FIRST_SECONDS)
        details, items = Details(), dict[str, Item]()
        for name, probe in self._of.items():
            state = self._schedule.outcomes.get(name)
            items[probe.target] = _item(name, state)
            if state is not None:
                _add(details, probe.target, state)
        details.facts["probes"] = dict(sorted(items.items(), key=lambda pair: (RANKS[pair[1].health], pair[0])))
        return details

    def _follow(self, settings: AgentSettings) -> bool:
        """Use the probes that are in force; return whether others than before are."""
        if settings.probes == self._of:
            return False
        patterns = [parse_pattern(pattern) for pattern in settings.probe_targets]
        known, self._running = self._running, {}
        for name, probe in settings.probes.items():
            if self._of.get(name) != probe:
                known[name] = RunningProbe(probe, patterns if isinstance(probe, RequestedProbe) else None)
            self._running[name] = known[name]
        self._of = settings.probes
        self._schedule.replace(
            {name: Job(run.probe.interval_seconds or 0.0, run) for name, run in self._running.items()}
        )
        return True


def _item(name: str, state: ProbeState | None) -> Item:
    if state is None:
        return Item({"name": name, "output": "has not ended yet"}, "unknown")
    fields: dict[str, FactValue] = {"name": name, "reachable": state.reachable, "output": state.outcome.text}
    if state.outcome.certificate_days is not None:
        fields["certificate_days"] = int(state.outcome.certificate_days)
    return Item(fields, state.health)


def _add(details: Details, target: str, state: ProbeState) -> None:
    outcome = state.outcome
    if outcome.reachable is not None:
        details.add(target, probe_reachable=int(outcome.reachable))
        details.add(target, probe_seconds=None if outcome.seconds is None else round(outcome.seconds, 4))
    if outcome.certificate_days is not None:
        details.add(target, probe_certificate_days=round(outcome.certificate_days, 1))
