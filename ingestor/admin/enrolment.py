"""Enrolment: a request with a token makes a machine.

Invariants:
- One transaction per request, which locks the organisation: with any number of concurrent requests and ingestors a
  token makes exactly as many machines as allowed, and no two get the same name.
- Requests are idempotent: the same nonce gets the same answer, so one use of a token makes one machine.
- The answer follows the COMMIT. A name is never given twice, so that no machine inherits another one's history.
"""

from typing import Any

from sqlalchemy import Engine, select
from sqlalchemy.engine import Connection
from sqlalchemy.exc import IntegrityError

from broker.access.policy import Principal, Role
from ingestor.admin.access import insert_machine, insert_principal, lock_org
from ingestor.admin.key_changes import signed_changes
from schemas.contract.enrolment import EnrolAnswer, EnrolledKey, EnrolRequest
from schemas.contract.signing import keys_in_force
from schemas.contract.topics import MACHINE_MAX_LENGTH
from schemas.database import tables

NAMES_TRIED = 10_000


def enrol(engine: Engine, org: str, token: str, request: EnrolRequest, now: int) -> EnrolAnswer | None:
    """Return the answer to a request with the token of this user name; `now`: server time in milliseconds.

    None if there is no such token (any more), or the nonce belongs to another token's request.
    """
    try:
        with engine.begin() as connection:
            return _answer(connection, org, token, request, now)
    except IntegrityError:  # the nonce exists
        return None


def _answer(connection: Connection, org: str, token: str, request: EnrolRequest, now: int) -> EnrolAnswer | None:
    found = _token(connection, token) if lock_org(connection, org) else None
    if found is None:
        return None
    answer = _repeated(connection, token, request) or _refused(found, request, now)
    answer = answer or _accepted(connection, org, token, request, now)
    if answer.machine is not None:
        answer = answer.model_copy(update={"keys": _keys(connection, org, now)})
    return answer


def _token(connection: Connection, token: str) -> Any:  # noqa: ANN401 - a row of the query
    table = tables.token
    query = select(table.c.uses, table.c.used, table.c.expires_at).select_from(table.join(tables.principal))
    valid = tables.principal.c.revoked_at.is_(None)
    return connection.execute(query.where(table.c.username == token, valid)).first()


def _repeated(connection: Connection, token: str, request: EnrolRequest) -> EnrolAnswer | None:
    table = tables.enrolment
    known = (table.c.nonce == request.nonce) & (table.c.token == token)
    machine = connection.scalar(select(table.c.machine).where(known))
    return None if machine is None else EnrolAnswer(nonce=request.nonce, machine=machine)


def _refused(token: Any, request: EnrolRequest, now: int) -> EnrolAnswer | None:  # noqa: ANN401 - that row
    if now >= token.expires_at:
        return EnrolAnswer(nonce=request.nonce, refused="expired")
    return EnrolAnswer(nonce=request.nonce, refused="used-up") if token.used >= token.uses else None


def _accepted(connection: Connection, org: str, token: str, request: EnrolRequest, now: int) -> EnrolAnswer:
    name = _free_name(connection, org, request.machine)
    if name is None:
        return EnrolAnswer(nonce=request.nonce, refused="too-many")
    insert_principal(connection, Principal(Role.MACHINE, org, name), request.secret_hash, now)
    insert_machine(connection, org, name, now)
    mine = tables.token.c.username == token
    connection.execute(tables.token.update().where(mine).values(used=tables.token.c.used + 1))
    row = {"nonce": request.nonce, "token": token, "machine": name, "at": now}
    connection.execute(tables.enrolment.insert().values(row))
    return EnrolAnswer(nonce=request.nonce, machine=name)


def _free_name(connection: Connection, org: str, wanted: str) -> str | None:
    """Return the requested name, or the first of `name-2`, `name-3`, … that was never used."""
    principal, machine = tables.principal, tables.machine
    known = select(principal.c.name).where(principal.c.org == org, principal.c.role == Role.MACHINE.value)
    places = select(machine.c.name).join(tables.org).where(tables.org.c.name == org)
    start = wanted[: MACHINE_MAX_LENGTH - len(str(NAMES_TRIED)) - 1]
    taken = {
        name
        for query, column in ((known, principal.c.name), (places, machine.c.name))
        for name in connection.scalars(query.where(column.startswith(start, autoescape=True)))
    }
    if wanted not in taken:
        return wanted
    numbered = (f"{start.rstrip('-')}-{number}" for number in range(2, NAMES_TRIED))
    return next((name for name in numbered if name not in taken), None)


def _keys(connection: Connection, org: str, now: int) -> tuple[EnrolledKey, ...]:
    """Return the signing keys in force."""
    return tuple(
        EnrolledKey(public_key=key.public_key, name=key.name, expires_at=key.expires_at)
        for key in keys_in_force(signed_changes(connection, org), org, now).values()
    )
