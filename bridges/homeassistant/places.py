"""Topics and ids in Home Assistant's broker.

Invariants:
- Ids come from the organisation and the machine's id, so that they stay when a machine gets another hostname.
- Every level is an id of the contract, or a constant: no text from a machine is part of a topic.
"""

from dataclasses import dataclass

from schemas.contract.topics import MACHINE_MAX_LENGTH, is_id

_ROOT = "dashfleet-homeassistant"
_ID = "dashfleet"


@dataclass(frozen=True, slots=True)
class MachinePlaces:
    """Topics of one machine. `discovery` is read by Home Assistant, the others by the entities that it describes."""

    id: str
    discovery: str
    presence: str
    state: str
    alerts: str

    @property
    def retained(self) -> tuple[str, str, str, str]:
        """All of them, the discovery first: an entity exists before its state arrives, and ends before it."""
        return self.discovery, self.presence, self.state, self.alerts


@dataclass(frozen=True, slots=True)
class OrgPlaces:
    """Topics of an organisation. `prefix` is Home Assistant's discovery prefix."""

    org: str
    prefix: str

    @property
    def bridge(self) -> str:
        """`online` while the bridge follows the fleet, otherwise `offline`; also its will."""
        return f"{_ROOT}/{self.org}/bridge"

    @property
    def birth(self) -> str:
        """Topic on which Home Assistant says that it has started."""
        return f"{self.prefix}/status"

    @property
    def devices(self) -> str:
        """Filter of all device discovery, also that of other programs."""
        return f"{self.prefix}/device/+/config"

    @property
    def presses(self) -> str:
        """Filter of the topics to which buttons publish."""
        return f"{_ROOT}/{self.org}/+/press/+"

    def machine(self, machine: str) -> MachinePlaces:
        """Return the topics of a machine."""
        id_ = f"{_ID}_{self.org}_{machine}"
        base = f"{_ROOT}/{self.org}/{machine}"
        return MachinePlaces(
            id_, f"{self.prefix}/device/{id_}/config", f"{base}/presence", f"{base}/state", f"{base}/alerts"
        )

    def press(self, machine: str, action: str) -> str:
        """Return the topic to which the button of an action publishes."""
        return f"{_ROOT}/{self.org}/{machine}/press/{action}"

    def machine_of_discovery(self, topic: str) -> str | None:
        """Return the machine whose discovery this topic has; None if it is not one of this organisation."""
        start, end = f"{self.prefix}/device/{_ID}_{self.org}_", "/config"
        machine = topic.removeprefix(start).removesuffix(end)
        known = topic == f"{start}{machine}{end}" and is_id(machine, MACHINE_MAX_LENGTH)
        return machine if known else None

    def pressed(self, topic: str) -> tuple[str, str] | None:
        """Return the machine and the action of a button's topic; None for any other topic."""
        levels = topic.split("/")
        if len(levels) != 5 or levels[:2] != [_ROOT, self.org] or levels[3] != "press":
            return None
        return (levels[2], levels[4]) if is_id(levels[2], MACHINE_MAX_LENGTH) else None
