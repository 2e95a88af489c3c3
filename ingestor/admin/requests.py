"""Administrative requests over MQTT: authorisation, the change, and its record.

Invariants:
- A change and the record of its request are one transaction, which locks the organisation: requests are idempotent, and
  a refused one has changed nothing.
- The topic names the organisation. A change affects no other organisation, none of the system's principals, and a
  machine only by retiring or reinstating it, or by deleting its dead letters.
- Only brokers know who publishes, so only principals that they let publish for the system are allowed
  (`may_administer`); only operators can publish requests besides, and may acknowledge and silence alerts.
"""

from typing import assert_never, get_args

from sqlalchemy import Engine, select
from sqlalchemy.engine import Connection
from sqlalchemy.exc import IntegrityError

from broker.access.policy import Principal, Role, may_administer
from ingestor.admin import access, key_changes, rules, silences, tokens
from ingestor.domain.command_changes import RequestRecord
from ingestor.storage.command_store import find_request, insert_request
from runtime.durations import duration
from runtime.errors import UserError
from schemas.contract.administration import (
    AddPrincipal,
    AddToken,
    Administration,
    ChangeKeys,
    ClearDeadLetters,
    ConfigureOrg,
    DeleteRule,
    ReinstateMachine,
    RetireMachine,
    RevokePrincipal,
    RevokeToken,
    RotatePrincipal,
    SetRule,
)
from schemas.contract.alerts import Acknowledge, AddSilence, AlertChange, EndSilence, Unacknowledge
from schemas.database import tables
from schemas.database.engine import storable
from schemas.database.queries.dead_letters import delete_dead_letters

_PROGRAMS = (Role.READER.value, Role.OPERATOR.value)
_OPERATED = get_args(AlertChange)
"""Changes that an operator may request too."""

NOT_ALLOWED = "only the dashboard may ask for this, for its admins"


def administer(engine: Engine, record: RequestRecord, level: str, change: Administration) -> RequestRecord | None:
    """Apply or refuse a change, and record which. `level`: the principal's level in the topic.

    Returns the record as stored, also if it existed; None if another transaction was faster or the organisation does
    not exist any more: a client without an answer repeats its request.
    """
    try:
        with engine.begin() as connection:
            if not access.lock_org(connection, record.org):
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
    if not may_administer(level) and not isinstance(change, _OPERATED):
        record.detail = NOT_ALLOWED
        return
    try:
        record.detail = _apply(connection, record, change)
        record.state = "accepted"
    except UserError as error:
        record.detail = str(error)


def _apply(connection: Connection, record: RequestRecord, change: Administration) -> str:
    """Apply a change, and return its description. Raises UserError before anything is written."""
    org, now = record.org, record.created_at
    match change:
        case ConfigureOrg():
            return access.configure(connection, org, change.settings) or "nothing changed"
        case AddToken():
            until = now + change.lifetime_seconds * 1000
            by = storable(record.actor or record.principal)
            tokens.insert_token(connection, org, change.name, change.secret_hash, change.uses, until, by, now)
            machines = "1 machine" if change.uses == 1 else f"{change.uses} machines"
            return f"{change.name}: {machines} within {duration(change.lifetime_seconds)}"
        case RevokeToken():
            tokens.end_token(connection, _username(org, change.name), now)
            return change.name
        case AddPrincipal() | RotatePrincipal() | RevokePrincipal():
            return _change_program(connection, org, change, now)
        case RetireMachine() | ReinstateMachine():
            return _retire_or_reinstate(connection, org, change, now)
        case ChangeKeys():
            return key_changes.apply_signed(connection, org, change.change, now)
        case Acknowledge() | Unacknowledge() | AddSilence() | EndSilence():
            return silences.apply(connection, org, change, storable(record.actor or record.principal), now)
        case SetRule() | DeleteRule():
            return rules.apply(connection, org, change, now)
        case ClearDeadLetters():
            deleted = delete_dead_letters(connection, org_name=org, machine_name=change.machine, until=change.until)
            return f"{deleted} deleted, of {change.machine or 'all senders'}"
        case _:
            assert_never(change)


def _change_program(
    connection: Connection, org: str, change: AddPrincipal | RotatePrincipal | RevokePrincipal, now: int
) -> str:
    if isinstance(change, AddPrincipal):
        access.provision(connection, Principal(Role(change.role), org, change.name), change.secret_hash, now)
        return f"{change.name}, a {change.role}"
    _require_program(connection, org, change.name)
    if isinstance(change, RevokePrincipal):
        access.revoke(connection, _username(org, change.name), now)
        return change.name
    access.rotate(connection, _username(org, change.name), change.secret_hash, change.overlap_seconds, now)
    return f"{change.name}; the previous secret stays valid for {duration(change.overlap_seconds)}"


def _retire_or_reinstate(connection: Connection, org: str, change: RetireMachine | ReinstateMachine, now: int) -> str:
    username = _machine(connection, org, change.machine)
    if isinstance(change, RetireMachine):
        access.revoke(connection, username, now)
    else:
        access.reinstate(connection, username)
    return change.machine


def _username(org: str, name: str) -> str:
    return Principal(Role.READER, org, name).username


def _require_program(connection: Connection, org: str, name: str) -> None:
    """Raise UserError unless this is a reader or an operator."""
    if access.role_of(connection, _username(org, name)) not in _PROGRAMS:
        raise UserError(f"{name} is neither a reader nor an operator")


def _machine(connection: Connection, org: str, name: str) -> str:
    """Return the user name of a machine. Raises UserError if it does not exist."""
    known = select(tables.machine.c.id).join(tables.org).where(tables.org.c.name == org, tables.machine.c.name == name)
    if connection.execute(known).first() is None:
        raise UserError(f"{org} has no machine {name}")
    return Principal(Role.MACHINE, org, name).username
