"""A refresh of a page that is no longer shown says nothing to the browser."""

import inspect
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from streamlit.runtime.fragment import MemoryFragmentStorage
from streamlit.runtime.scriptrunner.script_runner import ScriptRunner
from streamlit.runtime.scriptrunner_utils.script_requests import RerunData

from dashboard.server import stale_refreshes


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Callable[[RerunData], list[RerunData]]:
    """Lets Streamlit run this; returns what it really ran. The page that is shown has one refresh, called `here`."""
    really: list[RerunData] = []
    monkeypatch.setattr(ScriptRunner, "_run_script", ScriptRunner._run_script)  # to be put back
    monkeypatch.setattr(stale_refreshes, "_run_script", lambda _, rerun_data: really.append(rerun_data))
    stale_refreshes.leave_out()
    runner: Any = SimpleNamespace(_fragment_storage=SimpleNamespace(contains={"here"}.__contains__))

    def run(rerun_data: RerunData) -> list[RerunData]:
        ScriptRunner._run_script(runner, rerun_data)
        return really

    return run


def test_refreshes_of_the_page_before_are_left_out(run: Callable[[RerunData], list[RerunData]]) -> None:
    assert run(RerunData(fragment_id_queue=["before", "the banner before"], is_auto_rerun=True)) == []


@pytest.mark.parametrize(
    "asked",
    [
        RerunData(),
        RerunData(fragment_id_queue=["here"], is_auto_rerun=True),
        RerunData(fragment_id_queue=["before", "here"], is_auto_rerun=True),
        RerunData(fragment_id_queue=["before"]),
    ],
    ids=["the page", "its refresh", "also its refresh", "a click"],
)
def test_the_page_its_refreshes_and_clicks_run(run: Callable[[RerunData], list[RerunData]], asked: RerunData) -> None:
    assert run(asked) == [asked]


def test_streamlit_has_what_is_replaced_here() -> None:
    assert stale_refreshes._run_script.__name__ == "_run_script"
    assert stale_refreshes._run_script.__module__ == ScriptRunner.__module__
    assert not MemoryFragmentStorage().contains("before")
    assert "_fragment_storage" in inspect.getsource(ScriptRunner.__init__)
