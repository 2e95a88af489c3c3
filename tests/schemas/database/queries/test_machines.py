import pytest
from seeding import Fleet
from sqlalchemy import Engine, text
from sqlalchemy.exc import OperationalError

from schemas.database.queries import machines
from schemas.database.queries.fleet_order import SORT_ORDERS
from schemas.database.queries.machines import Filters

MINUTE = 60_000


BY_NAME = Filters(order="machine")


def names(engine: Engine, filters: Filters = BY_NAME) -> list[str]:
    return list(machines.find_page(engine, "home", filters, offset=0, limit=50)[0])


def test_the_dashboard_cannot_write(fleet: Fleet, reader: Engine) -> None:
    fleet.machine("web-1")
    with reader.connect() as connection, pytest.raises(OperationalError, match="readonly"):
        connection.execute(text("DELETE FROM machine"))


def test_another_organisations_machines_do_not_exist(fleet: Fleet, reader: Engine) -> None:
    fleet.machine("mine")
    fleet.machine("theirs", org="other", presence="offline")
    assert names(reader) == ["mine"]
    assert machines.count_by_status(reader, "home", Filters()).numbers == {("online", "ok", False): 1}
    assert machines.find_machine(reader, "home", "theirs") is None
    assert machines.find_rows(reader, "home", ["mine", "theirs"])[0].name == "mine"
    assert len(machines.find_rows(reader, "home", ["mine", "theirs"])) == 1


def test_the_same_id_in_two_organisations_is_two_machines(fleet: Fleet, reader: Engine) -> None:
    fleet.machine("web-1", cpu_percent=11.0)
    fleet.machine("web-1", org="other", cpu_percent=99.0)
    found = machines.find_machine(reader, "home", "web-1")
    assert found is not None
    assert found.cpu_percent == 11.0


def test_machines_are_counted_by_presence_and_health_without_the_retired(fleet: Fleet, reader: Engine) -> None:
    fleet.machine("a")
    fleet.machine("b", cpu_percent=99.0)
    fleet.machine("c", presence="offline", cpu_percent=None)
    fleet.machine("d", stated=False)
    fleet.machine("e", presence="retired", cpu_percent=99.0)
    counted = machines.count_by_status(reader, "home", Filters())
    assert counted.numbers == {
        ("online", "ok", False): 1,
        ("online", "critical", True): 1,
        ("offline", "unknown", True): 1,
        ("unknown", "unknown", False): 1,
        ("retired", "unknown", False): 1,
    }
    assert counted.of() == 4
    assert counted.of(("retired",)) == 1
    assert counted.of((), ("critical", "warn")) == 1
    assert counted.of(("online", "offline"), ("unknown",)) == 1


def test_counts_are_of_what_is_searched_for_whatever_it_is_like(fleet: Fleet, reader: Engine) -> None:
    fleet.machine("web-1", os="Ubuntu", labels={"site": "paris"})
    fleet.machine("web-2", presence="offline", labels={"site": "paris"})
    fleet.machine("db-1", labels={"site": "lyon"})
    filters = Filters(search="web", presences=("offline",), healths=("critical",))
    assert machines.count_by_status(reader, "home", filters).numbers == {
        ("online", "ok", False): 1,
        ("offline", "unknown", True): 1,
    }
    assert machines.count_by_status(reader, "home", Filters(labels=("site=lyon",))).of() == 1
    assert machines.count_by_status(reader, "home", Filters(search="nothing")).numbers == {}


def test_a_page_beyond_the_last_says_how_many_there_are(fleet: Fleet, reader: Engine) -> None:
    fleet.crowd(5)
    for offset, found in ((0, 2), (4, 1), (6, 0)):
        names, total = machines.find_page(reader, "home", Filters(), offset=offset, limit=2)
        assert (len(names), total) == (found, 5)


def test_retired_machines_are_found_only_when_asked_for(fleet: Fleet, reader: Engine) -> None:
    fleet.machine("a")
    fleet.machine("old", presence="retired")
    assert names(reader) == ["a"]
    assert names(reader, Filters(presences=("retired",))) == ["old"]


@pytest.mark.parametrize(
    ("search", "found"),
    [
        ("WEB", ["web-1"]),
        ("db.example", ["db-1"]),
        ("ubuntu web", ["web-1"]),
        ("paris", ["web-1"]),
        ("%", []),
        ("_", []),
        ("' OR 1=1 --", []),
        ("", ["db-1", "web-1"]),
    ],
)
def test_search_finds_every_word_in_any_field(fleet: Fleet, reader: Engine, search: str, found: list[str]) -> None:
    fleet.machine("web-1", os="Ubuntu", labels={"site": "paris"})
    fleet.machine("db-1", hostname="db.example.org")
    assert names(reader, Filters(search=search, order="machine")) == found


def test_filters_of_presence_and_health_narrow_together(fleet: Fleet, reader: Engine) -> None:
    fleet.machine("a", cpu_percent=99.0)
    fleet.machine("b", cpu_percent=99.0, presence="offline")
    fleet.machine("c", presence="offline")
    fleet.machine("d", cpu_percent=None)
    assert names(reader, Filters(presences=("online",), healths=("critical",))) == ["a"]
    assert names(reader, Filters(presences=("offline",), healths=("unknown",), order="machine")) == ["b", "c"]
    assert names(reader, Filters(presences=("offline",), healths=("critical",))) == []


@pytest.mark.parametrize("order", list(SORT_ORDERS))
@pytest.mark.parametrize("descending", [False, True])
def test_every_order_works_and_never_loses_a_machine(
    fleet: Fleet, reader: Engine, order: str, *, descending: bool
) -> None:
    fleet.machine("a", cpu_percent=5.0)
    fleet.machine("b", cpu_percent=95.0)
    fleet.machine("c", stated=False, os=None)
    assert sorted(names(reader, Filters(order=order, descending=descending))) == ["a", "b", "c"]


def test_what_was_not_measured_comes_last_either_way(fleet: Fleet, reader: Engine) -> None:
    fleet.machine("none", cpu_percent=None)
    fleet.machine("low", cpu_percent=5.0)
    fleet.machine("high", cpu_percent=95.0)
    assert names(reader, Filters(order="cpu")) == ["low", "high", "none"]
    assert names(reader, Filters(order="cpu", descending=True)) == ["high", "low", "none"]


def test_pages_do_not_overlap_when_all_are_equal(fleet: Fleet, reader: Engine) -> None:
    for i in range(7):
        fleet.machine(f"m-{i}")
    pages = [machines.find_page(reader, "home", Filters(order="cpu"), offset=offset, limit=3) for offset in (0, 3, 6)]
    assert [name for page, _ in pages for name in page] == [f"m-{i}" for i in range(7)]
    assert {total for _, total in pages} == {7}


def test_rows_come_in_the_order_asked_for_without_those_that_are_gone(fleet: Fleet, reader: Engine) -> None:
    fleet.machine("a")
    fleet.machine("b")
    assert [row.name for row in machines.find_rows(reader, "home", ["b", "gone", "a"])] == ["b", "a"]


def test_the_ledger_adds_up_all_streams_of_one_machine(fleet: Fleet, reader: Engine) -> None:
    mine, other = fleet.machine("mine"), fleet.machine("other")
    fleet.stream(mine, "1-100", highest_seq=100, late=12)
    fleet.stream(mine, "1-40,51-90", highest_seq=95, oldest_seq=91, dropped=7, duplicate=2)
    fleet.stream(other, "1", highest_seq=50)
    ledger = machines.read_ledgers(reader, machine_id=mine)[mine]
    assert (ledger.expected, ledger.stored, ledger.late, ledger.duplicate) == (195, 180, 12, 2)
    assert (ledger.waiting, ledger.dropped, ledger.lost) == (5, 7, 3)
