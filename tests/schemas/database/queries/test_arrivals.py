"""Which machines came with an enrolment token."""

from seeding import NOW, Fleet
from sqlalchemy import Engine, insert

from schemas.database import tables
from schemas.database.queries.settings import list_arrivals


def token(fleet: Fleet, name: str, *machines: str, org: str = "home") -> None:
    """Insert a token and the machines that have enrolled with it."""
    username = f"{org}._{name}"
    who = {"username": username, "role": "enrol", "org": org, "name": name, "secret_hash": "", "created_at": NOW}
    values = {"username": username, "uses": 5, "expires_at": NOW, "created_at": NOW, "created_by": "ada"}
    with fleet.engine.begin() as connection:
        connection.execute(insert(tables.principal).values(who))
        connection.execute(insert(tables.token).values(values))
        for i, machine in enumerate(machines):
            row = {"nonce": f"{org}{name}{i}", "token": username, "machine": machine, "at": NOW + i}
            connection.execute(insert(tables.enrolment).values(row))


def test_the_machines_of_a_token_come_in_their_order_with_what_they_are_now(fleet: Fleet, reader: Engine) -> None:
    fleet.org()
    fleet.machine("web-2")
    fleet.machine("web-1", stated=False)
    fleet.machine("web-1", org="other")
    token(fleet, "t", "web-2", "web-1")
    token(fleet, "u", "web-9")
    token(fleet, "t", "web-1", org="other")
    found = [(row.machine, row.presence, row.last_seen_at is not None) for row in list_arrivals(reader, "home", "t")]
    assert found == [("web-2", "online", True), ("web-1", "unknown", False)]
    assert list_arrivals(reader, "home", "none") == []
