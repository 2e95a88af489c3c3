"""Buttons: a press in Home Assistant becomes a signed order of an operator.

Invariants:
- Only an action that the settings name, that the machine allows and that needs no argument has a button.
- A press that the broker had retained is no press. Presses of one button count once in COOLDOWN_SECONDS, and at most
  PENDING_MAX wait for the ingestor.
- An order expires after LIFETIME_SECONDS: a machine that is offline does not run it when it is back.
"""

import logging
from collections.abc import Collection
from typing import Final

from bridges.homeassistant.entities import PRESS, needs_no_arguments
from bridges.homeassistant.machine import BridgedMachine
from broker.client import request_client
from broker.client.request_client import RequestClient
from broker.client.transport import Event, Message
from runtime.clock import Clock

ACTOR: Final = "Home Assistant"
COOLDOWN_SECONDS: Final = 5.0
LIFETIME_SECONDS: Final = 60.0
PENDING_MAX: Final = 100

log = logging.getLogger(__name__)


class Presses:
    """Sends orders. `seed` is the private key that signs them, `actions` those that have buttons."""

    def __init__(self, requests: RequestClient, org: str, seed: str, actions: Collection[str], clock: Clock) -> None:
        self.actions = frozenset(actions)
        self._requests = requests
        self._org = org
        self._seed = seed
        self._clock = clock
        self._pressed_at: dict[tuple[str, str], float] = {}

    def press(self, message: Message, machine: BridgedMachine, action: str) -> bool:
        """Order an action for the press of its button; return whether it is one."""
        if message.retain or message.payload != PRESS.encode() or not self._has_button(machine, action):
            log.warning("ignored a message on %s that is not a press of a button", message.topic)
            return False
        now, key = self._clock.monotonic(), (machine.name, action)
        if now - self._pressed_at.get(key, float("-inf")) < COOLDOWN_SECONDS:
            return False
        if len(self._requests.pending) >= PENDING_MAX:
            log.warning("ignored a press for %s: %d requests wait for the ingestor", machine.name, PENDING_MAX)
            return False
        self._pressed_at = {each: at for each, at in self._pressed_at.items() if now - at < COOLDOWN_SECONDS}
        self._pressed_at[key] = now
        self._order(machine.name, action)
        return True

    def handle(self, event: Event) -> None:
        """Take what the broker says about requests."""
        for update in self._requests.handle(event):
            log.info("%s on %s: %s %s", update.action or "request", update.machine or "?", update.state, update.detail)

    def publish_due(self) -> None:
        """Publish requests, and again those that are not answered."""
        self._requests.publish_due()

    def _has_button(self, machine: BridgedMachine, action: str) -> bool:
        offered = machine.info.actions if machine.info is not None else ()
        return action in self.actions and any(each.name == action and needs_no_arguments(each) for each in offered)

    def _order(self, machine: str, action: str) -> None:
        orders = request_client.orders(
            [machine], action, {}, org=self._org, now=self._clock.now(), lifetime_seconds=LIFETIME_SECONDS
        )
        for request in request_client.act(orders, self._seed, actor=ACTOR):
            self._requests.send(self._org, request, until=orders[0].expires_at)
        log.info("%s on %s was pressed in Home Assistant", action, machine)
