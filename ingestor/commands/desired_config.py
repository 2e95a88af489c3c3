"""Desired configurations: a machine's newest `configure` that succeeded, published retained.

Invariant: a version is published after its COMMIT, and again when its machine announces a lower one, since a broker may
lose what it retained.
"""

from collections.abc import Mapping

from pydantic import ValidationError

from ingestor.domain.batch import Batch
from ingestor.domain.command import Command
from schemas.contract.commands import Desired, Order
from schemas.contract.messages import Signed

CONFIGURE = "configure"


class DesiredConfigs:
    """Desired configurations by machine id."""

    def __init__(self, desired: Mapping[int, Desired]) -> None:
        self._desired = dict(desired)

    def command_succeeded(self, batch: Batch, command: Command) -> None:
        """Make a successful `configure` the desired configuration, unless a newer one already is."""
        if command.action != CONFIGURE:
            return
        before = self._desired.get(command.machine_id)
        if before is not None and _issued_at(before.order) > _issued_at(command.order):
            return
        desired = Desired(version=1 if before is None else before.version + 1, order=command.order)
        self._desired[command.machine_id] = desired
        batch.changes.desired[command.machine_id] = desired
        batch.changes.configs.append((command.org, command.machine, desired))

    def publish_missing(self, batch: Batch) -> None:
        """Publish again to each machine in the batch that announced a lower version."""
        for machine, info in batch.infos.values():
            desired = self._desired.get(machine.id)
            if desired is not None and info.config_version < desired.version:
                batch.changes.configs.append((machine.org, machine.name, desired))


def _issued_at(order: Signed) -> int:
    try:
        return Order.model_validate_json(order.statement).issued_at
    except ValidationError:
        return 0
