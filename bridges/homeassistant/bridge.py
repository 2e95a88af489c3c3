"""The bridge: follows an organisation on one broker, and shows it on the broker of Home Assistant, a step at a time.

Invariants:
- Presence and alerts are passed on at once; readings of a machine once in `interval_seconds`, its discovery once in
  DISCOVERY_SECONDS.
- While the fleet cannot be followed, and when the bridge ends (its will), every entity is unavailable.
- What Home Assistant's broker has retained from an earlier run is either wanted or removed, once the fleet is known.
"""

import logging
from collections.abc import Collection
from typing import Final

from bridges.homeassistant.entities import Component
from bridges.homeassistant.fleet_view import BridgedFleet
from bridges.homeassistant.machine import BridgedMachine, components_of
from bridges.homeassistant.mirror import QOS, RetainedMirror
from bridges.homeassistant.places import OrgPlaces
from bridges.homeassistant.presses import Presses
from broker.client.transport import Connected, Disconnected, Message, Transport
from runtime.clock import Clock
from runtime.errors import UserError

EVENTS_MAX: Final = 500
DISCOVERY_SECONDS: Final = 10.0
BIRTH: Final = b"online"
ONLINE: Final = b"online"
OFFLINE: Final = b"offline"
_NEVER: Final = float("-inf")

log = logging.getLogger(__name__)


class HomeAssistantBridge:
    """The bridge of one organisation. `presses` is None without buttons; `hint` says how to get a credential."""

    def __init__(
        self,
        fleet: BridgedFleet,
        source: Transport,
        target: Transport,
        places: OrgPlaces,
        clock: Clock,
        *,
        interval_seconds: float,
        presses: Presses | None = None,
        hint: str = "",
    ) -> None:
        self._fleet = fleet
        self._source = source
        self._target = target
        self._places = places
        self._clock = clock
        self._interval_seconds = interval_seconds
        self._presses = presses
        self._hint = hint
        self._mirror = RetainedMirror(target)
        self._mirror.set(places.bridge, OFFLINE)
        self._earlier: dict[str, dict[str, Component]] = {}
        """Components that the target has retained of machines that are not known yet."""
        self._described_at: dict[str, float] = {}
        self._sampled_at: dict[str, float] = {}

    @staticmethod
    def target_subscriptions(places: OrgPlaces, *, buttons: bool) -> list[tuple[str, int]]:
        """Return the subscriptions on Home Assistant's broker."""
        filters = [places.devices, places.birth, *([places.presses] if buttons else [])]
        return [(filter_, QOS) for filter_ in filters]

    @staticmethod
    def will(places: OrgPlaces) -> Message:
        """Return the message with which the broker makes every entity unavailable when the bridge is gone."""
        return Message(places.bridge, OFFLINE, QOS, retain=True)

    def step(self, wait: float) -> None:
        """Handle what arrives within `wait` seconds, and publish what is due.

        Raises UserError if a broker rejects its credential.
        """
        for event in self._source.receive(EVENTS_MAX, wait):
            self._handle_source(event)
        for event in self._target.receive(EVENTS_MAX, 0):
            self._handle_target(event)
        if self._presses is not None:
            self._presses.publish_due()
        if self._fleet.settle():
            self._remove_orphans()
        self._update()
        if self._target.connected:
            self._mirror.flush()

    def stop(self, seconds: float) -> None:
        """Make every entity unavailable, and disconnect."""
        if self._target.publish(self.will(self._places)):
            self._target.flush(seconds)
        self._target.close()
        self._source.close()

    def _handle_source(self, event: Message | Connected | Disconnected) -> None:
        if self._presses is not None:
            self._presses.handle(event)
        match event:
            case Message():
                self._fleet.read(event)
            case Connected():
                _require_accepted(event, "the broker")
                self._fleet.connected()
                self._mirror.set(self._places.bridge, ONLINE)
            case Disconnected():
                _report(event, "the broker", self._hint)
                self._fleet.disconnected()
                self._mirror.set(self._places.bridge, OFFLINE)

    def _handle_target(self, event: Message | Connected | Disconnected) -> None:
        match event:
            case Message():
                self._read_target(event)
            case Connected():
                _require_accepted(event, "Home Assistant's broker")
                self._mirror.republish()
            case Disconnected():
                _report(event, "Home Assistant's broker")

    def _read_target(self, message: Message) -> None:
        if message.topic == self._places.birth:
            if message.payload == BIRTH and not message.retain:
                log.info("Home Assistant has started")
                self._mirror.republish()
        elif (name := self._places.machine_of_discovery(message.topic)) is not None:
            if message.retain and message.payload:
                self._keep_earlier(name, components_of(message.payload))
        elif self._presses is not None and (pressed := self._places.pressed(message.topic)) is not None:
            machine = self._fleet.machines.get(pressed[0])
            if machine is not None and machine.presence is not None:
                self._presses.press(message, machine, pressed[1])

    def _keep_earlier(self, name: str, components: dict[str, Component]) -> None:
        """Remember what an earlier run has published."""
        machine = self._fleet.machines.get(name)
        if machine is None:
            if self._fleet.settled:
                self._remove(name)
            else:
                self._earlier[name] = components
        elif components.keys() - machine.earlier.keys():
            machine.earlier = {**components, **machine.earlier}
            self._fleet.described.add(name)

    def _remove_orphans(self) -> None:
        for name in [name for name in self._earlier if name not in self._fleet.machines]:
            self._remove(name)
        self._earlier.clear()

    def _remove(self, name: str) -> None:
        self._earlier.pop(name, None)
        self._described_at.pop(name, None)
        self._sampled_at.pop(name, None)
        for topic in self._places.machine(name).retained:
            self._mirror.clear(topic)

    def _update(self) -> None:
        """Want what has changed and may be published now."""
        for name in list(self._fleet.removed):
            self._fleet.removed.discard(name)
            self._remove(name)
        for name in list(self._fleet.described):
            self._describe(self._fleet.machines[name])
        for name in list(self._fleet.changed):
            if name in self._described_at:
                self._fleet.changed.discard(name)
                machine, mine = self._fleet.machines[name], self._places.machine(name)
                self._mirror.set(mine.presence, machine.presence_state())
                self._mirror.set(mine.alerts, machine.alerts_state())
        for name in list(self._fleet.sampled):
            self._pass_on_readings(self._fleet.machines[name])

    def _describe(self, machine: BridgedMachine) -> None:
        now, name = self._clock.monotonic(), machine.name
        known = machine.presence is not None and (machine.info is not None or self._fleet.settled)
        if not known or now - self._described_at.get(name, _NEVER) < DISCOVERY_SECONDS:
            return
        self._fleet.described.discard(name)
        machine.earlier = {**self._earlier.pop(name, {}), **machine.earlier}
        self._described_at[name] = now
        if self._mirror.set(self._places.machine(name).discovery, machine.discovery(self._places, self._actions)):
            self._sampled_at.pop(name, None)  # new entities have their state at once
            self._fleet.sampled.add(name)

    def _pass_on_readings(self, machine: BridgedMachine) -> None:
        now, name = self._clock.monotonic(), machine.name
        if name in self._described_at and now - self._sampled_at.get(name, _NEVER) >= self._interval_seconds:
            self._fleet.sampled.discard(name)
            self._sampled_at[name] = now
            self._mirror.set(self._places.machine(name).state, machine.state())

    @property
    def _actions(self) -> Collection[str]:
        return self._presses.actions if self._presses is not None else ()


def _require_accepted(event: Connected, which: str) -> None:
    if event.refused:
        raise UserError(f"{which} rejected the subscription to {', '.join(event.refused)}")


def _report(event: Disconnected, which: str, hint: str = "") -> None:
    if event.refused:
        raise UserError(f"{which} rejected the user name or the password: {event.reason}{hint}")
    log.warning("no connection to %s: %s", which, event.reason)
