"""Rules in Python: the whole fleet is evaluated every EVALUATION_SECONDS, a part of it at each tick.

Invariants:
- Such a rule sees what the ingestor has in memory (`ingestor.alerts.rule.Facts`), so late samples do not correct its
  alerts.
- A rule in the database with the same name replaces it in that organisation.
"""

from collections.abc import Callable, Collection
from itertools import islice

from ingestor.alerts.durations import Durations
from ingestor.alerts.open_alerts import OpenAlerts
from ingestor.alerts.rule import Facts, Rule
from ingestor.domain.alert import AlertKey
from ingestor.domain.incidents import Incidents
from ingestor.domain.machine import Machine
from ingestor.domain.presence import Presence
from ingestor.intake.org_configs import OrgConfigs
from schemas.alerts.condition import Condition
from schemas.alerts.timeline import Timeline
from schemas.contract.alert_rules import AlertRule

EVALUATION_SECONDS = 5.0
_EXCLUDED = (Presence.RETIRED, Presence.UNKNOWN)


class PythonRules:
    """Evaluates `rules`. `tick_seconds`: interval at which `evaluate` is called."""

    def __init__(
        self,
        rules: Collection[Rule],
        alerts: OpenAlerts,
        durations: Durations,
        configs: OrgConfigs,
        *,
        tick_seconds: float,
    ) -> None:
        self.names = frozenset(rule.name for rule in rules)
        self._rules = [(rule, _condition(rule)) for rule in rules]
        self._alerts = alerts
        self._durations = durations
        self._configs = configs
        self._rounds = max(1, round(EVALUATION_SECONDS / tick_seconds))
        self._round = 0
        self._timelines: dict[AlertKey, Timeline] = {}

    def clear(self) -> None:
        """Forget what is in memory."""
        self._timelines.clear()

    def evaluate(
        self,
        fleet: Collection[Machine],
        applies: Callable[[Machine, str], bool],
        incidents: Incidents,
        now: int,
    ) -> None:
        """Evaluate a part of the fleet. `applies`: whether a rule of this name is evaluated here for a machine."""
        self._round = (self._round + 1) % self._rounds
        for machine in islice(fleet, self._round, None, self._rounds) if self._rules else ():
            facts = Facts(machine, self._configs.of(machine.org), incidents.is_mass_silence(machine.org))
            excluded = machine.state.presence in _EXCLUDED
            for rule, condition in self._rules:
                if applies(machine, rule.name):
                    self._apply(condition, machine, "" if excluded else rule.evaluate(facts), now)

    def _apply(self, condition: Condition, machine: Machine, result: str | None, now: int) -> None:
        key = (machine.id, condition.rule.name)
        timeline = self._timelines.get(key)
        if timeline is None:
            alert = self._alerts.get(*key)
            timeline = Timeline(condition, active_since=None if alert is None else alert.started_at)
            self._durations.restore(machine.id, timeline)
        value = None if result is None else float(bool(result))
        for decision in timeline.add(max(now, timeline.at), value):
            self._alerts.decide(machine, condition, decision, result or condition.rule.title)
        self._timelines.pop(key, None)
        if not timeline.is_at_rest:
            self._timelines[key] = timeline
        self._durations.note(*key, timeline)


def _condition(rule: Rule) -> Condition:
    described = AlertRule.model_construct(name=rule.name, title=rule.title, severity=rule.severity, kind="rejected")
    return Condition(described, 1.0, 1.0, round(rule.after_seconds * 1000), round(rule.over_after_seconds * 1000))
