"""The alert engine: evaluates rules, and opens, ends and corrects alerts.

Invariants:
- An alert is opened and ended in a transaction; `ingestor.alerts.retained_alerts` publishes it after the COMMIT.
- A rule is evaluated when its signal changes (a sample, a change of presence) and when one of its durations ends, never
  the whole fleet by turns. While the ingestor is blind nothing is evaluated.
- Begin and end of an alert are those of its condition, by the server's time of the samples. Late samples correct both
  (`ingestor.alerts.late_data`).
- A machine that is retired or was never heard has no alerts. A rule that is removed, disabled or changed, or no longer
  selects the machine, ends its alerts.
- Each ingestor evaluates the organisations that it owns.
"""

from collections.abc import Collection, Iterable

from sqlalchemy import Engine

from ingestor.alerts.durations import Durations
from ingestor.alerts.fact_signals import FactSignals, ItemSignal
from ingestor.alerts.late_data import Evaluated, LateData
from ingestor.alerts.open_alerts import OpenAlerts
from ingestor.alerts.other_signals import OtherSignals, changes
from ingestor.alerts.plan import AWAY_REASONS, away_value
from ingestor.alerts.python_rules import PythonRules
from ingestor.alerts.rule import Rule
from ingestor.alerts.rule_book import RuleBook
from ingestor.alerts.watch import Decided, Watch, newest_at
from ingestor.cluster.work_assignment import WorkAssignment
from ingestor.domain.alert import Alert
from ingestor.domain.batch import Arrived, Batch, Transition
from ingestor.domain.incidents import Incidents
from ingestor.domain.machine import Machine, within_tolerance
from ingestor.domain.presence import Presence, is_online
from ingestor.domain.stale_thresholds import stale_after_seconds
from ingestor.intake.machine_cache import MachineCache
from ingestor.intake.org_configs import OrgConfigs
from ingestor.storage.alert_store import GRACEFUL, last_ends, oldest_new_minute, read_newest_series
from runtime.clock import Clock
from schemas.alerts.condition import Condition
from schemas.alerts.readings import SamplePoint, hold_of, is_sampled
from schemas.alerts.timeline import Timeline

_RETIRED = Presence.RETIRED
"""Looked up once: that of a member of an enumeration would be a tenth of the cost of a quiet sample."""

CORRECTABLE = 7 * 86_400_000
"""Time for which an ended alert may still be corrected."""


class AlertEngine:
    """Evaluates the rules of the organisations, and `rules` in Python, for the machines in `cache`."""

    def __init__(
        self,
        engine: Engine,
        rules: Collection[Rule],
        cache: MachineCache,
        assignment: WorkAssignment,
        configs: OrgConfigs,
        clock: Clock,
        *,
        tick_seconds: float,
    ) -> None:
        self._engine = engine
        self._cache = cache
        self._owns = assignment.owns
        self._configs = configs
        self._clock = clock
        self._alerts = OpenAlerts(clock)
        self._durations = Durations()
        self._python = PythonRules(rules, self._alerts, self._durations, configs, tick_seconds=tick_seconds)
        self._late = LateData(engine, clock)
        self._book = RuleBook(engine, configs, clock)
        self._others = OtherSignals(engine, clock)
        self._facts = FactSignals(engine, clock)
        self._watches: dict[int, Watch] = {}
        self._silenced: set[str] = set()
        """Organisations with a mass silence."""

    def load(self, active: Iterable[Alert], incidents: Incidents) -> None:
        """Replace everything by what the database has, after the machine cache was loaded."""
        self._alerts.load(alert for alert in active if self._owns(alert.org))
        self._late.clear()
        self._python.clear()
        self._watches.clear()
        with self._engine.connect() as connection:
            self._book.load(connection)
            self._others.load(connection, self._cache)
            self._facts.load(connection)
            mine = {machine.id for machine in self._cache.machines if self._owns(machine.org)}
            self._durations.load(connection, mine)
            ends = last_ends(connection, self._clock.now() - CORRECTABLE)
        self._silenced = {org for org in self._book.orgs if incidents.is_mass_silence(org)}
        for machine in self._cache.machines:
            if self._owns(machine.org) and machine.state.presence is not Presence.UNKNOWN:
                self._resume(machine, ends.get(machine.id, 0))

    def evaluate(self, incidents: Incidents, now: int) -> None:
        """Apply what changes with time: rules, mass silences, counts and forecasts; called at each tick."""
        if changed := self._book.refresh():
            for machine in self._cache.machines:
                if machine.org in changed and self._owns(machine.org):
                    self._reselect(self._watch(machine), now)
            self._others.reselected()
        silenced = {org for org in self._book.orgs if incidents.is_mass_silence(org)}
        if differing := silenced ^ self._silenced:
            self._silenced = silenced
            for machine in self._cache.machines:
                if machine.org in differing and self._owns(machine.org):
                    self._add_away(self._watch(machine), now)
        self._add_items(self._others.step(self._watches, now), now)
        self._add_items(self._facts.step(self._watches), now)
        self._python.evaluate(self._cache.machines, self._applies_in_python, incidents, now)

    def refreshed(self, machines: Iterable[Machine]) -> None:
        """Notice the samples of these machines that another ingestor has stored."""
        for machine in machines:
            if not self._owns(machine.org) or machine.latest.sampled_at is None:
                continue
            watch = self._watch(machine)
            at, late = newest_at(machine), sum(stream.late for stream in machine.streams.values())
            if late != watch.late or (at > watch.at and not self._is_well(watch)):
                oldest = watch.at if late == watch.late else oldest_new_minute(self._engine, machine.id)
                self._late.mark(watch, min(oldest or at, at))
            watch.late, watch.at = late, max(watch.at, at)

    def presence_adopted(self, machine: Machine, now: int) -> None:
        """Notice a presence that another ingestor has stored."""
        if self._owns(machine.org):
            self._add_away(self._watch(machine), now)

    def names(self, org: str) -> Collection[str]:
        """Return the names of the rules that may have alerts in an organisation."""
        return self._python.names | self._book.names(org)

    def open_alerts(self, machine: int) -> Collection[Alert]:
        """Return the open alerts of a machine, by its id."""
        return self._alerts.of(machine)

    def derive(self, batch: Batch, now: int, *, hearing: bool) -> None:
        """Evaluate what a batch brings, late data of earlier batches, and the durations that have ended."""
        if (evaluated := self._late.step(now)) is not None:
            self._correct(evaluated, now)
        self._add_inventories([machine for machine, _ in batch.infos.values()], now)
        for arrived in batch.samples:
            self._add_sample(arrived)
        for change in batch.transitions:
            if self._owns(change.machine.org):
                self._change_presence(change)
        for machine in self._others.count_rejections(batch.dead_letters, self._cache):
            watch = self._watch(machine)
            for condition in watch.plan.of_kind("rejected"):
                self._add_value(watch, condition, now, self._others.rejections(machine.id, now))
        for facts in batch.facts.values():
            self._add_items(self._facts.received(self._watch(facts.machine), facts), now)
        if hearing:
            self._decide_due(now)
        batch.alerts, batch.pending = self._alerts.changed(), self._durations.changed()

    def _add_inventories(self, machines: Iterable[Machine], now: int) -> None:
        for machine in machines:
            watch = self._watches.get(machine.id)
            if watch is not None and watch.described is not machine.description:
                for condition, value in changes(watch):
                    self._add_value(watch, condition, now, value)
                self._reselect(watch, now)

    def _applies_in_python(self, machine: Machine, rule: str) -> bool:
        return self._owns(machine.org) and rule not in self._book.names(machine.org)

    def _watch(self, machine: Machine) -> Watch:
        watch = self._watches.get(machine.id)
        if watch is None:
            hold, version = self._hold(machine), self._book.version(machine.org)
            watch = Watch(machine, self._book.plan(machine), hold, version, machine.description)
            watch.select(watch.plan)
            self._watches[machine.id] = watch
        return watch

    def _hold(self, machine: Machine) -> int:
        return round(1000 * stale_after_seconds(self._configs.of(machine.org), machine.state.interval_seconds))

    def _is_well(self, watch: Watch) -> bool:
        latest, offset = watch.machine.latest, within_tolerance(watch.machine.clock.milliseconds)
        at_rest = not watch.timelines and not watch.plan.remembering
        if at_rest and watch.plan.devices:
            at_rest = watch.plan.has_quiet_devices(read_newest_series(self._engine, watch.machine.id))
        return at_rest and watch.plan.is_quiet(latest.vitals, latest.extra, offset)

    def _resume(self, machine: Machine, last_end: int) -> None:
        """Go on with the alerts and the state that a machine had when it was stored."""
        watch, now = self._watch(machine), self._clock.now()
        watch.alerted_until = last_end
        watch.late = sum(stream.late for stream in machine.streams.values())
        retired = machine.state.presence is Presence.RETIRED
        for alert in self._alerts.of(machine.id):
            condition = watch.plan.conditions.get(alert.rule)
            changed = condition is not None and alert.started_at < condition.since
            if retired or changed or (condition is None and alert.rule not in self._python.names):
                self._alerts.withdraw(alert, now)
            elif condition is not None:
                hold = hold_of(condition.rule, watch.hold) if is_sampled(condition.rule) else None
                watch.timelines[alert.rule] = timeline = Timeline(condition, hold, active_since=alert.started_at)
                self._durations.restore(machine.id, timeline)
                if (signal := self._others.resumed(watch, condition, alert.started_at, now)) is not None:
                    self._add_value(watch, condition, *signal)
        self._durations.resume(watch, self._python.names)
        if retired:
            return
        if machine.latest.sampled_at is not None:
            watch.at = newest_at(machine)
            if not self._is_well(watch):
                self._late.mark(watch, watch.at)
        if machine.state.presence in (Presence.OFFLINE, Presence.EXPIRED):
            self._add_away(watch, machine.state.since_at)

    def _reselect(self, watch: Watch, now: int) -> None:
        """Find the rules that apply to a machine now; end the alerts of those that do not any more, or are others."""
        before, machine = watch.plan, watch.machine
        watch.select(self._book.plan(machine))
        watch.described = machine.description
        watch.version, watch.hold = self._book.version(machine.org), self._hold(machine)
        if watch.plan is before:
            return
        new = watch.plan.conditions
        for name, timeline in list(watch.timelines.items()):
            condition = new.get(name)
            if condition is not None and condition.is_same_rule(timeline.condition):
                timeline.condition = condition  # perhaps with another threshold of the health parameters
            else:
                del watch.timelines[name]
                self._durations.follow(watch, name)
                if (alert := self._alerts.get(machine.id, name)) is not None:
                    self._alerts.withdraw(alert, now)
        if new.keys() - before.conditions.keys():
            watch.since = now
        if machine.state.presence is not Presence.RETIRED:
            self._add_away(watch, now)

    def _add_sample(self, arrived: Arrived) -> None:
        watch = self._watches.get(arrived.machine.id) or self._watch(arrived.machine)
        sample, offset, plan = arrived.sample, arrived.clock_offset, watch.plan
        at, received_at = sample.sampled_at + offset, arrived.received_at
        if at > received_at:  # comparisons rather than min and max: most of the cost of a rule is here
            at = received_at
        quiet = plan.is_quiet(sample.vitals, sample.extra, offset) and (
            not sample.series or plan.has_quiet_devices(sample.series)
        )
        at_rest = quiet and not watch.timelines and not plan.remembering
        if at < watch.at or at < watch.alerted_until or at < received_at - watch.hold:
            if not at_rest or at <= watch.alerted_until:
                self._late.mark(watch, at)
        elif at_rest:
            watch.at = at
        elif arrived.machine.state.presence is _RETIRED:
            return
        elif sample.series or not quiet or watch.timelines or not watch.passes_quietly(at, sample.vitals, sample.extra):
            point = SamplePoint(at, sample.vitals, sample.extra, offset, sample.series)
            self._decide(watch, watch.add_sample(point, quiet=quiet))
            for name in watch.timelines:
                self._durations.follow(watch, name)

    def _add_items(self, signals: Iterable[ItemSignal], now: int) -> None:
        for watch, condition, found in signals:
            decisions = watch.add(condition, now, found.value, device=found.device)
            self._decide(watch, ((condition, decision) for decision in decisions))
            self._durations.follow(watch, condition.rule.name)

    def _add_value(self, watch: Watch, condition: Condition, at: int, value: float | None, detail: str = "") -> None:
        decisions = watch.add(condition, at, value)
        self._decide(watch, ((condition, decision) for decision in decisions), detail)
        self._durations.follow(watch, condition.rule.name)

    def _add_away(self, watch: Watch, at: int) -> None:
        state = watch.machine.state
        value = away_value(state, mass_silence=watch.machine.org in self._silenced)
        for condition in watch.plan.of_kind("away"):
            if value or condition.rule.name in watch.timelines:
                self._add_value(watch, condition, max(at, condition.since), value, AWAY_REASONS.get(state.reason, ""))

    def _change_presence(self, change: Transition) -> None:
        watch, after = self._watch(change.machine), change.after
        if after.presence is Presence.RETIRED:
            watch.timelines.clear()
            self._durations.forget(watch)
            for alert in self._alerts.of(change.machine.id):
                self._alerts.withdraw(alert, change.at)
            return
        if after.presence is Presence.OFFLINE and after.reason in GRACEFUL:
            self._decide(watch, watch.add_goodbye(change.at))
        self._add_away(watch, change.at)

    def _decide_due(self, now: int) -> None:
        """Decide the durations that have ended. Of a machine that is not online, samples may be missing: they wait."""
        for watch, timeline in self._durations.ended(self._watches, now):
            if timeline.hold is not None and not is_online(watch.machine.state):
                continue
            decision, name = timeline.advance(now), timeline.condition.rule.name
            if timeline.is_at_rest:
                del watch.timelines[name]
            self._durations.follow(watch, name)
            if decision is not None:
                self._decide(watch, [(timeline.condition, decision)], self._detail(watch, timeline.condition))

    def _detail(self, watch: Watch, condition: Condition) -> str:
        return AWAY_REASONS.get(watch.machine.state.reason, "") if condition.rule.kind == "away" else ""

    def _decide(self, watch: Watch, decided: Iterable[Decided], detail: str = "") -> None:
        for condition, decision in decided:
            self._alerts.decide(watch.machine, condition, decision, detail)
            watch.alerted_until = max(watch.alerted_until, decision.decided_at)

    def _correct(self, evaluated: Evaluated, now: int) -> None:
        """Make the recorded alerts those of the stored samples, and go on from there."""
        watch, replay = evaluated.watch, evaluated.replay
        if self._watches.get(watch.machine.id) is not watch or watch.is_retired:
            return
        for name, timeline in replay.timelines.items():
            recorded, spans = evaluated.settle(name, now)
            self._alerts.correct(watch.machine, timeline.condition, recorded, spans)
            if recorded or spans:
                watch.alerted_until = max(watch.alerted_until, now)
            if evaluated.until is None:
                watch.timelines.pop(name, None)
                if not timeline.is_at_rest:
                    watch.timelines[name] = timeline
                    self._durations.follow(watch, name)
        if evaluated.until is None and replay.earlier.at:
            watch.earlier, watch.at = replay.earlier, max(watch.at, replay.earlier.at)
