"""Lists of facts as Streamlit shows them: the section of the machine page, and the pages of a fleet."""

from collections.abc import Callable
from datetime import UTC
from typing import Any
from unittest.mock import Mock, patch

import pytest
from clocks import Clock
from seeding import Fleet
from sqlalchemy import Engine
from streamlit.testing.v1 import AppTest

from dashboard.auth.users import UserRole
from dashboard.facts import columns, controls, section
from dashboard.page.page import PageContext
from schemas.database.facts.fact_queries import FactFilter, FactSummary, list_fleet_items

Open = Callable[..., AppTest]
PUBLISHER = Mock(certificate_end=None, unavailable=lambda _org: "", unreachable=lambda: "")
EVIL = "<img src=x onerror=alert(1)>"


def page(name: str, machine: str, context: "PageContext", info: "dict[str, Any] | None") -> None:
    # its source runs alone
    from dataclasses import replace
    from importlib import import_module

    import streamlit as st

    from dashboard.facts import section

    there = st.Page(lambda: None, title="Fleet", url_path="fleet", default=True)
    st.navigation([there], position="hidden")
    context = replace(context, pages={"machine": there})
    if machine:
        section.draw(context, machine, info)
    else:
        import_module(f"dashboard.pages.{name}").show(context)


@pytest.fixture
def visit(reader: Engine) -> Open:
    def visit(
        name: str = "",
        *,
        machine: str = "",
        role: UserRole = UserRole.VIEWER,
        info: dict[str, Any] | None = None,
        **query: str,
    ) -> AppTest:
        context = PageContext(reader, Clock(), "home", "vera", role, UTC, refresh_seconds=5.0, publisher=PUBLISHER)
        given = {"name": name, "machine": machine, "context": context, "info": info}
        at = AppTest.from_function(page, kwargs=given, default_timeout=60)
        at.query_params.update(query)
        at.run()
        assert not at.exception
        return at

    return visit


def html(at: AppTest) -> str:
    return "\n".join(str(each.proto.body) for each in at.get("html"))


def table(at: AppTest) -> str:
    return "".join(str(each.proto) for each in at.get("bidi_component"))


def seeded(fleet: Fleet) -> None:
    attic, cellar, other = fleet.machine("attic"), fleet.machine("cellar"), fleet.machine("attic", org="office")
    web = {"image": "nginx:1.27", "state": "running", "memory_bytes": 2**20}
    fleet.facts(attic, "containers", {f"web-{number}": ("good", web) for number in range(15)})
    fleet.facts(attic, "services", {"nginx.service": ("good", {}), EVIL: ("critical", {"state": EVIL})})
    fleet.facts(cellar, "containers", {"db": ("critical", {"image": "postgres:16", "state": "exited"})})
    fleet.facts(other, "containers", {"theirs": ("good", {})})


def test_a_machine_without_lists_has_no_section(fleet: Fleet, visit: Open) -> None:
    fleet.machine("attic")
    assert html(visit(machine="attic")) == ""


def test_the_section_starts_with_the_list_that_has_the_worst_items_and_escapes_them(fleet: Fleet, visit: Open) -> None:
    seeded(fleet)
    at = visit(machine="attic")
    assert at.button_group[0].options == ["Containers (15)", "Services (1 of 2)"]
    assert "nginx.service" in html(at)
    assert "web-1" not in html(at)  # is not read before it is chosen
    assert EVIL not in html(at)
    assert html(at).index("&lt;img") < html(at).index("nginx.service")


def test_a_long_list_is_cut_until_all_of_it_is_wanted(fleet: Fleet, visit: Open) -> None:
    seeded(fleet)
    at = visit(machine="attic")
    at.session_state["facts.kind"] = "containers"
    at.run()
    assert html(at).count("nginx:1.27") == section.SHOWN_FIRST
    at.button(key="facts_more").click().run()
    assert html(at).count("nginx:1.27") == 15
    assert "1 MiB" in html(at)


def test_all_containers_of_the_organisation_are_listed_worst_first_and_filtered_by_the_address(
    fleet: Fleet, visit: Open
) -> None:
    seeded(fleet)
    found = table(visit("containers"))
    assert found.index("postgres:16") < found.index("nginx:1.27")
    assert "theirs" not in found
    assert "nginx:1.27" not in table(visit("containers", state="critical"))
    assert "postgres:16" not in table(visit("containers", q="attic web-3"))
    assert "No matches" in html(visit("containers", q="nowhere"))
    assert "Nothing to show yet" in html(visit("checks"))


def test_items_are_found_page_by_page_and_those_of_other_organisations_never(fleet: Fleet, reader: Engine) -> None:
    seeded(fleet)
    every = [
        item.key
        for offset in range(0, 20, 6)
        for item in list_fleet_items(reader, "home", FactFilter("containers"), offset=offset, limit=6)
    ]
    assert sorted(every) == sorted(["db", *(f"web-{number}" for number in range(15))])
    assert [each.key for each in list_fleet_items(reader, "office", FactFilter("containers"))] == ["theirs"]


def test_fields_that_most_items_have_get_a_column_and_the_others_are_not_lost() -> None:
    items = [{"state": "up", "cpu_percent": 1.0, "a": 1, "b": 2, "c": 3, "rare": "x"}, {"state": "down", "d": 4}]
    names = columns.chosen(items)
    assert names == ["state", "rare", "cpu_percent", "a", "b"]
    assert columns.heads(names, items) == ["State", "Rare", "CPU", "A", "B"]
    assert columns.values(names, items[1]) == ["down", "", "", "", ""]
    assert columns.others(names, items[1]) == "D: 4"


def test_the_title_of_a_list_counts_what_needs_attention() -> None:
    assert section.label(FactSummary("checks", 0, 0, {"good": 7, "fair": 2, "critical": 1})) == "Checks (3 of 10)"


def control(*names: str) -> dict[str, Any]:
    """Return the inventory of a machine that offers the action `container`, for these names only if there are any."""
    name: dict[str, Any] = {"type": "string", **({"enum": list(names)} if names else {})}
    operation = {"type": "string", "enum": ["start", "stop", "restart"]}
    schema = {"type": "object", "properties": {"name": name, "operation": operation}, "required": ["name", "operation"]}
    return {"actions": [{"name": "container", "title": "Control a container", "arguments_schema": schema}]}


def test_an_operator_restarts_a_container_from_its_list_with_the_dialog_filled_in(fleet: Fleet, visit: Open) -> None:
    key = fleet.machine("nas", info=control())
    fleet.facts(key, "containers", {EVIL: ("critical", {"state": "exited"}), "web": ("good", {"state": "running"})})
    fleet.beat(fleet.now)
    at = visit(machine="nas", role=UserRole.OPERATOR, info=control())
    choice = at.selectbox(key="facts.control.containers")
    assert len(choice.options) == 2
    choice.select_index(1).run()
    with patch("dashboard.actions.dialog.request") as request:
        at.button(key="facts_restart_containers").click().run()
    (context, machines), named = request.call_args
    assert (context.org, machines) == ("home", ("nas",))
    assert named == {"action": "container", "arguments": {"name": "web", "operation": "restart"}}


def test_nothing_can_be_controlled_that_the_machine_does_not_offer_or_the_visitor_may_not(
    fleet: Fleet, visit: Open
) -> None:
    key = fleet.machine("nas")
    fleet.facts(key, "containers", {"web": ("good", {})})
    for role, info in ((UserRole.VIEWER, control()), (UserRole.OPERATOR, {}), (UserRole.OPERATOR, control("db"))):
        at = visit(machine="nas", role=role, info=info)
        assert not at.button
        assert not at.selectbox
    assert controls.permitted(control("web"), "containers", ["db", "web"]) == ["web"]
    assert controls.permitted(control(), "services", ["web"]) == []
    assert controls.permitted(None, "containers", ["web"]) == []
