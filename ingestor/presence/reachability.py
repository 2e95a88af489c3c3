"""Targets that are down: an incident while enough of the machines that probe a target cannot reach it.

Invariants:
- The results are those in the database, whichever ingestor stored them; they are read every STEP_SECONDS.
- Of a machine that is not online the last result is old, and says nothing. While nothing is known of a target, its
  incident neither begins nor ends.
"""

from typing import Final

from sqlalchemy import Engine

from ingestor.cluster.work_assignment import WorkAssignment
from ingestor.domain.incidents import Incidents
from ingestor.domain.presence import is_online
from ingestor.domain.reachability import TargetState, judge_target, read_verdict
from ingestor.intake.machine_cache import MachineCache
from ingestor.intake.org_configs import OrgConfigs
from ingestor.storage.probe_store import read_failing, read_verdicts
from runtime.clock import Clock

STEP_SECONDS: Final = 5.0


class Reachability:
    """Judges the targets of the organisations that this ingestor owns."""

    def __init__(
        self, engine: Engine, cache: MachineCache, assignment: WorkAssignment, configs: OrgConfigs, clock: Clock
    ) -> None:
        self._engine = engine
        self._cache = cache
        self._owns = assignment.owns
        self._configs = configs
        self._clock = clock
        self._step_at = 0.0

    def step(self, incidents: Incidents, now: int) -> None:
        """Begin, change and end the incidents of targets; call it often, it acts every STEP_SECONDS."""
        if self._clock.monotonic() < self._step_at:
            return
        self._step_at = self._clock.monotonic() + STEP_SECONDS
        orgs = {org for org in {machine.org for machine in self._cache.machines} if self._owns(org)}
        targets = read_failing(self._engine, orgs)
        for org, target in incidents.open_targets():
            if org in orgs:
                targets.setdefault(org, set()).add(target)
        verdicts = read_verdicts(self._engine, targets)
        for org, found in targets.items():
            quorum = self._configs.of(org).unreachable_machines
            for target in sorted(found):
                rows = verdicts.get((org, target), [])
                said = (
                    read_verdict(row.name, row.health, row.fields, is_online=self._is_online(org, row.name))
                    for row in rows
                )
                self._apply(incidents, org, target, judge_target(said, quorum), now)

    def _is_online(self, org: str, name: str) -> bool:
        machine = self._cache.get(org, name)
        return machine is not None and is_online(machine.state) and machine.state.verified

    def _apply(self, incidents: Incidents, org: str, target: str, state: TargetState, now: int) -> None:
        if state.is_down:
            incidents.target_down(org, target, state.names, state.of, now)
        elif state.is_down is False:
            incidents.target_up(org, target, now)
