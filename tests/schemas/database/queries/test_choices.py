"""Filter values of the fleet and filtering by them, on both databases."""

import pytest
from seeding import Fleet
from sqlalchemy import Engine

from schemas.database.queries import choices, machines
from schemas.database.queries.choices import CHOICES_MAX, Choices
from schemas.database.queries.machines import Filters


@pytest.fixture
def database_url(each_database_url: str) -> str:
    return each_database_url


def names(engine: Engine, **given: tuple[str, ...]) -> list[str]:
    filters = Filters(order="machine", **given)  # type: ignore[arg-type]  # only the tuples are given
    found, total = machines.find_page(engine, "home", filters, offset=0, limit=50)
    assert total == len(found)
    assert machines.matching_names(engine, "home", filters) == found
    return list(found)


def test_choices_are_what_the_organisations_machines_have(fleet: Fleet, reader: Engine) -> None:
    fleet.machine("a", os="Ubuntu", agent_version="0.2.0", labels={"site": "paris", "role": "web"})
    fleet.machine("b", os="alpine", agent_version="0.1.0", labels={"site": "paris", "0": ""})
    fleet.machine("none", os=None, agent_version=None, labels=None)
    fleet.machine("old", os="Windows 95", labels={"site": "attic"}, presence="retired")
    fleet.machine("theirs", org="other", os="Plan 9", agent_version="9", labels={"secret": "x"})
    assert choices.list_choices(reader, "home") == Choices(
        systems=("alpine", "Ubuntu"), versions=("0.1.0", "0.2.0"), labels=("0=", "role=web", "site=paris")
    )
    assert choices.list_choices(reader, "nowhere") == Choices()
    counted = choices.count_versions(reader, "home")
    assert tuple(sorted(version for version, _ in counted)) == choices.list_choices(reader, "home").versions
    assert all(number > 0 for _, number in counted)
    assert choices.count_versions(reader, "nowhere") == []


def test_the_commonest_are_offered_when_one_machine_makes_up_many(fleet: Fleet, reader: Engine) -> None:
    fleet.machine("liar", labels={f"a{i}": "x" for i in range(CHOICES_MAX + 50)})
    fleet.machine("a", labels={"site": "paris"})
    fleet.machine("b", labels={"site": "paris"})
    labels = choices.list_choices(reader, "home").labels
    assert len(labels) == CHOICES_MAX
    assert "site=paris" in labels


def test_what_is_no_line_of_printable_text_is_not_offered(fleet: Fleet, reader: Engine) -> None:
    fleet.machine(
        "evil", os="a\nb", agent_version="\x1b[2J", labels={"site": "\u202egnp", "Not a key": "x", "ok": "<b>"}
    )
    assert choices.list_choices(reader, "home") == Choices(labels=("ok=<b>",))


def test_systems_and_versions_narrow_together(fleet: Fleet, reader: Engine) -> None:
    fleet.machine("a", os="Ubuntu", agent_version="1")
    fleet.machine("b", os="Ubuntu", agent_version="2")
    fleet.machine("c", os="Debian", agent_version="2")
    fleet.machine("none", os=None, agent_version=None)
    fleet.machine("theirs", org="other", os="Ubuntu", agent_version="2")
    assert names(reader, systems=("Ubuntu",)) == ["a", "b"]
    assert names(reader, systems=("Ubuntu", "Debian")) == ["a", "b", "c"]
    assert names(reader, systems=("Ubuntu",), versions=("2",)) == ["b"]
    assert names(reader, systems=("ubuntu",)) == []


@pytest.mark.parametrize(
    ("labels", "found"),
    [
        (("site=paris",), ["a", "b"]),
        (("site=paris", "site=lyon"), ["a", "b", "c"]),
        (("site=paris", "role=web"), ["a"]),
        (("role=paris",), []),
        (("site=par",), []),
        (("site=%",), []),
        (("0=zero",), ["c"]),
        (("note=",), ["c"]),
        (("note=a=b",), ["a"]),
        (("note=null",), []),
        (("""note='"; DROP TABLE machine --""",), ["b"]),
    ],
)
def test_a_label_is_its_key_and_its_whole_value(
    fleet: Fleet, reader: Engine, labels: tuple[str, ...], found: list[str]
) -> None:
    fleet.machine("a", labels={"site": "paris", "role": "web", "note": "a=b"})
    fleet.machine("b", labels={"site": "paris", "note": """'"; DROP TABLE machine --"""})
    fleet.machine("c", labels={"site": "lyon", "0": "zero", "note": ""})
    fleet.machine("none", labels=None)
    assert names(reader, labels=labels) == found
