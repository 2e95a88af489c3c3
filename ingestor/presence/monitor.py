"""Who is there, as far as can be heard: what time makes of presence, and what of that is an incident or an alert.

Invariants:
- While the ingestor cannot hear (no broker, no database, just started, stalled, or its clock was set) no presence timer
  runs: what it shows as present is unverified, and the timers start again from the moment it can hear.
- What another ingestor hears of a machine just now is left to it.
"""

import logging
from collections.abc import Callable, Collection, Iterable, Mapping

from ingestor.alerts.engine import Alerts
from ingestor.cluster.work_assignment import Duties
from ingestor.domain.incidents import Incidents
from ingestor.domain.machine import Machine
from ingestor.domain.presence import PresenceState, heard_lately, needs_tick, on_blind, on_tick
from ingestor.intake.limits import Key
from ingestor.intake.machine_cache import Roster
from ingestor.intake.message_handlers import Batch, Intake
from ingestor.presence.org_configs import OrgConfigs
from ingestor.storage.store import Store

TICK_SECONDS = 0.5
LATE_SECONDS = 0.1
"""How much later than TICK_SECONDS a tick may come: as long as an ingestor waits for messages."""

CLOCK_STEP_SECONDS = 2.0
STALL_SECONDS = 12.0
"""Between two ticks: more means that messages waited unread, and silence says nothing."""

log = logging.getLogger(__name__)


class Watch:
    """`now`: the server's wall clock in milliseconds; `monotonic`: seconds that never step."""

    def __init__(
        self,
        store: Store,
        *,
        roster: Roster,
        duties: Duties,
        configs: OrgConfigs,
        intake: Intake,
        alerts: Alerts,
        now: Callable[[], int],
        monotonic: Callable[[], float],
    ) -> None:
        self.hearing_since: int | None = None
        """Since when it hears without a break; None while it is blind."""
        self._store = store
        self._roster = roster
        self._duties = duties
        self._configs = configs
        self._intake = intake
        self._alerts = alerts
        self._now = now
        self._monotonic = monotonic
        self._ticked = (now() / 1000, monotonic())
        self._incidents = Incidents()

    @property
    def is_hearing(self) -> bool:
        """Whether what machines say is heard."""
        return self.hearing_since is not None

    def load(self) -> None:
        """Read what lasts, after the roster was."""
        quiet = ((machine.org, machine.name, machine.state) for machine in self._roster.machines)
        still_open = (incident for incident in self._store.open_incidents() if self._duties.owns(incident.org))
        self._incidents = Incidents(still_open, quiet, now=self._now())
        self._alerts.load(*self._store.alerts())

    def begin_to_hear(self) -> None:
        """From now on what machines say is heard."""
        self.hearing_since = self._now()
        self._ticked = (self.hearing_since / 1000, self._monotonic())
        self._incidents.hear_again(self.hearing_since)
        self._alerts.connected()

    def listen_anew(self) -> None:
        """Give what is new time to be heard: the timers start again from now."""
        if self.hearing_since is not None:
            self.hearing_since = self._now()

    def go_blind(self, batch: Batch, reason: str) -> None:
        """The broker is gone."""
        if self.hearing_since is None:
            return
        self.hearing_since = None
        if self._duties.leads:
            self._incidents.go_blind(reason, self._now())
        self.blind(batch, self._roster.machines)

    def blind(self, batch: Batch, machines: Iterable[Machine]) -> None:
        """Nothing is known for sure of these machines until they are heard again."""
        if self._duties.decides:
            self.change(batch, machines, lambda machine: on_blind(machine.state))

    def change(self, batch: Batch, machines: Iterable[Machine], after: Callable[[Machine], PresenceState]) -> None:
        """Note what time, or an admin, made of these machines."""
        changing = [
            machine
            for machine in machines
            if (state := after(machine)) is not machine.state and state != machine.state  # the first test is quick
        ]
        held = self.hold(changing)
        for machine in changing:
            if machine.id in held and after(machine) != machine.state:
                self._intake.change(batch, machine, after(machine), self._now())

    def hold(self, machines: Collection[Machine]) -> Collection[int]:
        """The rows of those of these machines that this ingestor may write of now; see `ingestor.storage.row_locks`."""
        before = [(machine, machine.state) for machine in machines]
        held = self._store.holding.hold(machines)
        self._note_changed(before)
        return held

    def look_again(self, machines: Collection[Machine]) -> list[Machine]:
        """Learn what other ingestors wrote of these machines. Those of which they did."""
        before = [(machine, machine.state) for machine in machines]
        changed = self._store.holding.look_again(machines)
        self._note_changed(before)
        return changed

    def tick(self, batch: Batch, dropped: Mapping[Key, int]) -> None:
        """Time has passed. `dropped`: how many messages were over a limit since the last call, by whose it was."""
        now = self._now()
        if self.is_hearing and not self._time_flowed(now):
            log.warning("the clock was set, or this process stood still: presence is unverified until heard again")
            self.hearing_since = now
            self.blind(batch, self._roster.machines)
        if self._duties.decides and self.is_hearing:
            self._let_silences_run_out(batch, now)
        for (org, name), number in dropped.items():
            self._incidents.noise(org, name, number, now)
        self._incidents.tick(self._roster.count, now)
        if self._duties.decides and self.is_hearing:
            self._alerts.look(self._roster.machines, self._configs.of, self._incidents.is_mass_silence, now)

    def note(self, batch: Batch) -> None:
        """Add to the batch the incidents and alerts that what is in it began, changed or ended."""
        for change in batch.transitions:
            machine = change.machine
            self._incidents.presence_changed(machine.org, machine.name, change.before, change.after, change.at)
        for machine in batch.clones:
            log.warning("two copies of %s/%s run: their outboxes take turns", machine.org, machine.name)
            streams = (machine.identity.stream, machine.identity.replaced)
            self._incidents.identity_shared(machine.org, machine.name, streams, self._now())
        batch.incidents = self._incidents.changed()
        batch.alerts = self._alerts.changed()

    def _let_silences_run_out(self, batch: Batch, now: int) -> None:
        lasts = TICK_SECONDS + LATE_SECONDS
        orgs = {machine.org for machine in self._roster.machines}
        lately = {org: heard_lately(self._configs.of(org), now, until_next_seconds=lasts) for org in orgs}

        def ticked(machine: Machine) -> PresenceState:
            config = self._configs.of(machine.org)
            return on_tick(machine.state, config, now, hearing_since=self.hearing_since, until_next_seconds=lasts)

        self.change(
            batch,
            [machine for machine in self._roster.machines if needs_tick(machine.state, lately[machine.org])],
            ticked,
        )

    def _time_flowed(self, now: int) -> bool:
        """Whether as much time has passed on both clocks since the last tick, and not too much."""
        before, self._ticked = self._ticked, (now / 1000, self._monotonic())
        passed, really = self._ticked[0] - before[0], self._ticked[1] - before[1]
        return abs(passed - really) <= CLOCK_STEP_SECONDS and really <= STALL_SECONDS

    def _note_changed(self, before: Iterable[tuple[Machine, PresenceState]]) -> None:
        for machine, state in before:
            if machine.state.presence is not state.presence:
                self._incidents.presence_changed(machine.org, machine.name, state, machine.state, self._now())
