"""Changes of an organisation that an admin asked for over MQTT: who may, what is done, and what is recorded.

Invariants:
- A change and the record of its request are one transaction, which holds the organisation's row: it is done once,
  however often it is asked for, and what is refused has changed nothing.
- The topic says whose organisation it is. A change reaches no other one's, none of the system's principals, and no
  machine but by retiring it.
- Only brokers know who publishes, so only those whom they let publish for the system may ask (`may_administer`).
"""

from typing import assert_never

from sqlalchemy import Engine, select
from sqlalchemy.engine import Connection
from sqlalchemy.exc import IntegrityError

from broker.access.policy import Principal, Role, may_administer
from ingestor.admin import access, key_changes, tokens
from ingestor.domain.command_changes import RequestRecord
from ingestor.storage.command_store import find_request, insert_request
from runtime.durations import duration
from runtime.errors import UserError
from schemas.contract.administration import (
    AddPrincipal,
    AddToken,
    Administration,
    ChangeKeys,
    ConfigureOrg,
    ReinstateMachine,
    RetireMachine,
    RevokePrincipal,
    RevokeToken,
    RotatePrincipal,
)
from schemas.database import tables
from schemas.database.engine import storable

_PROGRAMS = (Role.READER.value, Role.OPERATOR.value)
_NOT_ALLOWED = "only the dashboard may ask for this, for its admins"


def administer(engine: Engine, record: RequestRecord, level: str, change: Administration) -> RequestRecord | None:
    """Do what was asked, or refuse it, and record which. `level`: whose topic it came on.

    The record as it is in the database, also when it is there already; None when another transaction was faster, or
    there is no such organisation any more: whoever hears no answer asks again.
    """
    try:
        with engine.begin() as connection:
            if not access.hold_org(connection, record.org):
                return None
            known = find_request(connection, record.id)
            if known is not None:
                return known
            _decide(connection, record, level, change)
            insert_request(connection, record)
            return record
    except IntegrityError:
        return None


def _decide(connection: Connection, record: RequestRecord, level: str, change: Administration) -> None:
    record.state = "refused"
    if not may_administer(level):
        record.detail = _NOT_ALLOWED
        return
    try:
        record.detail = _apply(connection, record, change)
        record.state = "accepted"
    except UserError as error:
        record.detail = str(error)


def _apply(connection: Connection, record: RequestRecord, change: Administration) -> str:
    """Do it, and say what was done. Raises UserError before anything is written."""
    org, now = record.org, record.created_at
    match change:
        case ConfigureOrg():
            return access.configure(connection, org, change.settings) or "nothing: it was so already"
        case AddToken():
            until = now + change.lifetime_seconds * 1000
            by = storable(record.actor or record.principal)
            tokens.insert_token(connection, org, change.name, change.secret_hash, change.uses, until, by, now)
            return f"{change.name}: {change.uses} machines within {duration(change.lifetime_seconds)}"
        case RevokeToken():
            tokens.end_token(connection, _username(org, change.name), now)
            return change.name
        case AddPrincipal():
            principal = Principal(Role(change.role), org, change.name)
            access.provision(connection, principal, change.secret_hash, now)
            return f"{change.name}, a {change.role}"
        case RotatePrincipal():
            _require_program(connection, org, change.name)
            access.rotate(connection, _username(org, change.name), change.secret_hash, change.overlap_seconds, now)
            return f"{change.name}; the secret before stays good for {duration(change.overlap_seconds)}"
        case RevokePrincipal():
            _require_program(connection, org, change.name)
            access.revoke(connection, _username(org, change.name), now)
            return change.name
        case RetireMachine():
            access.revoke(connection, _machine(connection, org, change.machine), now)
            return change.machine
        case ReinstateMachine():
            access.reinstate(connection, _machine(connection, org, change.machine))
            return change.machine
        case ChangeKeys():
            return key_changes.take(connection, org, change.change, now)
        case _:
            assert_never(change)


def _username(org: str, name: str) -> str:
    return Principal(Role.READER, org, name).username


def _require_program(connection: Connection, org: str, name: str) -> None:
    """Raise UserError unless this is somebody whom an admin may have let in: no token, and no machine."""
    if access.role_of(connection, _username(org, name)) not in _PROGRAMS:
        raise UserError(f"{name} is neither a reader nor an operator")


def _machine(connection: Connection, org: str, name: str) -> str:
    """The user name of a machine. Raises UserError when there is none of this name."""
    known = select(tables.machine.c.id).join(tables.org).where(tables.org.c.name == org, tables.machine.c.name == name)
    if connection.execute(known).first() is None:
        raise UserError(f"{org} has no machine {name}")
    return Principal(Role.MACHINE, org, name).username
