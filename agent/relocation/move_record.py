"""The record of this machine's move to another server, in a file of the agent's own directory.

Invariants:
- Writing the record is the move: before, the machine belongs to its old server, and after, to the new one; a power cut
  leaves one or the other. Everything else follows from the record (`settle`), and is repeated until it has succeeded.
- A setting that still names the old server, in a file that the owner wrote, names the new one. If the owner has changed
  it since to a third server, the owner's setting is in force.
"""

import logging
from pathlib import Path
from typing import Annotated

from pydantic import Field, ValidationError

from agent.orders.journal import JOURNAL_FILE, Journal
from agent.orders.results import result_of
from agent.orders.trusted_keys import KEYS_FILE, write_keys
from runtime import files
from runtime.clock import Clock
from runtime.settings.agent import AgentSettings
from runtime.state_directory import StateDirectory
from schemas.contract.commands import OrgName
from schemas.contract.enrolment import EnrolledKey
from schemas.contract.messages import ContractModel

_AGENT = "agent"
_FILE = "move.json"

log = logging.getLogger(__name__)


class MoveRecord(ContractModel):
    """The server that this machine has moved to.

    `configured` is the server that the owner's settings name; `receiver` the name under which the outbox numbers its
    samples for the new server; `settled` is set when everything that follows from the record is written.
    """

    configured: str
    server: str
    org: OrgName
    ca_file: str | None
    keys: Annotated[tuple[EnrolledKey, ...], Field(strict=False)]
    receiver: str
    settled: bool = False


def read_move(data: Path) -> MoveRecord | None:
    """Return the record in a state directory; None without one."""
    path = data / _AGENT / _FILE
    try:
        return MoveRecord.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValidationError) as error:
        log.error("cannot read %s, so a move to another server is forgotten: %s", path, error)
        return None


def write_move(data: Path, record: MoveRecord) -> None:
    """Write the record, atomically and durably. Raises OSError."""
    files.replace(data / _AGENT / _FILE, record.model_dump_json(indent=2) + "\n")


def require_not_moving(settings: AgentSettings) -> None:
    """Raise ValueError if this process is about to end because the machine has moved away from its server."""
    record = read_move(settings.data)
    if record is not None and not record.settled:
        raise ValueError(f"this machine is moving to {record.server}: give the order there")


def followed(settings: AgentSettings) -> AgentSettings:
    """Return the settings with the server that this machine has moved to."""
    record = read_move(settings.data)
    if record is None or settings.server not in (record.configured, record.server):
        return settings
    ca_file = None if record.ca_file is None else Path(record.ca_file)
    return settings.model_copy(update={"server": record.server, "org": record.org, "ca_file": ca_file})


def receiver_of(data: Path) -> str:
    """Return the name under which the outbox numbers its samples; empty before the first move."""
    record = read_move(data)
    return "" if record is None else record.receiver


def settle(data: Path, machine: str, clock: Clock) -> None:
    """Write what follows from the record: keys, enrolment, the end of the old server's orders.

    A failure is logged; the next start tries again, and until then no order of the new server is executed.
    """
    record = read_move(data)
    if record is None or record.settled:
        return
    try:
        write_keys(data / _AGENT / KEYS_FILE, record.org, record.keys)
        _close_orders(data / _AGENT / JOURNAL_FILE, clock)
        values = {"server": record.server, "org": record.org, "machine": machine}
        StateDirectory(data).enrol(values if record.ca_file is None else {**values, "ca_file": record.ca_file})
        write_move(data, record.model_copy(update={"settled": True}))
    except OSError as error:
        log.error("cannot complete the move to %s: %s", record.server, error)


def _close_orders(path: Path, clock: Clock) -> None:
    """Keep the results of the old server's orders from the new one, which does not know them. Raises OSError."""
    journal = Journal(path, clock)
    try:
        for entry in journal.running():
            order = entry.started.order
            detail = "the machine moved to another server while this ran"
            journal.finish(
                entry.started, result_of(order.id, "failed", clock.now(), "interrupted", detail, action=order.action)
            )
        while entries := journal.unacked(100):
            journal.acked([entry.result.id for entry in entries])
            if journal.failing:
                break
        if journal.failing:
            raise OSError("the journal cannot be written")
    finally:
        journal.close()
