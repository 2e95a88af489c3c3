"""Giving a machine its place: what the ingestor does with an enrolment request.

Invariants:
- One transaction per request, which holds the organisation's row from its beginning: of any number of requests at once,
  over any number of ingestors, a token makes exactly as many machines as it may, and no two get one name.
- The same nonce gets the same answer, however often it comes: one use of a token makes one machine.
- An answer is given only after its COMMIT. A name that was ever taken is not given again, so that nobody inherits
  another machine's history.
"""

from typing import Any

from sqlalchemy import Engine, select
from sqlalchemy.engine import Connection
from sqlalchemy.exc import IntegrityError

from broker.access.policy import Principal, Role
from ingestor.admin.access import hold_org, insert_machine, insert_principal
from schemas.contract.enrolment import EnrolAnswer, EnrolledKey, EnrolRequest
from schemas.contract.messages import Signed
from schemas.contract.signing import keys_in_force
from schemas.contract.topics import MACHINE_MAX_LENGTH
from schemas.database import tables

NAMES_TRIED = 10_000


def enrol(engine: Engine, org: str, token: str, request: EnrolRequest, now: int) -> EnrolAnswer | None:
    """The answer to a request that came with the token of this user name; `now`: milliseconds of the server's clock.

    None when there is no such token (any more), or the nonce is of another token's request.
    """
    try:
        with engine.begin() as connection:
            return _answer(connection, org, token, request, now)
    except IntegrityError:  # the nonce is there
        return None


def _answer(connection: Connection, org: str, token: str, request: EnrolRequest, now: int) -> EnrolAnswer | None:
    found = _token(connection, token) if hold_org(connection, org) else None
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
    """The name that was asked for, or the first of `name-2`, `name-3`, … that nobody has or had."""
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
    """The keys in force, whose orders the machine is to obey."""
    table = tables.key_change
    query = select(table.c.statement, table.c.key, table.c.signature).join(tables.org).where(tables.org.c.name == org)
    changes = [Signed.model_validate(dict(row)) for row in connection.execute(query.order_by(table.c.id)).mappings()]
    return tuple(
        EnrolledKey(public_key=key.public_key, name=key.name, expires_at=key.expires_at)
        for key in keys_in_force(changes, org, now).values()
    )
