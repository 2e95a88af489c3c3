"""Buttons that are disabled while no request can be made: they become usable again without a reload."""

from datetime import UTC
from unittest.mock import Mock

import pytest
from clocks import Clock
from seeding import ACTIONS, INFO, Fleet
from sqlalchemy import Engine
from streamlit.runtime.scriptrunner_utils.script_run_context import ThreadState
from streamlit.testing.v1 import AppTest

from dashboard import pages
from dashboard.auth.users import UserRole
from dashboard.page.page import PageContext, discover


def page(name: str, context: "PageContext") -> None:  # its source runs alone
    from collections import defaultdict
    from dataclasses import replace
    from importlib import import_module

    import streamlit as st

    there = st.Page(lambda: None, title="Fleet", url_path="fleet", default=True)
    st.navigation([there], position="hidden")
    import_module(f"dashboard.pages.{name}").show(replace(context, pages=defaultdict(lambda: there)))


@pytest.mark.parametrize("name", [found.path for found, _ in discover(pages)])
def test_whether_a_request_can_be_made_is_asked_only_in_what_refreshes(name: str, fleet: Fleet, reader: Engine) -> None:
    key = fleet.machine("attic", info={**INFO, "actions": ACTIONS})
    fleet.alert(key, "cpu", fleet.now)
    fleet.dead_letter("attic", detail="too high", reason="invalid")
    fleet.incident("mass-silence", org="home", ended_at=None)
    asked: list[str | None] = []

    def available(*_: str) -> str:
        asked.append(ThreadState.get().fragment_id)
        return ""

    context = PageContext(
        engine=reader,
        org="home",
        user="ada",
        role=UserRole.ADMIN,
        zone=UTC,
        refresh_seconds=5.0,
        clock=Clock(),
        publisher=Mock(certificate_end=None, unavailable=available, unreachable=available),
    )
    at = AppTest.from_function(page, kwargs={"name": name, "context": context}, default_timeout=60)
    at.query_params["id"] = "attic" if name == "machine" else ""
    at.run()
    assert not at.exception
    assert None not in asked
