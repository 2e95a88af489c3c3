"""Tiles of the fleet, on both databases."""

import pytest
from seeding import Fleet
from sqlalchemy import Engine

from schemas.database.queries import tiles as tile_queries
from schemas.database.queries.machines import Filters
from schemas.database.queries.tiles import (
    BY_HEALTH,
    BY_PRESENCE,
    BY_SYSTEM,
    GROUPS_MAX,
    OTHERS,
    UNJUDGED,
    UNVERIFIED,
    TileGroup,
    Tiles,
)

ALL = Filters()


@pytest.fixture
def database_url(each_database_url: str) -> str:
    return each_database_url


def tiles(reader: Engine, filters: Filters = ALL, group: str = "", colour: str = "") -> Tiles:
    return tile_queries.find_tiles(reader, "home", filters, group, colour)


def test_each_machine_has_the_letter_of_what_it_is_like(fleet: Fleet, reader: Engine) -> None:
    fleet.machine("a-well")
    fleet.machine("b-warned", cpu_percent=88.0)
    fleet.machine("c-critical", disk_percent=99.0)
    fleet.machine("d-unjudged", health_status="unknown")
    fleet.machine("e-stale", presence="stale")
    fleet.machine("f-offline", presence="offline", cpu_percent=88.0)
    fleet.machine("g-expired", presence="expired")
    fleet.machine("h-never-heard", stated=False)
    fleet.machine("i-later", presence="hibernating")
    fleet.machine("j-unverified", presence="offline", verified=False)
    fleet.machine("k-retired", presence="retired", verified=False)
    fleet.machine("theirs", org="other")
    found = tiles(reader)
    awake = [*BY_HEALTH.values(), UNJUDGED]
    asleep = [BY_PRESENCE[presence] for presence in ("stale", "offline", "expired", "unknown", "unknown")]
    assert found.looks == "".join([*awake, *asleep, UNVERIFIED])
    assert found.names[0] == "a-well"
    assert tiles(reader, Filters(presences=("retired",))).looks == BY_PRESENCE["retired"]


def test_a_tile_stays_in_its_place_while_its_machine_changes(fleet: Fleet, reader: Engine) -> None:
    fleet.machine("b", hostname="Beta")
    key = fleet.machine("z", hostname="alpha")
    fleet.machine("c", hostname=None)
    assert tiles(reader, Filters(order="cpu")).titles == ("alpha", "Beta", "c")
    fleet.set(key, cpu_percent=99.0, presence="offline")
    assert tiles(reader, Filters(order="cpu")).names == ("z", "b", "c")


def test_tiles_are_those_of_the_machines_that_match(fleet: Fleet, reader: Engine) -> None:
    fleet.machine("a", os="Ubuntu")
    fleet.machine("b", presence="offline", os="Ubuntu")
    fleet.machine("c")
    assert tiles(reader, Filters(systems=("Ubuntu",))).names == ("a", "b")
    assert tiles(reader, Filters(search="nothing")) == Tiles((), (), "", (), 0)


def test_groups_are_the_largest_first_and_by_their_names(fleet: Fleet, reader: Engine) -> None:
    for name, site in {"a": "paris", "b": "lyon", "c": "paris", "d": "kyiv"}.items():
        fleet.machine(name, labels={"site": site})
    fleet.machine("e", labels=None)
    fleet.machine("f", labels={"site": "two\nlines"})
    found = tiles(reader, group="label:site")
    assert found.groups == tuple(TileGroup(*each) for each in (("", 2), ("paris", 2), ("kyiv", 1), ("lyon", 1)))
    assert found.names == ("e", "f", "a", "c", "d", "b")
    assert tiles(reader, group="label:nothing").groups == (TileGroup("", 6),)


def test_systems_group_too(fleet: Fleet, reader: Engine) -> None:
    fleet.machine("a", os="Ubuntu")
    fleet.machine("b", os=None)
    fleet.machine("c", os="Ubuntu")
    assert tiles(reader, group=BY_SYSTEM).groups == (TileGroup("Ubuntu", 2), TileGroup("", 1))


def test_the_smallest_groups_become_one_when_there_are_too_many(fleet: Fleet, reader: Engine) -> None:
    for i in range(GROUPS_MAX + 5):
        fleet.machine(f"m-{i:02}", labels={"rack": f"r{i:02}"})
    fleet.machine("n-0", labels={"rack": "r34"})
    found = tiles(reader, group="label:rack")
    assert len(found.groups) == GROUPS_MAX
    assert found.groups[0] == TileGroup("r34", 2)
    assert found.groups[-1] == TileGroup(OTHERS, 6)
    assert sum(each.count for each in found.groups) == len(found.names) == found.total == GROUPS_MAX + 6
    assert found.names[:3] == ("m-34", "n-0", "m-00")
    assert found.names[-1] == "m-33"


def test_a_fleet_that_is_too_large_is_counted_whole(
    fleet: Fleet, reader: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tile_queries, "TILES_MAX", 3)
    for i in range(5):
        fleet.machine(f"m-{i}")
    found = tiles(reader)
    assert (found.names, found.total) == (("m-0", "m-1", "m-2"), 5)


def test_the_group_with_the_most_problems_is_first_and_counts_them(fleet: Fleet, reader: Engine) -> None:
    for i in range(3):
        fleet.machine(f"a-{i}", labels={"site": "paris"})
    fleet.machine("b-0", labels={"site": "lyon"}, presence="offline")
    key = fleet.machine("c-0", labels={"site": "kyiv"})
    fleet.machine("c-1", labels={"site": "kyiv"}, disk_percent=99.0)
    fleet.alert(key, "disk", fleet.now)
    found = tiles(reader, group="label:site")
    assert found.groups == (TileGroup("kyiv", 2, 2), TileGroup("lyon", 1, 1), TileGroup("paris", 3, 0))
    assert found.names == ("c-0", "c-1", "b-0", "a-0", "a-1", "a-2")


def test_the_group_of_the_rest_counts_its_problems_too(fleet: Fleet, reader: Engine) -> None:
    for i in range(GROUPS_MAX + 1):
        fleet.machine(f"m-{i:02}", labels={"rack": f"r{i:02}"}, presence="stale")
    assert tiles(reader, group="label:rack").groups[-1] == TileGroup(OTHERS, 2, 2)


def test_a_colour_shows_ranges_of_current_readings_and_the_status_of_all_others(fleet: Fleet, reader: Engine) -> None:
    for name, cpu in {"a": 0.0, "b": 49.9, "c": 50.0, "d": 75.0, "e": 90.0, "f": 100.0, "g": None}.items():
        fleet.machine(name, cpu_percent=cpu)
    fleet.machine("h", cpu_percent=99.0, presence="offline")
    fleet.machine("i", cpu_percent=99.0, verified=False)
    assert tiles(reader, colour="cpu").looks == "0057" + "99" + UNJUDGED + BY_PRESENCE["offline"] + UNVERIFIED
    assert tiles(reader, colour="disk").looks[0] == "5"
    assert tiles(reader, colour="nothing").looks[0] == BY_HEALTH["ok"]
