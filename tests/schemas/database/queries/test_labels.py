"""Labels on both databases: those of one organisation never cost another its answers."""

import pytest
from seeding import Fleet
from sqlalchemy import Engine, text

from schemas.database.queries.choices import count_labels, list_choices
from schemas.database.queries.machines import Filters, matching_names


@pytest.fixture
def database_url(each_database_url: str) -> str:
    return each_database_url


@pytest.fixture
def labelled(fleet: Fleet) -> Engine:
    fleet.machine("web-1", labels={"site": "paris"})
    fleet.machine("web-2", labels={"site": "lyon", "rack": "b"})
    fleet.machine("bare", labels=None)
    return fleet.engine


def test_machines_are_filtered_by_label_and_labels_are_counted(labelled: Engine) -> None:
    assert matching_names(labelled, "home", Filters(labels=("site=paris", "site=nice"))) == ("web-1",)
    assert matching_names(labelled, "home", Filters(labels=("site=lyon", "rack=b"))) == ("web-2",)
    assert count_labels(labelled, "home") == [("rack=b", 1), ("site=lyon", 1), ("site=paris", 1)]
    assert list_choices(labelled, "home").labels == ("rack=b", "site=lyon", "site=paris")


def test_machines_are_sorted_by_the_values_of_a_label_and_those_without_it_are_last(
    labelled: Engine, fleet: Fleet
) -> None:
    fleet.machine("web-0", labels={"site": "Metz"})
    assert matching_names(labelled, "home", Filters(order="label-site")) == ("web-2", "web-0", "web-1", "bare")
    falling = Filters(order="label-site", descending=True)
    assert matching_names(labelled, "home", falling) == ("web-1", "web-0", "web-2", "bare")


@pytest.mark.parametrize(
    ("search", "found"),
    [
        ("site=paris", ("web-1",)),
        ("site=par", ()),
        ("site=", ("web-1", "web-2")),
        ("site=lyon web", ("web-2",)),
        ("site=paris site=lyon", ()),
        ("rack=b", ("web-2",)),
        ("none=x", ()),
        ("=paris", ()),
        ("a'b=x", ()),
    ],
)
def test_a_word_of_a_search_can_be_a_label_and_its_value(labelled: Engine, search: str, found: tuple[str, ...]) -> None:
    assert matching_names(labelled, "home", Filters(search=search)) == found


def test_text_that_a_database_cannot_decode_is_a_matter_of_its_organisation(labelled: Engine, fleet: Fleet) -> None:
    for number in range(50):
        fleet.machine(f"bad-{number}", org="work", labels={"site": "x"})
    stored = r"""UPDATE machine SET labels = '{"site":"a\u0000b"}' WHERE name LIKE 'bad-%'"""
    with labelled.begin() as connection:  # as stored by a version that did not check it
        connection.exec_driver_sql(stored.replace("%", "%%") if labelled.dialect.name == "postgresql" else stored)
    with labelled.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("ANALYZE"))
    assert matching_names(labelled, "home", Filters(labels=("site=paris",))) == ("web-1",)
    assert matching_names(labelled, "home", Filters(search="paris")) == ("web-1",)
    assert matching_names(labelled, "home", Filters(order="label-site")) == ("web-2", "web-1", "bare")
    assert count_labels(labelled, "home")[-1] == ("site=paris", 1)
