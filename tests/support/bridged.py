"""A bridge between two brokers in memory, and what an ingestor and machines publish."""

from dataclasses import dataclass, field
from typing import Any

from clocks import Clock
from home_assistant import FakeHomeAssistant
from ingestion import Speaker

from bridges.homeassistant.bridge import HomeAssistantBridge
from bridges.homeassistant.fleet_view import BridgedFleet
from bridges.homeassistant.places import OrgPlaces
from bridges.homeassistant.presses import Presses
from bridges.homeassistant.run import bridge_principal
from broker.client.memory import MemoryBroker, MemoryTransport
from broker.client.request_client import RequestClient
from broker.client.transport import Message
from schemas.contract import topics
from schemas.contract.alerts import AlertMessage
from schemas.contract.messages import Metric
from schemas.contract.org_config import OrgConfig
from schemas.contract.presence import PresenceMessage
from schemas.contract.signing import new_key

PLACES = OrgPlaces("home", "homeassistant")
KINDS = ("mount", "sensor", "battery")
METRICS = (
    Metric(name="cpu_percent", unit="percent", title="CPU", location="vitals"),
    Metric(name="memory_used_bytes", unit="bytes", title="Memory used", location="vitals"),
    Metric(name="uptime_seconds", unit="seconds", title="Uptime", location="vitals"),
    Metric(name="network_sent_bytes", unit="bytes", title="Sent", location="vitals", kind="counter"),
    Metric(name="disk_used_percent", unit="percent", title="Disk", location="series", device="mount"),
    Metric(name="container_cpu_percent", unit="percent", title="CPU", location="series", device="container"),
)
SEED = new_key()


@dataclass
class Scene:
    """A fleet with its broker, Home Assistant with another one, and the bridge between them."""

    clock: Clock
    buttons: tuple[str, ...] = ()
    source: MemoryBroker = field(default_factory=MemoryBroker)
    target: MemoryBroker = field(default_factory=MemoryBroker)

    def __post_init__(self) -> None:
        self.fleet_client = MemoryTransport(
            self.source, client_id="everyone", subscriptions=[(topics.REQUEST.filter(), 1)]
        )
        self.fleet_client.receive(1, 0)
        self.home_client = MemoryTransport(self.target, client_id="ha", subscriptions=FakeHomeAssistant.FOLLOWS)
        self.home = FakeHomeAssistant(self.home_client)
        self.home.read()
        self.begin()

    def begin(self) -> None:
        """Start the bridge."""
        principal = bridge_principal("home", buttons=True)
        self.fleet = BridgedFleet("home", self.clock, KINDS)
        subscriptions = [*self.fleet.subscriptions(), *RequestClient.subscriptions(principal)]
        self.reader = MemoryTransport(
            self.source, client_id=principal.username, subscriptions=subscriptions, pass_time=lambda _: None
        )
        self.writer = MemoryTransport(
            self.target,
            client_id="dashfleet-home",
            subscriptions=HomeAssistantBridge.target_subscriptions(PLACES, buttons=bool(self.buttons)),
            will=lambda: HomeAssistantBridge.will(PLACES),
            pass_time=lambda _: None,
        )
        requests = RequestClient(self.reader, principal, clock=self.clock)
        presses = Presses(requests, "home", SEED, self.buttons, self.clock) if self.buttons else None
        self.bridge = HomeAssistantBridge(
            self.fleet, self.reader, self.writer, PLACES, self.clock, interval_seconds=60.0, presses=presses
        )

    def restart(self) -> None:
        """Kill the bridge and start it again."""
        self.writer.cut("killed")
        self.reader.cut("killed")
        self.begin()

    def step(self, seconds: float = 0.0) -> None:
        """Let time pass, and the bridge and Home Assistant do their work."""
        self.clock.advance(seconds)
        for _ in range(3):
            self.bridge.step(0)
            self.home.read()

    def publish(self, message: Message) -> None:
        assert self.fleet_client.publish(message)

    def config(self) -> None:
        self.publish(Message(topics.ORG_CONFIG.at(org="home"), OrgConfig().encode(), 1, retain=True))

    def presence(self, machine: str = "attic", presence: str = "online", **fields: Any) -> None:  # noqa: ANN401
        message = PresenceMessage.model_validate(
            {"presence": presence, "since": 1, "health": "ok", "display_name": f"{machine}.example", **fields}
        )
        self.publish(Message(topics.PRESENCE.at(org="home", machine=machine), message.encode(), 1, retain=True))

    def alert(self, machine: str = "attic", rule: str = "disk-full", **fields: Any) -> None:  # noqa: ANN401
        message = AlertMessage.model_validate(
            {"rule": rule, "title": "Disk full", "severity": "warning", "since": 1, **fields}
        )
        self.publish(Message(topics.ALERT.at(org="home", machine=machine, rule=rule), message.encode(), 1, retain=True))

    def clear(self, topic: str) -> None:
        self.publish(Message(topic, b"", 1, retain=True))

    def speaker(self, machine: str = "attic") -> Speaker:
        return Speaker(self.clock, name=machine)

    def add(self, machine: str = "attic", **facts: Any) -> Speaker:  # noqa: ANN401
        """A machine that has sent a sample, and what the ingestor says about it."""
        speaker = self.speaker(machine)
        self.config()
        self.publish(speaker.info(**{"metrics": METRICS, "detail_interval_seconds": 60.0, **facts}))
        self.presence(machine)
        self.step()
        self.publish(speaker.telemetry(1, series={"disk_used_percent": {"/": 40.0, "/srv": None}}))
        self.step(11)
        return speaker
