"""Revocation of the credentials of machines that asked for it."""

from collections.abc import Collection

from sqlalchemy.engine import Connection

from broker.access.policy import Principal, Role
from ingestor.domain.machine import Machine
from schemas.database import tables


def write_retiring(connection: Connection, machines: Collection[tuple[Machine, int]]) -> None:
    """Revoke the credentials of these machines at these times, in milliseconds, unless they are revoked."""
    table = tables.principal
    for machine, at in machines:
        username = Principal(Role.MACHINE, machine.org, machine.name).username
        mine = (table.c.username == username) & table.c.revoked_at.is_(None)
        connection.execute(table.update().where(mine).values(revoked_at=at))
