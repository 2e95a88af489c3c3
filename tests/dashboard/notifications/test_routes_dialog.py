"""The routes of a destination in its dialog, while another session changes them."""

from datetime import UTC
from pathlib import Path

import pytest
from clocks import Clock
from sqlalchemy import Engine
from streamlit.testing.v1 import AppTest

from dashboard.auth.users import UserRole, add_user
from dashboard.destinations.notification_centre import Caller, NotificationCentre
from dashboard.notifications.route_form import identity
from dashboard.page.page import PageContext
from schemas.people.routing import Route
from schemas.people.secret_box import SecretBox

ADA = Caller("ada", "acme")
DISK, AWAY, LOAD, BUSY = (Route(rules=(rule,), severities=frozenset({"critical"})) for rule in ("d", "a", "l", "b"))

pytestmark = pytest.mark.usefixtures("quick_hashing")


def dialog(centre: "NotificationCentre", context: "PageContext") -> None:  # its source runs alone
    import streamlit as st

    from dashboard.notifications import destination_dialog
    from dashboard.page.dialog_steps import DialogState

    if "state" not in st.session_state:
        st.session_state["state"] = DialogState("hook", lambda *_: None, step="routes")
    destination_dialog.details(centre, "", "hook", context, st.session_state["state"])


@pytest.fixture
def centre(accounts: Engine, tmp_path: Path) -> NotificationCentre:
    add_user(accounts, ADA.name, "correct horse battery", "admin", ADA.org)
    centre = NotificationCentre(accounts, SecretBox.load(tmp_path / "key"), Clock())
    centre.add(ADA, "", "hook", "https://example.org/hook")
    for route in (DISK, AWAY, LOAD):
        centre.add_route(ADA, "", "hook", route)
    return centre


@pytest.fixture
def opened(centre: NotificationCentre, reader: Engine) -> AppTest:
    context = PageContext(
        engine=reader, clock=Clock(), org="acme", user="ada", role=UserRole.ADMIN, zone=UTC, refresh_seconds=5.0
    )
    return AppTest.from_function(dialog, kwargs={"centre": centre, "context": context}, default_timeout=20).run()


def routes(centre: NotificationCentre) -> tuple[Route, ...]:
    return centre.find(ADA, "", "hook").routes


def test_the_button_of_a_route_removes_this_route_wherever_it_is_in_the_list_by_then(
    centre: NotificationCentre, opened: AppTest
) -> None:
    remove = opened.button(key=f"dialog.0-route-{identity(LOAD)}")
    centre.remove_route(ADA, "", "hook", DISK)  # in another session
    opened.run()  # a refresh that the browser has not received when it sends the click
    remove.click().run()
    assert routes(centre) == (AWAY,)


def test_a_route_that_another_session_removed_does_not_return_and_one_that_it_added_stays(
    centre: NotificationCentre, opened: AppTest
) -> None:
    centre.remove_route(ADA, "", "hook", DISK)
    centre.add_route(ADA, "", "hook", BUSY)
    opened.button(key=f"dialog.0-route-{identity(AWAY)}").click().run()
    assert routes(centre) == (LOAD, BUSY)
    centre.remove_route(ADA, "", "hook", BUSY)
    opened.text_input(key="dialog.0.rules").set_value("d")
    opened.selectbox(key="dialog.0.severity").set_value("critical")
    opened.button(key="dialog.0-on").click().run()
    assert routes(centre) == (LOAD, DISK)


def test_routes_have_the_same_identity_if_and_only_if_they_are_equal() -> None:
    severities = Route.model_validate({"severities": ["warning", "critical"], "labels": {"b": "1", "a": "2"}})
    same = Route.model_validate({"severities": ["critical", "warning"], "labels": {"a": "2", "b": "1"}})
    assert identity(severities) == identity(same)
    assert len({identity(each) for each in (DISK, AWAY, LOAD, BUSY, severities)}) == 5
