"""Problems as the page shows them, and their filters in an address."""

from datetime import UTC

import pytest
from seeding import NOW, Fleet
from sqlalchemy import Engine

from dashboard.problems import rows, view
from schemas.database.queries import problems
from schemas.database.queries.problems import ProblemFilter


def shown(reader: Engine, state: str = "active") -> list[list[str]]:
    found = problems.list_problems(reader, "home", ProblemFilter(state=state), offset=0, limit=10)
    drawn = rows.rows(found, NOW, UTC, path="/problems", machine_path="/machine")
    return [[row["href"], *(cell["text"] for cell in row["cells"] if "text" in cell)] for row in drawn]


def test_a_row_says_what_where_how_bad_since_when_and_for_how_long(fleet: Fleet, reader: Engine) -> None:
    web = fleet.machine("web", hostname="<b>web</b>", labels={"site": "nantes"})
    fleet.alert(web, "disk", NOW - 90_000, title="Disk nearly full", detail="99 %", severity="critical")
    fleet.alert(web, "cpu", NOW - 90_000, ended_at=NOW - 30_000, title="Mine, own", severity="critical")
    link = "/machine?id=web"
    assert shown(reader) == [[link, "Disk nearly full", "Critical", "<b>web</b> (web)", "22:11", "1 min 30 s", ""]]
    assert shown(reader, "resolved") == [[link, "Mine, own", "Resolved", "<b>web</b> (web)", "22:11", "1 min", ""]]


def test_an_incident_names_its_machines_and_leads_to_all_of_them(fleet: Fleet, reader: Engine) -> None:
    names = [f"m-{i}" for i in range(12)]
    fleet.incident("mass-silence", org="home", machines=12, of=60, names=names)
    ((link, title, severity, machine, *_rest),) = shown(reader)
    assert (link, title) == ("/problems?id=incident-1", "Machines stopped reporting at the same time")
    assert (severity, machine) == ("Critical", "12 machines")
    (problem,) = problems.list_problems(reader, "home", ProblemFilter(), offset=0, limit=10)
    assert rows.detail(problem).startswith("12 of 60 machines stopped reporting at the same time: m-0, m-1")
    assert rows.detail(problem).endswith("m-7 and 4 more")


def test_an_incident_of_a_later_version_is_shown_as_it_is(fleet: Fleet, reader: Engine) -> None:
    fleet.incident("<i>later</i>", org="home", names=None, machines=None)
    ((_link, title, severity, machine, *_rest),) = shown(reader)
    assert (title, severity, machine) == ("<i>later</i>", "Warning", "–")


@pytest.mark.parametrize(
    "wanted",
    [
        ProblemFilter(),
        ProblemFilter(state="resolved"),
        ProblemFilter(search="a b", machine="web-1", rule="disk", severity="critical"),
    ],
)
def test_an_address_leads_back_to_its_filters(wanted: ProblemFilter) -> None:
    assert view.parse(view.address(wanted)) == wanted


def test_what_an_address_names_wrongly_is_as_if_it_were_not_there() -> None:
    query = {"state": "open", "q": "x" * 999, "machine": "<b>", "rule": "' OR 1=1", "severity": "fatal"}
    assert view.parse(query) == ProblemFilter(search="x" * 100)
