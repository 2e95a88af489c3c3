"""The watch of one machine: its timelines that are not at rest, and its last sample."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from ingestor.alerts.plan import Plan
from ingestor.domain.machine import Description, Machine, within_tolerance
from ingestor.domain.presence import Presence
from schemas.alerts.condition import Condition
from schemas.alerts.readings import EarlierSamples, SamplePoint, hold_of, measure, read_value
from schemas.alerts.timeline import Decision, Timeline
from schemas.contract.messages import Vitals

Decided = tuple[Condition, Decision]


@dataclass(slots=True, eq=False)
class Watch:
    """A watched machine. `hold`: milliseconds for which a sample counts without another one."""

    machine: Machine
    plan: Plan
    hold: int
    version: int
    """Version of its organisation's rules from which the plan was made."""
    described: Description
    """Description from which the plan was made."""
    timelines: dict[str, Timeline] = field(default_factory=dict)
    earlier: EarlierSamples = field(default_factory=EarlierSamples)
    at: int = 0
    """Time of the newest sample."""
    since: int = 0
    """Time since which its rules are these, as far as it is known: nothing earlier is evaluated again."""
    late: int = 0
    """Number of late samples of its streams that were noticed."""
    queued: dict[str, int] = field(default_factory=dict)
    """Times of the next decisions that are scheduled, by rule."""
    alerted_until: int = 0
    """Time of the last decision: an earlier sample may correct an alert."""

    @property
    def is_retired(self) -> bool:
        """Whether the machine is retired, and has no alerts."""
        return self.machine.state.presence is Presence.RETIRED

    def passes_quietly(self, at: int, vitals: Vitals, extra: Mapping[str, float | None]) -> bool:
        """Return whether a sample without series that fulfils no other condition fulfils none on its change either.

        The sample is remembered then. Creates no objects to keep: most samples of a fleet pass here.
        """
        earlier, plan = self.earlier, self.plan
        readings, passed = earlier.readings, at - earlier.at
        if 0 < passed <= self.hold:
            for metric, low, high in plan.rates:  # `increase_per_second`, without calling it
                now, before = getattr(vitals, metric), readings[metric]
                if now is None or before is None or now < before:
                    continue
                if not low < (now - before) * 1000 / passed < high:
                    return False
        if plan.rarer:
            point = SamplePoint(at, vitals, extra, 0)
            if any(each.verdict(read_value(each.rule, point, earlier, self.hold), active=False) for each in plan.rarer):
                return False
            earlier.add(point)
        for metric, _, _ in plan.rates:
            readings[metric] = getattr(vitals, metric)
        earlier.at = self.at = at
        return True

    def add_sample(self, point: SamplePoint, *, quiet: bool) -> Iterator[Decided]:
        """Add the newest sample; yield what it decides. `quiet`: it fulfils no condition (`Plan.is_quiet`)."""
        self.at = point.at
        at_rest = quiet and not self.timelines
        for condition in self.plan.remembering if at_rest else self.plan.candidates(point, self.timelines):
            rule, found = condition.rule, measure(condition.rule, point, self.earlier, self.hold)
            if found is None:
                continue
            if rule.name in self.timelines or condition.verdict(found.value, active=False):
                for decision in self.add(condition, point.at, found.value, hold_of(rule, self.hold), found.device):
                    yield condition, decision
        self.earlier.add(point)

    def select(self, plan: Plan) -> None:
        """Replace the plan; keep the readings on which its rules depend too."""
        before, self.plan = self.earlier.readings, plan
        self.earlier.readings = {metric: before.get(metric) for metric in plan.compared}

    def add_goodbye(self, at: int) -> Iterator[Decided]:
        """Add the time at which the machine stopped in order: its samples are not known after it."""
        for condition in self.plan.sampled:
            if condition.rule.name in self.timelines:
                for decision in self.add(condition, max(at, self.at), None, hold_of(condition.rule, self.hold)):
                    yield condition, decision

    def add(
        self, condition: Condition, at: int, value: float | None, hold: int | None = None, device: str = ""
    ) -> list[Decision]:
        """Add a value to the timeline of one rule; return what it decides: of a retired machine nothing."""
        if at < condition.since or self.is_retired:
            return []
        name = condition.rule.name
        timeline = self.timelines.get(name)
        if timeline is None:
            timeline = Timeline(condition, hold)
        decisions = timeline.add(max(at, timeline.at), value, device)
        if timeline.is_at_rest:
            self.timelines.pop(name, None)
        else:
            self.timelines[name] = timeline
        return decisions


def newest_at(machine: Machine) -> int:
    """Return the time of a machine's newest live sample by the server's clock; 0 if there is none."""
    sampled_at = machine.latest.sampled_at
    return 0 if sampled_at is None else sampled_at + within_tolerance(machine.clock.milliseconds)
