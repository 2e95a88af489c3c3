"""The derived presence of a machine, which the ingestor publishes and the broker retains.

Invariants:
- It is the verdict of the ingestor, published after its COMMIT; `up/status` is the machine's own statement.
- Times are the server's clock.
"""

from typing import Annotated, Literal

from pydantic import Field

from schemas.contract.messages import ContractModel, Count, Milliseconds, Payload
from schemas.contract.text import TEXT_MAX_LENGTH, Code, Line, Text
from schemas.contract.topics import MACHINE_MAX_LENGTH

DISPLAY_NAME_MAX = TEXT_MAX_LENGTH + len(" ()") + MACHINE_MAX_LENGTH

PresenceName = Literal["unknown", "online", "stale", "offline", "expired", "retired"]


class AlertCounts(ContractModel):
    """Number of active alerts of a machine by severity, acknowledged and silenced ones included."""

    warning: Count = 0
    critical: Count = 0


class PresenceMessage(Payload):
    """Presence of a machine, retained on `_presence/{machine}`; an empty payload when the machine is removed.

    `last_seen` is the arrival of the machine's last message when this was published: it is older than the truth while
    the machine is online, and exact in every other state. `health` is `unknown` unless the machine is online and
    `verified`, as its readings are not current. `display_name` tells the machine from others with the same hostname.
    """

    presence: PresenceName
    reason: Code = ""
    since: Milliseconds
    verified: bool = True
    last_seen: Milliseconds | None = None
    health: Literal["ok", "warn", "critical", "unknown"] = "unknown"
    alerts: AlertCounts = AlertCounts()
    display_name: Annotated[Line, Field(max_length=DISPLAY_NAME_MAX)]
    hostname: Text | None = None
    agent_version: Text | None = None
