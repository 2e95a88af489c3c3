"""The machines of an action from the fleet page."""

from types import SimpleNamespace
from typing import Any

import pytest
import streamlit as st

from dashboard.actions import dialog
from dashboard.fleet import selection
from dashboard.widgets.ticked_rows import TickedRows

TABLE = "fleet_table"


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, ...]]:
    """The machines of each requested dialog; db-01 is selected at first."""
    about: list[tuple[str, ...]] = []
    monkeypatch.setattr(st, "session_state", {selection._SELECTION: TickedRows(names=("db-01",))})
    monkeypatch.setattr(dialog, "request", lambda _context, names: about.append(names))
    return about


def click_act(*, changes: dict[str, bool], revision: int = 0, may_act: bool = True) -> None:
    """Click Run action while the browser has ticks that no handler has applied yet."""
    st.session_state[TABLE] = SimpleNamespace(ticks={"revision": revision, "changes": changes})
    context: Any = SimpleNamespace(may_act=may_act)
    selection._act(context, TABLE)


def test_a_tick_that_comes_with_the_click_on_act_counts(asked: list[tuple[str, ...]]) -> None:
    click_act(changes={"db-01": True, "db-02": True})
    click_act(changes={"db-01": False, "db-02": True})
    assert asked == [("db-01", "db-02"), ("db-02",)]


def test_a_tick_of_an_earlier_selection_does_not(asked: list[tuple[str, ...]]) -> None:
    click_act(changes={"db-02": True}, revision=7)
    assert asked == [("db-01",)]


def test_who_may_not_act_asks_for_nothing(asked: list[tuple[str, ...]]) -> None:
    click_act(changes={"db-02": True}, may_act=False)
    assert asked == []
