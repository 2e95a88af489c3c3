"""Streamlit's queue of messages, its ends of fragment runs, its refreshes and requests, as corrected."""

import asyncio
import inspect
import json
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from threading import Event
from types import SimpleNamespace
from typing import Any
from unittest.mock import MagicMock

import pytest
from streamlit.components.v2.bidi_component import main as components
from streamlit.proto.BidiComponent_pb2 import BidiComponent
from streamlit.proto.ClientState_pb2 import ClientState
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from streamlit.proto.NewSession_pb2 import CustomThemeConfig
from streamlit.proto.WidgetStates_pb2 import WidgetState, WidgetStates
from streamlit.runtime import Runtime, app_session
from streamlit.runtime.app_session import AppSession
from streamlit.runtime.forward_msg_queue import ForwardMsgQueue
from streamlit.runtime.fragment import MemoryFragmentStorage
from streamlit.runtime.memory_uploaded_file_manager import MemoryUploadedFileManager
from streamlit.runtime.script_data import ScriptData
from streamlit.runtime.scriptrunner.script_cache import ScriptCache
from streamlit.runtime.scriptrunner.script_runner import ScriptRunner
from streamlit.runtime.scriptrunner_utils.script_requests import RerunData, ScriptRequests
from streamlit.runtime.state.safe_session_state import SafeSessionState

from dashboard.server import streamlit_fixes

SCRIPT = """
import streamlit as st
for name in ("dialog", "table"):
    st.fragment(lambda name=name: st.write(name), key=name)()
"""
ENDED = ForwardMsg.FINISHED_FRAGMENT_RUN_SUCCESSFULLY
EARLY = ForwardMsg.FINISHED_EARLY_FOR_RERUN


@pytest.fixture(autouse=True)
def _corrected(monkeypatch: pytest.MonkeyPatch) -> None:
    for owner, name in (
        (ForwardMsgQueue, "clear"),
        (AppSession, "_create_scriptrunner"),
        (AppSession, "_handle_scriptrunner_event_on_event_loop"),
        (ScriptRequests, "_request_rerun_locked"),
        (ScriptRunner, "_run_script"),
        (AppSession, "request_rerun"),
        (SafeSessionState, "on_script_will_rerun"),
        (ScriptRunner, "_maybe_handle_execution_control_request"),
        (app_session, "_populate_theme_msg"),
        (components, "serialize_mixed_data"),
    ):
        monkeypatch.setattr(owner, name, getattr(owner, name))  # restored after the test
    streamlit_fixes.apply()
    streamlit_fixes.apply()


def drawn(fragment: str) -> ForwardMsg:
    message = ForwardMsg()
    message.delta.fragment_id = fragment
    message.delta.new_element.markdown.body = fragment
    return message


def ended(*fragments: str, status: ForwardMsg.ScriptFinishedStatus.ValueType = ENDED) -> ForwardMsg:
    message = ForwardMsg(script_finished=status)
    message.metadata.run.fragment_ids.extend(fragments)
    return message


def after(again: list[str] | None, *waiting: ForwardMsg) -> list[tuple[str, ...]]:
    """Return the queued messages that are sent after these fragments, or the whole page, began to run again."""
    queue = ForwardMsgQueue()
    for message in waiting:
        queue.enqueue(message)
    queue.clear(retain_lifecycle_msgs=True, fragment_ids_this_run=again)
    return [
        ("drawn", message.delta.fragment_id)
        if message.HasField("delta")
        else (ForwardMsg.ScriptFinishedStatus.Name(message.script_finished), *message.metadata.run.fragment_ids)
        for message in queue.flush()
    ]


def test_the_end_of_one_fragments_run_is_told_when_another_runs_before_it_was_sent() -> None:
    assert after(["table"], drawn("dialog"), ended("dialog")) == [
        ("drawn", "dialog"),
        ("FINISHED_FRAGMENT_RUN_SUCCESSFULLY", "dialog"),
    ]


def test_what_a_fragment_drew_is_dropped_when_it_runs_again_and_that_it_ended_with_it() -> None:
    assert after(["dialog"], drawn("dialog"), ended("dialog")) == [("FINISHED_EARLY_FOR_RERUN", "dialog")]
    assert after(["table"], drawn("table"), drawn("dialog"), ended("table", "dialog")) == [
        ("drawn", "dialog"),
        ("FINISHED_FRAGMENT_RUN_SUCCESSFULLY", "dialog"),
    ]


def test_the_theme_is_converted_once_and_sent_as_streamlit_would() -> None:
    for section in ("theme", "theme.light", "theme.dark", "theme.sidebar"):
        wanted, sent = CustomThemeConfig(), [CustomThemeConfig(), CustomThemeConfig()]
        streamlit_fixes._populate_theme(wanted, section)
        for each in sent:
            app_session._populate_theme_msg(each, section)
        assert sent == [wanted, wanted]
    assert streamlit_fixes._theme.cache_info().hits >= 4


def test_the_rest_is_as_without_it() -> None:
    assert after(None, drawn("dialog"), ended("dialog")) == [("FINISHED_EARLY_FOR_RERUN", "dialog")]
    assert after(["table"], ended("dialog", status=EARLY)) == [("FINISHED_EARLY_FOR_RERUN", "dialog")]
    assert after(["table"], ended(status=ForwardMsg.FINISHED_SUCCESSFULLY)) == [("FINISHED_SUCCESSFULLY",)]


async def ended_of(script: Path, ask: Callable[[AppSession, list[str]], None]) -> list[list[int]]:
    """Return the numbers of the fragments whose runs are reported as ended after `ask` was called on a drawn page."""
    sent: list[ForwardMsg] = []

    def deliver() -> None:
        sent.extend(session.flush_browser_queue())
        session.on_flushed_messages_sent()

    session = AppSession(ScriptData(str(script), False), MemoryUploadedFileManager("/"), ScriptCache(), deliver, {})
    session.track_settling()
    async with asyncio.timeout(30):
        session.request_rerun(ClientState())
        await session.wait_until_settled()
        fragments = list(session._fragment_storage._fragments)  # type: ignore[attr-defined] # no public way to ask
        sent.clear()
        ask(session, fragments)
        await session.wait_until_settled()
    session.shutdown()
    ended = [message.metadata.run.fragment_ids for message in sent if message.script_finished == ENDED]
    return [[fragments.index(fragment) for fragment in each] for each in ended]


def test_what_a_thread_that_ended_drew_is_sent_though_another_was_started_before_it_was_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def ask(session: AppSession, fragments: list[str]) -> None:
        session.request_rerun(ClientState(fragment_id=fragments[0]))
        assert session._scriptrunner is not None
        assert session._scriptrunner._script_thread is not None
        session._scriptrunner._script_thread.join()  # the loop is busy meanwhile
        session.request_rerun(ClientState(fragment_id=fragments[1]))

    monkeypatch.setattr(Runtime, "_instance", MagicMock())  # keeps files for pages, of which this one has none
    script = tmp_path / "page.py"
    script.write_text(SCRIPT)
    assert asyncio.run(ended_of(script, ask)) == [[0], [1]]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Callable[[RerunData], list[RerunData]]:
    """Request a run; return the runs that Streamlit made. The page that is shown has one refresh, named `here`."""
    really: list[RerunData] = []
    monkeypatch.setattr(streamlit_fixes, "_run_script", lambda _, rerun_data: really.append(rerun_data))
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


def values(**texts: str) -> WidgetStates:
    """Return the values of widgets as a browser sends them."""
    return WidgetStates(widgets=[WidgetState(id=name, string_value=text) for name, text in texts.items()])


def combined(*asked: RerunData) -> RerunData:
    """Return the run that Streamlit makes of requests that arrive before their thread begins."""
    requests = ScriptRequests()
    for each in asked:
        assert requests.request_rerun(each)
    return requests.on_scriptrunner_ready().rerun_data


NO_VALUES = WidgetStates()
REFRESH = RerunData(fragment_id="here", is_auto_rerun=True, query_string="os=before", widget_states=values(os="before"))


def test_a_click_that_a_refresh_follows_at_once_is_no_refresh_and_keeps_its_values() -> None:
    click = RerunData(query_string="os=now", widget_states=values(os="now"))
    run = combined(click, REFRESH)
    assert (run.is_auto_rerun, run.fragment_id_queue, run.query_string) == (False, [], "os=now")
    assert run.widget_states == values(os="now")


def test_a_click_in_a_part_of_the_page_that_a_refresh_follows_at_once_runs_with_it() -> None:
    run = combined(RerunData(fragment_id="dialog", widget_states=values(os="now")), REFRESH)
    assert (run.is_auto_rerun, run.fragment_id_queue) == (False, ["dialog", "here"])
    assert run.widget_states == values(os="now")


def test_a_refresh_that_waits_while_a_click_is_answered_does_not_bring_its_old_values_into_the_answer() -> None:
    run = combined(REFRESH, RerunData(query_string=""))  # the second is st.rerun(), in the answer
    assert (run.is_auto_rerun, run.widget_states, run.query_string) == (False, NO_VALUES, "")


def test_refreshes_alone_carry_no_values_and_stay_refreshes() -> None:
    run = combined(REFRESH, RerunData(fragment_id="banner", is_auto_rerun=True, widget_states=values(os="before")))
    assert (run.is_auto_rerun, run.fragment_id_queue, run.widget_states) == (True, ["here", "banner"], NO_VALUES)


SLOW_HANDLER = """
import streamlit as st
import race

def chosen():
    race.reached.set()
    race.go.wait(30)
    st.session_state.kept = st.session_state.box

st.selectbox("Box", ["a", "b"], key="box", on_change=chosen)
"""
SLOW_PAGE = """
import streamlit as st
import race

def part():
    st.button("Click", key="click", on_click=race.clicked.append, args=("click",))

st.fragment(part, key="part")()
st.text_input("Text", key="text", on_change=lambda: race.clicked.append(st.session_state.text))
race.reached.set()
race.go.wait(30)
"""


@pytest.fixture
def race(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """What a page and its test share: how far the page is, whether it may go on, and the handlers that have run."""
    monkeypatch.setattr(Runtime, "_instance", MagicMock())  # keeps files for pages, of which these have none
    race = SimpleNamespace(reached=Event(), go=Event(), clicked=[])
    monkeypatch.setitem(sys.modules, "race", race)
    return race


async def after_requests(
    script: Path, ask: Callable[[AppSession, Callable[[str], str]], Awaitable[None]]
) -> AppSession:
    """Draw a page, make the requests, and return the session once all is answered."""

    def deliver() -> None:
        session.flush_browser_queue()
        session.on_flushed_messages_sent()

    session = AppSession(ScriptData(str(script), False), MemoryUploadedFileManager("/"), ScriptCache(), deliver, {})
    session.track_settling()

    def id_of(key: str) -> str:
        return next(id_ for id_ in session.session_state._key_id_mapper._key_id_mapping.values() if id_.endswith(key))

    async with asyncio.timeout(60):
        session.request_rerun(ClientState())
        await ask(session, id_of)
        await session.wait_until_settled()
    session.shutdown()
    return session


def test_a_handler_that_the_next_request_interrupts_runs_to_its_end(tmp_path: Path, race: SimpleNamespace) -> None:
    async def ask(session: AppSession, id_of: Callable[[str], str]) -> None:
        await session.wait_until_settled()
        chosen = WidgetStates(widgets=[WidgetState(id=id_of("box"), string_value="b")])
        session.request_rerun(ClientState(widget_states=chosen))
        await asyncio.to_thread(race.reached.wait, 30)
        session.request_rerun(ClientState(widget_states=chosen))
        race.go.set()

    script = tmp_path / "page.py"
    script.write_text(SLOW_HANDLER)
    session = asyncio.run(after_requests(script, ask))
    assert session.session_state["kept"] == "b"


def test_a_click_that_waits_when_a_choice_stops_its_run_is_not_lost(tmp_path: Path, race: SimpleNamespace) -> None:
    async def ask(session: AppSession, id_of: Callable[[str], str]) -> None:
        await asyncio.to_thread(race.reached.wait, 30)  # the first run is not over
        click = WidgetStates(widgets=[WidgetState(id=id_of("click"), trigger_value=True)])
        (fragment,) = session._fragment_storage._fragments  # type: ignore[attr-defined] # no public way to ask
        session.request_rerun(ClientState(fragment_id=fragment, widget_states=click))
        session.request_rerun(ClientState(widget_states=values(**{id_of("text"): "typed"})))
        race.go.set()

    script = tmp_path / "page.py"
    script.write_text(SLOW_PAGE)
    asyncio.run(after_requests(script, ask))
    assert sorted(race.clicked) == ["click", "typed"]


def test_streamlit_has_what_is_replaced_here() -> None:
    assert streamlit_fixes._run_script.__name__ == "_run_script"
    assert streamlit_fixes._run_script.__module__ == ScriptRunner.__module__
    assert not MemoryFragmentStorage().contains("before")
    assert "_fragment_storage" in inspect.getsource(ScriptRunner.__init__)


def test_what_a_component_draws_is_sent_as_json_without_spaces() -> None:
    message, data = BidiComponent(), {"rows": [["attic", 0.5, None, "été", "a, b: c"]], "total": 1}
    getattr(components, "serialize_mixed_data")(data, message)  # noqa: B009 - mypy allows no access
    assert json.loads(message.json) == data
    assert message.json == '{"rows":[["attic",0.5,null,"\\u00e9t\\u00e9","a, b: c"]],"total":1}'
