"""The watch of one machine: its timelines that are not at rest, and its last sample."""

from collections.abc import Iterator
from dataclasses import dataclass, field

from ingestor.alerts.plan import Plan
from ingestor.domain.machine import Description, Machine
from schemas.alerts.condition import Condition
from schemas.alerts.readings import EarlierSamples, SamplePoint, hold_of, measure
from schemas.alerts.timeline import Decision, Timeline

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

    def stays_at_rest(self, point: SamplePoint) -> bool:
        """Return whether a sample that fulfils no other condition fulfils none on its change either."""
        for condition in self.plan.remembering:
            found = measure(condition.rule, point, self.earlier, self.hold)
            if found is not None and condition.verdict(found.value, active=False):
                return False
        return True

    def add_sample(self, point: SamplePoint, *, quiet: bool) -> Iterator[Decided]:
        """Add the newest sample; yield what it decides. `quiet`: it fulfils no condition (`Plan.is_quiet`)."""
        before = self.earlier
        self.remember(point)
        for condition in self.plan.remembering if quiet and not self.timelines else self.plan.sampled:
            rule, found = condition.rule, measure(condition.rule, point, before, self.hold)
            if found is None:
                continue
            if rule.name in self.timelines or condition.verdict(found.value, active=False):
                for decision in self.add(condition, point.at, found.value, hold_of(rule, self.hold), found.device):
                    yield condition, decision

    def remember(self, point: SamplePoint) -> None:
        """Keep the newest sample for what depends on the one before."""
        self.earlier, self.at = self.earlier.then(point), point.at

    def add_goodbye(self, at: int) -> Iterator[Decided]:
        """Add the time at which the machine stopped in order: its samples are not known after it."""
        for condition in self.plan.sampled:
            if condition.rule.name in self.timelines:
                for decision in self.add(condition, max(at, self.at), None, hold_of(condition.rule, self.hold)):
                    yield condition, decision

    def add(
        self, condition: Condition, at: int, value: float | None, hold: int | None = None, device: str = ""
    ) -> list[Decision]:
        """Add a value to the timeline of one rule; return what it decides."""
        if at < condition.since:
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
