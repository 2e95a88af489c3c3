"""The rules of the organisations, and the plan of each machine.

Invariants:
- A change of a rule is in force after REFRESH_SECONDS, whichever process made it.
- A plan depends on the machine's labels, system and version, and on its name where a rule names machines. Machines that
  agree in these share one plan.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Engine
from sqlalchemy.engine import Connection

from ingestor.alerts.plan import Plan
from ingestor.domain.machine import Machine
from ingestor.intake.org_configs import OrgConfigs
from ingestor.storage.alert_store import StoredRule, read_rules, rules_fingerprint
from runtime.clock import Clock
from schemas.alerts.condition import resolve
from schemas.alerts.selection import select_rules
from schemas.contract.alert_rules import AlertRule
from schemas.contract.org_config import Thresholds

REFRESH_SECONDS = 1.0
PLANS_MAX = 10_000
"""Plans of one organisation that are kept: machines multiply them by their labels."""


@dataclass(slots=True)
class _OrgRules:
    """Rules of one organisation. `version` changes with the rules and the thresholds."""

    stored: Sequence[StoredRule] = ()
    thresholds: Thresholds = field(default_factory=Thresholds)
    version: int = 0
    plans: dict[object, Plan] = field(default_factory=dict)

    @property
    def rules(self) -> list[AlertRule]:
        return [each.rule for each in self.stored]


class RuleBook:
    """The rules in memory."""

    def __init__(self, engine: Engine, configs: OrgConfigs, clock: Clock) -> None:
        self._engine = engine
        self._configs = configs
        self._clock = clock
        self._orgs: dict[str, _OrgRules] = {}
        self._fingerprint: tuple[Any, ...] = ()
        self._refresh_at = 0.0
        self._versions = 0

    def load(self, connection: Connection) -> None:
        """Read all rules again."""
        self._refresh_at = self._clock.monotonic() + REFRESH_SECONDS
        self._fingerprint = rules_fingerprint(connection)
        stored = read_rules(connection)
        for org in self._orgs.keys() | stored.keys():
            self._update(org, stored.get(org, []))

    def refresh(self) -> set[str]:
        """Read the rules again if they changed; return the organisations whose rules or thresholds are others now."""
        if self._clock.monotonic() < self._refresh_at:
            return set()
        before = {org: rules.version for org, rules in self._orgs.items()}
        with self._engine.connect() as connection:
            if rules_fingerprint(connection) != self._fingerprint:
                self.load(connection)
        self._refresh_at = self._clock.monotonic() + REFRESH_SECONDS
        for org, rules in list(self._orgs.items()):
            self._update(org, rules.stored)
        return {org for org, rules in self._orgs.items() if rules.version != before.get(org)}

    @property
    def orgs(self) -> Collection[str]:
        """Organisations with rules."""
        return self._orgs.keys()

    def names(self, org: str) -> frozenset[str]:
        """Return the names of an organisation's rules."""
        return frozenset(each.rule.name for each in self._orgs.get(org, _OrgRules()).stored)

    def version(self, org: str) -> int:
        """Return the version of an organisation's rules."""
        rules = self._orgs.get(org)
        return 0 if rules is None else rules.version

    def plan(self, machine: Machine) -> Plan:
        """Return the plan of a machine as it is described now."""
        org = self._orgs.setdefault(machine.org, _OrgRules())
        described = machine.description
        named = any(each.rule.selector.machines for each in org.stored)
        labels = frozenset(described.labels.items())
        key = (described.os, described.agent_version, labels, machine.name if named else "")
        plan = org.plans.get(key)
        if plan is None:
            if len(org.plans) >= PLANS_MAX:
                org.plans.clear()
            plan = org.plans[key] = self._make(org, machine)
        return plan

    def _make(self, org: _OrgRules, machine: Machine) -> Plan:
        changed = {each.rule.name: each.changed_at for each in org.stored}
        rules = select_rules(org.rules, machine.name, machine.description)
        return Plan([resolve(rule, org.thresholds, changed[rule.name]) for rule in rules])

    def _update(self, org: str, stored: Sequence[StoredRule]) -> None:
        rules, thresholds = self._orgs.setdefault(org, _OrgRules()), self._configs.of(org).thresholds
        if (list(rules.stored), rules.thresholds) != (list(stored), thresholds) or not rules.version:
            self._versions += 1
            rules.stored, rules.thresholds, rules.version = stored, thresholds, self._versions
            rules.plans.clear()
