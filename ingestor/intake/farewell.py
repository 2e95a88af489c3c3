"""The last message of a machine that is uninstalled: it asks to be retired.

Invariants:
- Only the machine's own credential can publish the message, so nobody else retires a machine in this way.
- A session retires once. A message that the broker has kept, or that arrives again after an operator has reinstated the
  machine, has no new session, and changes nothing.
- It is on record like the request of an operator, with the machine as the principal.
"""

import hashlib

from broker.access.policy import Principal, Role
from ingestor.domain.batch import Batch
from ingestor.domain.command_changes import RequestRecord
from ingestor.domain.machine import Machine
from ingestor.domain.presence import Presence
from schemas.contract.administration import RetireMachine
from schemas.contract.messages import Status


def asks_to_retire(machine: Machine, status: Status) -> bool:
    """Return whether a status, which was not applied yet, is the goodbye for ever of a machine in service."""
    new = status.session > machine.state.session
    return status.retiring and status.state == "offline" and new and machine.state.presence is not Presence.RETIRED


def retire(batch: Batch, machine: Machine, now: int) -> None:
    """Let the batch revoke the machine's credential, and record who asked for it."""
    principal = Principal(Role.MACHINE, machine.org, machine.name).username
    id_ = hashlib.sha256(f"{principal} retires at {now}".encode()).hexdigest()[:32]
    kind = RetireMachine.model_fields["kind"].default
    batch.retiring.append((machine, now))
    batch.changes.requests[id_] = RequestRecord(
        id_, machine.org, principal, "", kind, id_, None, "accepted", machine.name, now
    )
