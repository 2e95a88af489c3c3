"""The page of rejected messages as Streamlit runs it, without a browser or an ingestor."""

from collections.abc import Callable
from datetime import UTC
from unittest.mock import Mock

import pytest
from clocks import Clock
from seeding import Fleet
from sqlalchemy import Engine
from streamlit.testing.v1 import AppTest

from dashboard.auth.users import UserRole
from dashboard.page.page import PageContext, discover
from schemas.contract.administration import ClearDeadLetters

Open = Callable[..., AppTest]


def page(name: str, context: "PageContext") -> None:  # its source runs alone
    from dataclasses import replace
    from importlib import import_module

    import streamlit as st

    there = st.Page(lambda: None, title="Fleet", url_path="fleet", default=True)
    st.navigation([there], position="hidden")
    pages = dict.fromkeys(("fleet", "machine", "activity", "rejected"), there)
    import_module(f"dashboard.pages.{name}").show(replace(context, pages=pages))


@pytest.fixture
def publisher() -> Mock:
    ready = {"unavailable.return_value": "", "unreachable.return_value": ""}
    return Mock(**ready, **{"administer.return_value": "0" * 32})


@pytest.fixture
def visit(reader: Engine, publisher: Mock) -> Open:
    def visit(name: str = "rejected", **query: str) -> AppTest:
        context = PageContext(
            engine=reader,
            org="home",
            user="ada",
            role=UserRole.ADMIN,
            zone=UTC,
            refresh_seconds=5.0,
            clock=Clock(),
            publisher=publisher,
        )
        at = AppTest.from_function(page, kwargs={"name": name, "context": context}, default_timeout=60)
        for key, value in query.items():
            at.query_params[key] = value
        at.run()
        assert not at.exception
        return at

    return visit


def shown(at: AppTest) -> str:
    """Return all HTML and code of a page."""
    return "\n".join([*(str(each.proto.body) for each in at.get("html")), *(each.value for each in at.code)])


def table(at: AppTest) -> str:
    """Return what the page's table received, or an empty text without a table."""
    return "".join(str(each.proto) for each in at.get("bidi_component"))


def test_only_admins_have_the_page() -> None:
    from dashboard import pages

    (found,) = [page for page, _ in discover(pages) if page.path == "rejected"]
    assert found.roles == {UserRole.ADMIN}


def test_the_messages_of_the_organisation_are_listed_and_no_others(fleet: Fleet, visit: Open) -> None:
    fleet.dead_letter("attic", detail="vitals.cpu_percent: too high", reason="invalid")
    fleet.dead_letter("secret", org="acme")
    found = table(visit())
    assert "vitals.cpu_percent: too high" in found
    assert "secret" not in found


def test_one_message_is_shown_with_its_payload_escaped_and_says_that_it_was_cut(fleet: Fleet, visit: Open) -> None:
    evil = "<img src=x onerror=alert(1)>"
    id_ = fleet.dead_letter("attic", detail=evil, payload=f"{evil}\x1b[2J", size_bytes=70_000)
    at = visit(id=str(id_))
    html = "\n".join(str(each.proto.body) for each in at.get("html"))
    assert evil not in html
    assert "&lt;img" in html
    (code,) = at.code
    assert (code.language, "\x1b" in code.value) == ("plaintext", False)
    assert "Only the start" in html


@pytest.mark.parametrize("id_", ["0", "x", "9" * 30, "-1", "²"])
def test_a_message_that_is_not_there_is_said_to_be_missing(fleet: Fleet, visit: Open, id_: str) -> None:
    fleet.org()
    assert "Message not found" in shown(visit(id=id_))


def test_a_message_of_another_organisation_is_not_there(fleet: Fleet, visit: Open) -> None:
    fleet.org()
    other = fleet.dead_letter("attic", org="acme", payload="their payload")
    at = visit(id=str(other))
    assert "Message not found" in shown(at)
    assert "their payload" not in shown(at)


def test_of_one_machine_only_its_messages_are_listed(fleet: Fleet, visit: Open) -> None:
    fleet.dead_letter("attic", detail="of the attic")
    fleet.dead_letter("cellar", detail="of the cellar")
    found = table(visit(machine="attic"))
    assert "of the attic" in found
    assert "of the cellar" not in found


def test_nothing_rejected_is_said(fleet: Fleet, visit: Open) -> None:
    fleet.org()
    assert "No rejected messages" in shown(visit())


def test_clearing_requests_the_deletion_of_what_was_listed(fleet: Fleet, visit: Open, publisher: Mock) -> None:
    fleet.beat(fleet.now)
    fleet.machine("attic")
    fleet.dead_letter("attic", received_at=fleet.now - 5)
    at = visit(machine="attic")
    at.button(key="rejected.clear").click().run()
    (clear,) = [button for button in at.button if button.label == "Clear"]
    clear.click().run()
    (call,) = publisher.administer.call_args_list
    assert call.args == ("home", ClearDeadLetters(machine="attic", until=fleet.now - 5))
    assert call.kwargs == {"role": UserRole.ADMIN, "actor": "ada"}


def test_the_machine_page_links_its_rejected_messages(fleet: Fleet, visit: Open) -> None:
    fleet.machine("attic")
    assert "rejected message" not in links(visit("machine", id="attic"))
    fleet.dead_letter("attic")
    fleet.dead_letter("attic")
    fleet.dead_letter("attic", org="acme")
    assert "2 rejected messages" in links(visit("machine", id="attic"))


def links(at: AppTest) -> str:
    return "\n".join(str(each.proto) for each in at.get("page_link"))
