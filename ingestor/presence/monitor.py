"""The presence monitor: applies time to presence, and derives incidents and alerts from it.

Invariants:
- While the ingestor cannot hear (no broker, no database, just started, stalled, or its clock was set) no presence timer
  runs: present machines are shown as unverified, and the timers start again when it hears.
- A machine that another ingestor is writing at this moment is left to it.
"""

import logging
from collections.abc import Callable, Collection, Iterable, Mapping

from ingestor.alerts.attention import Attention
from ingestor.alerts.engine import AlertEngine
from ingestor.alerts.retained_alerts import KEPT_SECONDS, RetainedAlerts
from ingestor.cluster.work_assignment import WorkAssignment
from ingestor.commands.dispatcher import Dispatcher
from ingestor.domain.batch import Batch
from ingestor.domain.incidents import Incidents
from ingestor.domain.machine import Machine
from ingestor.domain.presence import PresenceState, heard_lately, is_online, needs_tick, on_blind, on_tick
from ingestor.intake.machine_cache import MachineCache
from ingestor.intake.org_configs import OrgConfigs
from ingestor.intake.rate_limits import Client
from ingestor.outbound.queue import OutboundQueue
from ingestor.presence.reachability import Reachability
from ingestor.presence.retained_presence import RetainedPresence
from ingestor.storage.incident_store import read_alerts, read_incidents
from ingestor.storage.store import Store
from runtime.clock import Clock

TICK_SECONDS = 0.5
LATE_SECONDS = 0.1
"""Maximum delay of a tick after TICK_SECONDS: the time that an ingestor waits for messages."""

CLOCK_STEP_SECONDS = 2.0
STALL_SECONDS = 12.0
"""A longer time between two ticks means that messages waited unread, so silence proves nothing."""

REFRESH_ROUNDS = 15
"""Number of refreshes in which every machine is read again."""

log = logging.getLogger(__name__)


class PresenceMonitor:
    """Watches the presence of the cached machines."""

    def __init__(
        self,
        store: Store,
        cache: MachineCache,
        assignment: WorkAssignment,
        configs: OrgConfigs,
        alerts: AlertEngine,
        outbound: OutboundQueue,
        clock: Clock,
    ) -> None:
        self.hearing_since: int | None = None
        """Start of uninterrupted hearing, in milliseconds of the server's clock; None while blind."""
        self.retained = RetainedAlerts(outbound, cache, assignment, clock)
        """The retained messages of the alerts and incidents that are decided here."""
        self.retained_presence = RetainedPresence(
            outbound, cache, assignment, configs, clock, open_alerts=alerts.open_alerts
        )
        self._attention = Attention(store.engine, cache, assignment, clock)
        self._reachability = Reachability(store.engine, cache, assignment, configs, clock)
        self._store = store
        self._cache = cache
        self._assignment = assignment
        self._configs = configs
        self._alerts = alerts
        self._clock = clock
        self._ticked = (clock.now() / 1000, clock.monotonic())
        self._incidents = Incidents()
        self._refreshes = 0

    @property
    def is_hearing(self) -> bool:
        """Whether messages of machines are received."""
        return self.hearing_since is not None

    def load(self) -> None:
        """Read open incidents and alerts, after the machine cache."""
        quiet = ((machine.org, machine.name, machine.state) for machine in self._cache.machines)
        incidents = read_incidents(self._store.engine)
        open_ = (each for each in incidents if each.ended_at is None and self._assignment.owns(each.org))
        self._incidents = Incidents(open_, quiet, now=self._clock.now())
        active, ended = read_alerts(self._store.engine, self._clock.now() - KEPT_SECONDS * 1000)
        self._alerts.load(active, self._incidents)
        self.retained.load(active, ended, incidents)
        self.retained_presence.load()
        self._attention.load()

    def start_hearing(self) -> None:
        """Start the timers: messages of machines are received from now on."""
        self.hearing_since = self._clock.now()
        self._ticked = (self.hearing_since / 1000, self._clock.monotonic())
        self._incidents.hear_again(self.hearing_since)
        self.retained.publish_all()
        self.retained_presence.start()

    def restart_timers(self) -> None:
        """Start the timers again from now, to give machines that are new here time to be heard."""
        if self.hearing_since is not None:
            self.hearing_since = self._clock.now()

    def stop_hearing(self) -> None:
        """Stop the timers: no messages of machines are received."""
        self.hearing_since = None
        self.retained_presence.stop()

    def committed(self, batch: Batch) -> None:
        """Publish the presence, alerts and incidents that a committed batch has changed."""
        self.retained_presence.committed(batch)
        self.retained.committed(batch)

    def go_blind(self, batch: Batch, reason: str) -> None:
        """Stop the timers: the broker is gone."""
        if self.hearing_since is None:
            return
        self.stop_hearing()
        if self._assignment.leads:
            self._incidents.go_blind(reason, self._clock.now())
        self.mark_unverified(batch, self._cache.machines)

    def mark_unverified(self, batch: Batch, machines: Iterable[Machine]) -> None:
        """Mark these machines as unverified until they are heard again."""
        if self._assignment.decides:
            self.change(batch, machines, lambda machine: on_blind(machine.state))

    def change(self, batch: Batch, machines: Iterable[Machine], after: Callable[[Machine], PresenceState]) -> None:
        """Set the presence of these machines to the result of `after`, as far as they can be locked."""
        changing = [
            machine
            for machine in machines
            if (state := after(machine)) is not machine.state and state != machine.state  # the first test is quick
        ]
        locked = self.lock(changing)
        for machine in changing:
            if machine.id in locked and after(machine) != machine.state:
                batch.change_presence(machine, after(machine), self._clock.now())

    def lock(self, machines: Collection[Machine]) -> Collection[int]:
        """Lock machines for this batch, and return the ids of those that were (`ingestor.storage.row_locks`)."""
        before = [(machine, machine.state) for machine in machines]
        locked = self._store.locks.acquire(machines)
        self._record_changes(before)
        return locked

    def refresh(self, batch: Batch, dispatcher: Dispatcher) -> None:
        """Read what other ingestors wrote: of machines that are not online or have open commands, and some others.

        What this batch writes is known; silence is checked anyway (`change` locks first).
        """
        if not self._store.locks.shared:
            return
        self._refreshes = (self._refreshes + 1) % REFRESH_ROUNDS
        others = [machine for machine in self._cache.machines if machine.id not in batch.machines]
        waiting = [machine for machine in others if not is_online(machine.state)]
        waiting += [machine for machine in others if dispatcher.open_count(machine)]
        waiting += others[self._refreshes :: REFRESH_ROUNDS]
        before = [(machine, machine.state) for machine in waiting]
        changed = self._store.locks.refresh(waiting)
        dispatcher.check_machines(changed)
        self._record_changes(before)
        self._alerts.refreshed(changed)
        self.retained_presence.changed(changed)

    def tick(self, batch: Batch, dropped: Mapping[Client, int]) -> None:
        """Apply the passing of time. `dropped`: messages above a rate limit since the last call, by client."""
        now = self._clock.now()
        if self.is_hearing and not self._time_flowed(now):
            log.warning("the clock was set, or this process stalled: presence is unverified until machines are heard")
            self.hearing_since = now
            self.mark_unverified(batch, self._cache.machines)
        decides = self._assignment.decides and self.is_hearing
        if decides:
            self._apply_thresholds(batch, now)
        for (org, name), number in dropped.items():
            self._incidents.noise(org, name, number, now)
        self._incidents.tick(self._cache.count, now)
        self.retained.expire()
        self.retained_presence.tick()
        if decides:
            self._reachability.step(self._incidents, now)
            self._alerts.evaluate(self._incidents, now)

    def derive(self, batch: Batch) -> None:
        """Add the incidents and alerts to the batch that were started, changed or ended by its content."""
        for change in batch.transitions:
            machine = change.machine
            self._incidents.presence_changed(machine.org, machine.name, change.before, change.after, change.at)
        for machine in batch.clones:
            log.warning("two agents run as %s/%s: their outboxes alternate", machine.org, machine.name)
            streams = (machine.identity.stream, machine.identity.replaced)
            self._incidents.identity_shared(machine.org, machine.name, streams, self._clock.now())
        batch.incidents = self._incidents.changed()
        self._alerts.derive(batch, self._clock.now(), hearing=self.is_hearing)
        if batch.changes:  # a request may have changed what is acknowledged or silenced
            self._attention.reload()
        self._attention.apply(batch, self.retained.active)

    def _apply_thresholds(self, batch: Batch, now: int) -> None:
        until_next = TICK_SECONDS + LATE_SECONDS
        orgs = {machine.org for machine in self._cache.machines}
        lately = {org: heard_lately(self._configs.of(org), now, until_next_seconds=until_next) for org in orgs}

        def ticked(machine: Machine) -> PresenceState:
            config, since = self._configs.of(machine.org), self.hearing_since
            if since is not None and machine.left_at > since:
                since = machine.left_at
            return on_tick(machine.state, config, now, hearing_since=since, until_next_seconds=until_next)

        self.change(
            batch,
            [machine for machine in self._cache.machines if needs_tick(machine.state, lately[machine.org])],
            ticked,
        )

    def _time_flowed(self, now: int) -> bool:
        """Return whether both clocks have advanced by the same time since the last tick, and not by too much."""
        before, self._ticked = self._ticked, (now / 1000, self._clock.monotonic())
        wall, monotonic = self._ticked[0] - before[0], self._ticked[1] - before[1]
        return abs(wall - monotonic) <= CLOCK_STEP_SECONDS and monotonic <= STALL_SECONDS

    def _record_changes(self, before: Iterable[tuple[Machine, PresenceState]]) -> None:
        for machine, state in before:
            if machine.state is not state:
                self.retained_presence.changed([machine])
            if machine.state.presence is not state.presence:
                now = self._clock.now()
                self._incidents.presence_changed(machine.org, machine.name, state, machine.state, now)
                self._alerts.presence_adopted(machine, now)
