"""The alert engine: evaluates rules, and opens and closes alerts.

Invariants:
- An alert is opened and closed in a transaction; `ingestor.alerts.retained_alerts` publishes it after the COMMIT.
- While the ingestor is blind no machine is evaluated. A rule without a result opens nothing and closes nothing.
- A machine that is retired or was never heard has no alerts.
- Each ingestor evaluates the organisations that it owns.
- The whole fleet is evaluated every EVALUATION_SECONDS, a part of it at each tick, so that no tick is long.
"""

from collections.abc import Collection, Iterable
from itertools import islice

from ingestor.alerts.rule import Facts, Rule
from ingestor.cluster.work_assignment import WorkAssignment
from ingestor.domain.alert import Alert, AlertKey
from ingestor.domain.incidents import Incidents
from ingestor.domain.machine import Machine
from ingestor.domain.presence import Presence
from ingestor.intake.org_configs import OrgConfigs
from runtime.clock import Clock

EVALUATION_SECONDS = 5.0


class AlertEngine:
    """Evaluates `rules`. `tick_seconds`: interval at which `evaluate` is called."""

    def __init__(
        self,
        rules: Collection[Rule],
        assignment: WorkAssignment,
        configs: OrgConfigs,
        clock: Clock,
        *,
        tick_seconds: float,
    ) -> None:
        self.rules = rules
        self._assignment = assignment
        self._configs = configs
        self._clock = clock
        self._rounds = max(1, round(EVALUATION_SECONDS / tick_seconds))
        self._round = 0
        self._open: dict[AlertKey, Alert] = {}
        self._differs_since: dict[AlertKey, float] = {}
        """Time since which a rule's result differs from the state of its alert."""
        self._changed: list[Alert] = []

    def load(self, open_: Iterable[Alert]) -> None:
        """Replace the open alerts by those of the database."""
        self._open = {alert.key: alert for alert in open_ if self._assignment.owns(alert.org)}
        self._differs_since.clear()
        self._changed = []

    def evaluate(self, fleet: Collection[Machine], incidents: Incidents, now: int) -> None:
        """Evaluate a part of the fleet."""
        self._round = (self._round + 1) % self._rounds
        for machine in islice(fleet, self._round, None, self._rounds):
            if not self._assignment.owns(machine.org):
                continue
            facts = Facts(machine, self._configs.of(machine.org), incidents.is_mass_silence(machine.org))
            excluded = machine.state.presence in (Presence.RETIRED, Presence.UNKNOWN)
            for rule in self.rules:
                self._apply(rule, machine, "" if excluded else rule.evaluate(facts), now)

    def changed(self) -> list[Alert]:
        """Return the alerts that were opened or closed since the last call, to be stored."""
        found, self._changed = self._changed, []
        return found

    def _apply(self, rule: Rule, machine: Machine, result: str | None, now: int) -> None:
        key = (machine.id, rule.name)
        alert = self._open.get(key)
        if result is None or bool(result) == (alert is not None):
            self._differs_since.pop(key, None)
            return
        lasted = self._clock.monotonic() - self._differs_since.setdefault(key, self._clock.monotonic())
        if lasted < (rule.after_seconds if alert is None else rule.over_after_seconds):
            return
        del self._differs_since[key]
        if alert is None:
            since, facts = now - round(lasted * 1000), (rule.name, rule.title, rule.severity)
            alert = self._open[key] = Alert(machine.id, machine.org, machine.name, *facts, since, result[:256])
        else:
            alert.ended_at = now
            del self._open[key]
        self._changed.append(alert)
