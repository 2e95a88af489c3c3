"""The derived presence of each machine, which the broker retains for every reader (`_presence/{machine}`).

Invariants:
- A message is published only after the COMMIT of what it says, and only while messages of machines are received.
- A machine is published when its visible state changes, not with each sample. A change of health alone is published at
  most every HEALTH_SECONDS of a machine, so that a reading that swings around a threshold costs little.
- Everything is published again on every connection, after every change of the assignment, and every REPEAT_SECONDS,
  behind the changes: the broker may have lost it, and an older ingestor may have replaced it. No step publishes more
  than EACH_STEP machines, so that samples never wait for long.
- An ingestor publishes the machines of the organisations that it owns. A machine that was never heard has no message;
  that of a removed one is cleared.
"""

from collections import deque
from collections.abc import Callable, Collection, Iterable

from ingestor.cluster.work_assignment import WorkAssignment
from ingestor.domain.alert import Alert
from ingestor.domain.batch import Batch
from ingestor.domain.machine import Machine
from ingestor.domain.presence import Presence
from ingestor.domain.visible_state import VisibleState, visible_state
from ingestor.intake.machine_cache import MachineCache
from ingestor.intake.org_configs import OrgConfigs
from ingestor.outbound.messages import cleared, presence_message
from ingestor.outbound.queue import OutboundQueue
from runtime.clock import Clock
from schemas.contract import topics

EACH_STEP = 500
HEALTH_SECONDS = 10
REPEAT_SECONDS = 3600
SWEEP_SECONDS = 5

OpenAlertsOf = Callable[[int], Collection[Alert]]
"""Returns the open alerts of a machine, by its id."""


class RetainedPresence:
    """Publishes the presence of the cached machines through `outbound`."""

    def __init__(
        self,
        outbound: OutboundQueue,
        cache: MachineCache,
        assignment: WorkAssignment,
        configs: OrgConfigs,
        clock: Clock,
        *,
        open_alerts: OpenAlertsOf,
    ) -> None:
        self._outbound = outbound
        self._cache = cache
        self._owns = assignment.owns
        self._configs = configs
        self._clock = clock
        self._open_alerts = open_alerts
        self._is_on = False
        self._published: dict[Machine, tuple[VisibleState, int]] = {}
        """The last message of each machine, and its time."""
        self._changed: dict[Machine, None] = {}
        """Machines to publish, in the order in which they changed."""
        self._held: set[Machine] = set()
        """Machines of which only the health has changed, too early to publish it."""
        self._repeat: deque[Machine] = deque()
        self._repeat_at = 0
        self._sweep_at = 0

    @property
    def more(self) -> bool:
        """Whether the last step left more to publish."""
        return bool(self._changed or self._repeat)

    def start(self) -> None:
        """Publish everything: messages of machines are received from now on."""
        self._is_on = True
        self._repeat_at = 0

    def stop(self) -> None:
        """Publish nothing: no messages of machines are received."""
        self._is_on = False
        self._forget_waiting()

    def load(self) -> None:
        """Begin again, after the machine cache was loaded; withdraw what another ingestor owns now."""
        gone = (machine for machine in self._published if not self._owns(machine.org))
        self._outbound.withdraw(topics.PRESENCE.at(org=machine.org, machine=machine.name) for machine in gone)
        self._published = {machine: last for machine, last in self._published.items() if self._owns(machine.org)}
        self._forget_waiting()
        self._repeat_at = 0

    def committed(self, batch: Batch) -> None:
        """Publish what a committed batch has changed."""
        self.changed(batch.machines.values())
        if batch.alerts:
            found = (self._cache.get(alert.org, alert.name) for alert in batch.alerts)
            self.changed(machine for machine in found if machine is not None)

    def changed(self, machines: Iterable[Machine]) -> None:
        """Publish these machines as far as their visible state, which is committed, is another one."""
        if not self._is_on:
            return
        for machine in machines:
            last, alerts = self._published.get(machine), self._open_alerts(machine.id)
            if last is not None and not alerts and last[0].is_of(machine):
                continue
            visible = visible_state(machine, alerts)
            if last is None or visible != last[0]:
                self._note(machine, visible, last)

    def step(self) -> None:
        """Publish the machines that changed, and the next ones of the repetition; call it after each commit."""
        if not self._is_on:
            return
        now = self._clock.now()
        if now >= self._repeat_at:
            self._repeat_at = now + REPEAT_SECONDS * 1000
            self._repeat = deque(self._cache.machines)
        for _ in range(EACH_STEP):
            if self._changed:
                machine = next(iter(self._changed))
            elif self._repeat:
                machine = self._repeat.popleft()
            else:
                break
            self._publish(machine, now)
        if now >= self._sweep_at:
            self._sweep_at = now + SWEEP_SECONDS * 1000
            self._clear_removed()

    def tick(self) -> None:
        """Publish the changes of health that were too early; call it often."""
        held, self._held = self._held, set()
        self.changed(held)

    def _note(self, machine: Machine, visible: VisibleState, last: tuple[VisibleState, int] | None) -> None:
        only_health = last is not None and visible.differs_in_health_only(last[0])
        if only_health and last is not None and 0 <= self._clock.now() - last[1] < HEALTH_SECONDS * 1000:
            self._held.add(machine)
        else:
            self._changed[machine] = None

    def _publish(self, machine: Machine, now: int) -> None:
        self._changed.pop(machine, None)
        self._held.discard(machine)
        is_known = machine.org in self._configs and self._cache.get(machine.org, machine.name) is machine
        if not is_known or not self._owns(machine.org) or machine.state.presence is Presence.UNKNOWN:
            return
        visible = visible_state(machine, self._open_alerts(machine.id))
        self._published[machine] = (visible, now)
        self._outbound.retain([presence_message(machine, visible)])

    def _clear_removed(self) -> None:
        """Clear the machines of removed organisations, and those that the database does not have any more."""
        for machine in list(self._published):
            cached = self._cache.get(machine.org, machine.name)
            if cached is not machine or machine.org not in self._configs:
                del self._published[machine]
                if cached is None or machine.org not in self._configs:
                    self._outbound.retain([cleared(topics.PRESENCE, org=machine.org, machine=machine.name)])

    def _forget_waiting(self) -> None:
        self._changed.clear()
        self._held.clear()
        self._repeat.clear()
