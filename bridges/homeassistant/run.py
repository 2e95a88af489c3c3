"""The bridge's process, for `dashfleet homeassistant`."""

from typing import Final

from bridges.homeassistant.bridge import HomeAssistantBridge
from bridges.homeassistant.fleet_view import BridgedFleet
from bridges.homeassistant.places import OrgPlaces
from bridges.homeassistant.presses import Presses
from broker.access.policy import Principal, Role
from broker.client.mqtt import Mqtt
from broker.client.request_client import RequestClient
from broker.client.topic_tail import create_hint
from broker.client.transport import Backoff
from runtime.clock import SystemClock
from runtime.process import StopSignal, notify_ready, release_memory
from runtime.settings.homeassistant import HomeAssistantSettings

WAIT_SECONDS: Final = 0.2
STOP_SECONDS: Final = 2.0
RECONNECT_SECONDS: Final = 30.0


def bridge_principal(org: str, *, buttons: bool) -> Principal:
    """Return the principal as which the bridge of an organisation connects: an operator if it has buttons."""
    if buttons:
        return Principal(Role.OPERATOR, org, "homeassistant-buttons")
    return Principal(Role.READER, org, "homeassistant")


def run(settings: HomeAssistantSettings) -> None:
    """Run until a signal. Raises SettingsError, and UserError if a broker rejects its credential."""
    places, clock = OrgPlaces(settings.org, settings.discovery_prefix), SystemClock()
    principal = bridge_principal(settings.org, buttons=bool(settings.buttons))
    fleet = BridgedFleet(settings.org, clock, settings.devices)
    target = _target(settings, places)
    source = Mqtt(
        settings.address,
        username=principal.username,
        password=settings.secret(),
        subscriptions=[
            *fleet.subscriptions(),
            *(RequestClient.subscriptions(principal) if settings.buttons else []),
        ],
        keep_alive_seconds=settings.keep_alive_seconds,
        ca_file=settings.ca_file,
        backoff=Backoff(most_seconds=RECONNECT_SECONDS),
    )
    presses = None
    if settings.buttons:
        requests = RequestClient(source, principal, clock=clock)
        presses = Presses(requests, settings.org, settings.signing_key(), settings.buttons, clock)
    bridge = HomeAssistantBridge(
        fleet,
        source,
        target,
        places,
        clock,
        interval_seconds=settings.interval_seconds,
        presses=presses,
        hint=create_hint(settings, principal.name, principal.role),
    )
    stop = StopSignal()
    release_memory()
    notify_ready(f"{settings.org} in Home Assistant at {settings.to}")
    try:
        while not stop.received:
            bridge.step(WAIT_SECONDS)
    finally:
        bridge.stop(STOP_SECONDS)


def _target(settings: HomeAssistantSettings, places: OrgPlaces) -> Mqtt:
    """Return the client at Home Assistant's broker."""
    return Mqtt(
        settings.target,
        username=settings.to_username,
        password=settings.target_secret(),
        client_id=f"dashfleet-{settings.org}",
        subscriptions=HomeAssistantBridge.target_subscriptions(places, buttons=bool(settings.buttons)),
        will=lambda: HomeAssistantBridge.will(places),
        keep_alive_seconds=settings.keep_alive_seconds,
        ca_file=settings.to_ca_file,
        backoff=Backoff(most_seconds=RECONNECT_SECONDS),
    )
