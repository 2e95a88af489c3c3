"""Which configuration each machine should have: that of its newest `configure` that succeeded, kept retained.

Invariant: a version is published only after its COMMIT, and again whenever its machine announces itself with a lower
one, since a broker may forget what it retained.
"""

from collections.abc import Mapping

from pydantic import ValidationError

from broker.client.transport import Message
from ingestor.domain.command import Command
from ingestor.intake.message_handlers import Batch
from schemas.contract import topics
from schemas.contract.commands import Desired, Order
from schemas.contract.messages import Signed

CONFIGURE = "configure"


class DesiredConfigs:
    """By the machine's row."""

    def __init__(self) -> None:
        self._desired: dict[int, Desired] = {}

    def load(self, desired: Mapping[int, Desired]) -> None:
        """What the database knows."""
        self._desired = dict(desired)

    def succeeded(self, batch: Batch, command: Command) -> None:
        """A command succeeded. A `configure` becomes what its machine should have, unless a newer one did before."""
        if command.action != CONFIGURE:
            return
        before = self._desired.get(command.machine_id)
        if before is not None and _issued_at(before.order) > _issued_at(command.order):
            return
        desired = Desired(version=1 if before is None else before.version + 1, order=command.order)
        self._desired[command.machine_id] = desired
        batch.changes.desired[command.machine_id] = desired
        batch.changes.commands.append(_message(command.org, command.machine, desired))

    def heard(self, batch: Batch) -> None:
        """Publish again to each machine of the batch that announced itself with a lower version."""
        for machine, info in batch.infos.values():
            desired = self._desired.get(machine.id)
            if desired is not None and info.config_version < desired.version:
                batch.changes.commands.append(_message(machine.org, machine.name, desired))


def _issued_at(order: Signed) -> int:
    try:
        return Order.model_validate_json(order.statement).issued_at
    except ValidationError:
        return 0


def _message(org: str, machine: str, desired: Desired) -> Message:
    topic = topics.CONFIG.at(org=org, machine=machine)
    return Message(topic, desired.encode(), topics.CONFIG.qos, topics.CONFIG.retain)
