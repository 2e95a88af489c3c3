from seeding import NOW, Fleet
from sqlalchemy import Engine

from schemas.database.queries.incidents import list_incidents


def test_incidents_are_the_organisations_own_and_the_systems_the_open_ones_first(fleet: Fleet, reader: Engine) -> None:
    fleet.incident("mass-silence", org="home", ended_at=NOW)
    fleet.incident("mass-silence", org="other")
    fleet.incident("blind")
    found = list_incidents(reader, "home", limit=10)
    assert [(row.kind, row.ended_at) for row in found] == [("blind", None), ("mass-silence", NOW)]
