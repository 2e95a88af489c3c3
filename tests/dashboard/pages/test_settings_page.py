"""The settings page and the settings changes as Streamlit runs them, without a browser or an ingestor."""

import json
from collections.abc import Callable
from datetime import UTC
from typing import Any

import pytest
from clocks import Clock
from seeding import NOW, Fleet
from sqlalchemy import Engine, insert
from streamlit.testing.v1 import AppTest

from broker.access.credentials import hash_secret
from dashboard.api.tokens import ApiTokens
from dashboard.auth.sign_in_sessions import SignInSessions
from dashboard.auth.user_administration import UserAdministration
from dashboard.auth.users import UserRole, add_user
from dashboard.page.page import PageContext
from schemas.database import tables

Open = Callable[..., AppTest]

pytestmark = pytest.mark.usefixtures("quick_hashing")


def page(name: str, context: "PageContext") -> None:  # its source runs alone
    from dataclasses import replace
    from importlib import import_module

    import streamlit as st

    there = st.Page(lambda: None, title="Fleet", url_path="fleet", default=True)
    st.navigation([there], position="hidden")
    pages = dict.fromkeys(("fleet", "machine", "activity", "settings"), there)
    import_module(f"dashboard.pages.{name}").show(replace(context, pages=pages))


@pytest.fixture
def people(accounts: Engine, clock: Clock) -> UserAdministration:
    add_user(accounts, "ada", "correct horse battery", UserRole.ADMIN, "home", by="root")
    add_user(accounts, "carl", "correct horse battery", UserRole.ADMIN, "acme", by="root")
    return UserAdministration(accounts, SignInSessions(accounts, clock, idle_seconds=60, max_seconds=60))


@pytest.fixture
def api_tokens(accounts: Engine) -> ApiTokens:
    return ApiTokens(accounts, Clock())


@pytest.fixture
def visit(reader: Engine, people: UserAdministration, api_tokens: ApiTokens) -> Open:
    def visit(name: str, *, role: UserRole = UserRole.ADMIN, **query: str) -> AppTest:
        context = PageContext(
            engine=reader,
            org="home",
            user="ada",
            role=role,
            zone=UTC,
            refresh_seconds=5.0,
            clock=Clock(),
            users=people if role is UserRole.ADMIN else None,
            api_tokens=api_tokens if role is UserRole.ADMIN else None,
        )
        at = AppTest.from_function(page, kwargs={"name": name, "context": context}, default_timeout=60)
        for key, value in query.items():
            at.query_params[key] = value
        at.run()
        assert not at.exception
        return at

    return visit


def shown(at: AppTest) -> str:
    """Return all HTML of a page."""
    return "\n".join(str(element.proto.body) for element in at.get("html"))


def rows(at: AppTest) -> list[list[str]]:
    """Return the texts of the table's cells: the first value of each, as sent (see `dashboard.widgets.table`)."""
    (table,) = [each for each in at.get("bidi_component") if each.proto.component_name == "dashfleet.table"]
    data = json.loads(table.proto.json)
    texts = [values[0] if values else "" for _shape, *values in data["cells"]]
    return [[texts[number] for number in row[2:]] for row in data["rows"]]


def asked(fleet: Fleet, kind: str, detail: str, *, state: str = "accepted", org: str = "home") -> None:
    row: dict[str, Any] = {"id": f"{kind}-{org}"[:32], "org_id": fleet.org(org), "principal": "_dashboard"}
    row |= {"actor": "ada", "kind": kind, "batch": "", "state": state, "detail": detail, "created_at": NOW}
    with fleet.engine.begin() as connection:
        connection.execute(insert(tables.request).values(row))


def test_changes_are_listed_with_who_made_them_and_can_be_searched(fleet: Fleet, visit: Open) -> None:
    asked(fleet, "add-token", "token-1: 1 machine")
    asked(fleet, "configure-org", "<b>refused</b>", state="refused")
    asked(fleet, "revoke-token", "of another", org="acme")
    at = visit("timeline", kinds="settings,user")
    assert [(*row[1:3], row[5]) for row in rows(at)] == [
        ("Done", "User added · ada: Admin", "root"),
        ("Refused", "Settings changed · <b>refused</b>", "ada"),
        ("Done", "Token created · token-1: 1 machine", "ada"),
    ]
    at.text_input[0].set_value("token").run()
    assert [row[2] for row in rows(at)] == ["Token created · token-1: 1 machine"]
    at.text_input[0].set_value("nothing like it").run()
    assert "No event matches these filters." in shown(at)


def test_what_was_done_with_people_is_for_admins_only(fleet: Fleet, visit: Open) -> None:
    asked(fleet, "add-token", "token-1: 1 machine")
    assert [row[2] for row in rows(visit("timeline", role=UserRole.VIEWER))] == ["Token created · token-1: 1 machine"]


def test_tokens_say_what_is_left_of_them(fleet: Fleet, visit: Open) -> None:
    fleet.org()
    record = hash_secret("made-up")
    for name, token, revoked_at in (
        ("good", {"uses": 3, "used": 1, "expires_at": NOW + 1}, None),
        ("late", {"uses": 1, "used": 0, "expires_at": NOW}, None),
        ("used", {"uses": 1, "used": 1, "expires_at": NOW + 1}, None),
        ("gone", {"uses": 1, "used": 0, "expires_at": NOW + 1}, NOW),
    ):
        who = {"username": f"home._{name}", "role": "enrol", "org": "home", "name": name, "secret_hash": record}
        with fleet.engine.begin() as connection:
            connection.execute(insert(tables.principal).values(**who, created_at=NOW, revoked_at=revoked_at))
            values = {**token, "created_at": NOW, "created_by": "<script>ada"}
            connection.execute(insert(tables.token).values(username=who["username"], **values))
    at = visit("settings", section="tokens")
    assert [row[:3] for row in rows(at)] == [
        ["gone", "Revoked", "0 of 1"],
        ["good", "Valid", "1 of 3"],
        ["late", "Expired", "0 of 1"],
        ["used", "Used up", "1 of 1"],
    ]
    assert record not in str(at.main)


@pytest.mark.parametrize("section", ["organisation", "people", "tokens", "programs", "api-tokens", "keys", "nonsense"])
def test_every_section_has_something_to_say_of_an_empty_organisation(fleet: Fleet, visit: Open, section: str) -> None:
    fleet.org()
    at = visit("settings", section=section)
    assert "Settings" in shown(at)
    assert at.button


def test_labels_are_counted_over_the_machines_that_have_them(fleet: Fleet, visit: Open) -> None:
    fleet.machine("a", labels={"site": "paris", "odd": "<b>x"})
    fleet.machine("b", labels={"site": "paris"})
    fleet.machine("c", labels={"site": "lyon"})
    fleet.machine("d", labels={"site": "paris"}, org="acme")
    fleet.machine("e", labels={"site": "paris"}, presence="retired")
    assert rows(visit("settings", section="labels")) == [
        ["odd", "<b>x", "1"],
        ["site", "lyon", "1"],
        ["site", "paris", "2"],
    ]


def test_an_organisation_without_a_label_or_a_key_is_told_where_they_come_from(fleet: Fleet, visit: Open) -> None:
    fleet.org()
    assert "No labels yet" in shown(visit("settings", section="labels"))
    assert "dashfleet key create --org home" in shown(visit("settings", section="keys"))


def test_only_the_organisations_own_people_are_listed(fleet: Fleet, visit: Open) -> None:
    fleet.org()
    assert [row[0] for row in rows(visit("settings", section="people"))] == ["ada"]


def test_only_the_organisations_own_api_tokens_are_listed_with_their_use(
    fleet: Fleet, visit: Open, api_tokens: ApiTokens
) -> None:
    fleet.org()
    used = api_tokens.create("home", "grafana", UserRole.VIEWER, seconds=60, by="root")
    api_tokens.create("home", "nightly", UserRole.ADMIN, seconds=60, by="ada")
    api_tokens.create("acme", "theirs", UserRole.VIEWER, seconds=60, by="carl")
    api_tokens.find(used)
    found = rows(visit("settings", section="api-tokens"))
    assert [(row[0], row[2], row[4], row[5]) for row in found] == [
        ("grafana", "Viewer", "0 s ago", "root"),
        ("nightly", "Admin", "never", "ada"),
    ]


def test_defaults_are_marked_and_weights_are_folded_away(fleet: Fleet, visit: Open) -> None:
    fleet.org()
    at = visit("settings", section="organisation")
    html = shown(at)
    assert '<dt>Critical below</dt><dd><span class="df-mark">default</span>60</dd>' in html
    (advanced,) = at.expander
    assert advanced.label == "Advanced"
    folded = [str(each.proto.body) for each in advanced.get("html")]
    assert "CPU weight" in folded[0]
    assert "CPU weight" not in html.replace(folded[0], "")
