"""Corrections of Streamlit. They use its private members, so its version is pinned and tests cover them.

Lost messages: when a fragment run is requested just after another run has ended, Streamlit starts a new thread, and
drops what the old thread drew but the event loop has not handled yet: a click without an answer. As soon as any
fragment runs again, a queued end of a run is marked as premature, although only the output of that fragment is dropped:
the browser keeps elements that the ended run no longer draws, such as the widgets of the previous step.

Stale refreshes: a browser requests refreshes of the old page until it hears of the new one. Streamlit answers a late
one by announcing the old page; the browser then discards the new page, and stops at its next refresh ("Bad delta path
index"). Clicks on the old page are still handled.

Lost clicks: the browser sends the values of all widgets with each refresh. One that it sent before it had the answer to
a click would set the widgets to what they were, and run their callbacks: filters that were just cleared came back.
Every change of a widget has a request of its own, so refreshes carry no values here. A click that waits for its thread
is combined with a refresh that follows at once, and is then taken for a refresh, which may be left out as stale.

Lost choices: a request for the whole page stops the run before it at its next access to the session, also in the middle
of the handler of a widget. The next run does not call that handler again, since the value is no longer new to it: a
filter that the browser shows and the page ignores. Handlers run to their end here, before those of the next run. A
request that the stopped run had not begun is dropped, and with it the click that it carried; here the next run gets it.

Work for nothing: Streamlit converts the theme of its settings anew for every run of a fragment, although the settings
do not change while the process runs. It looks for data frames in what a component draws, which takes longer than to
send it, and writes JSON with spaces; the components of this dashboard draw plain lists and dictionaries.

Time limits: Streamlit configures uvicorn itself, whose protocol waits for ever for the rest of a request.
"""

import json
from dataclasses import replace
from functools import cache
from threading import RLock, local
from typing import Any, Final
from weakref import WeakSet

from streamlit.components.v2.bidi_component import main as components
from streamlit.proto.BidiComponent_pb2 import BidiComponent
from streamlit.proto.ClientState_pb2 import ClientState
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from streamlit.proto.NewSession_pb2 import CustomThemeConfig
from streamlit.proto.WidgetStates_pb2 import WidgetStates
from streamlit.runtime import app_session
from streamlit.runtime.app_session import AppSession
from streamlit.runtime.forward_msg_queue import ForwardMsgQueue
from streamlit.runtime.scriptrunner import ScriptRunner, ScriptRunnerEvent
from streamlit.runtime.scriptrunner_utils import script_requests
from streamlit.runtime.scriptrunner_utils.script_requests import RerunData, ScriptRequests, ScriptRequestType
from streamlit.runtime.state.safe_session_state import SafeSessionState
from streamlit.web.server.starlette import starlette_server

from dashboard.server.http_protocol import TimedHttpProtocol

_ENDED: Final = ForwardMsg.FINISHED_FRAGMENT_RUN_SUCCESSFULLY
_ended: Final[WeakSet[ScriptRunner]] = WeakSet()
_create = AppSession._create_scriptrunner  # noqa: SLF001 - see above
_handle = AppSession._handle_scriptrunner_event_on_event_loop  # noqa: SLF001 - see above
_clear = ForwardMsgQueue.clear
_request = ScriptRequests._request_rerun_locked  # noqa: SLF001 - see above
_run_script = ScriptRunner._run_script  # noqa: SLF001 - see above
_request_of_session = AppSession.request_rerun
_call_handlers = SafeSessionState.on_script_will_rerun
_obey = ScriptRunner._maybe_handle_execution_control_request  # noqa: SLF001 - see above
_coalesce = script_requests._coalesce_widget_states  # noqa: SLF001 - see above
_thread: Final = local()
"""`handling`: True while this thread runs the handlers of widgets."""

_populate_theme = app_session._populate_theme_msg  # noqa: SLF001 - see above
_uvicorn_options = starlette_server._get_uvicorn_config_kwargs  # noqa: SLF001 - see above


def apply() -> None:
    """Apply the corrections to this process. Idempotent."""
    setattr(AppSession, "_create_scriptrunner", _create_and_keep_ended)  # noqa: B010 - mypy allows no assignment
    setattr(AppSession, "_handle_scriptrunner_event_on_event_loop", _handle_also_of_ended)  # noqa: B010 - as above
    setattr(ForwardMsgQueue, "clear", _clear_only_what_runs_again)  # noqa: B010 - as above
    setattr(ScriptRequests, "_request_rerun_locked", _request_without_values_of_refreshes)  # noqa: B010 - as above
    setattr(ScriptRunner, "_run_script", _run_unless_stale)  # noqa: B010 - as above
    setattr(AppSession, "request_rerun", _request_with_clicks_that_wait)  # noqa: B010 - as above
    setattr(SafeSessionState, "on_script_will_rerun", _call_handlers_to_their_end)  # noqa: B010 - as above
    setattr(ScriptRunner, "_maybe_handle_execution_control_request", _obey_outside_handlers)  # noqa: B010 - as above
    setattr(app_session, "_populate_theme_msg", _populate_theme_from_cache)  # noqa: B010 - as above
    setattr(components, "serialize_mixed_data", _write_plain_data)  # noqa: B010 - as above
    setattr(starlette_server, "_get_uvicorn_config_kwargs", _uvicorn_options_with_time_limits)  # noqa: B010 - as above


def _uvicorn_options_with_time_limits() -> dict[str, Any]:
    return {**_uvicorn_options(), "http": TimedHttpProtocol}


def _write_plain_data(data: Any, message: BidiComponent) -> None:  # noqa: ANN401 - JSON
    message.json = json.dumps(data, separators=(",", ":"))


def _populate_theme_from_cache(message: CustomThemeConfig, section: str = "theme") -> None:
    message.MergeFrom(_theme(section))


@cache
def _theme(section: str) -> CustomThemeConfig:
    theme = CustomThemeConfig()
    _populate_theme(theme, section)
    return theme


def _create_and_keep_ended(session: AppSession, initial_rerun_data: Any) -> None:  # noqa: ANN401 - only passed on
    before = session._scriptrunner  # noqa: SLF001 - see above
    if before is not None and not before._execing:  # noqa: SLF001 - see above
        _ended.add(before)
    _create(session, initial_rerun_data)


def _handle_also_of_ended(
    session: AppSession,
    sender: ScriptRunner | None,
    event: ScriptRunnerEvent,
    *given: Any,  # noqa: ANN401 - only passed on
) -> None:
    if sender in _ended and event != ScriptRunnerEvent.SHUTDOWN:
        sender = session._scriptrunner  # noqa: SLF001 - see above
    _handle(session, sender, event, *given)


def _clear_only_what_runs_again(
    queue: ForwardMsgQueue, retain_lifecycle_msgs: bool = False, fragment_ids_this_run: list[str] | None = None
) -> None:
    again = frozenset(fragment_ids_this_run or ())
    ended = [
        message
        for message in queue._queue  # noqa: SLF001 - see above
        if again and message.WhichOneof("type") == "script_finished" and message.script_finished == _ENDED
    ]
    _clear(queue, retain_lifecycle_msgs, fragment_ids_this_run)
    for message in ended:
        others = [fragment for fragment in message.metadata.run.fragment_ids if fragment not in again]
        if others:
            message.metadata.run.fragment_ids[:] = others
            message.script_finished = _ENDED


def _request_without_values_of_refreshes(requests: ScriptRequests, asked: RerunData) -> bool:
    if not asked.is_auto_rerun:
        return _request(requests, asked)
    waiting = requests._rerun_data if requests._state is ScriptRequestType.RERUN else None  # noqa: SLF001 - see above
    # no values, rather than None: values that a script has set count as set only once, as after any other request
    accepted = _request(requests, replace(asked, widget_states=WidgetStates()))
    if accepted and waiting is not None and not waiting.is_auto_rerun:
        kept = {"query_string": waiting.query_string, "widget_states": waiting.widget_states, "is_auto_rerun": False}
        requests._rerun_data = replace(requests._rerun_data, **kept)  # type: ignore[arg-type]  # noqa: SLF001 - see above
    return accepted


def _run_unless_stale(runner: ScriptRunner, rerun_data: RerunData) -> None:
    shown = runner._fragment_storage  # noqa: SLF001 - see above
    if not rerun_data.is_auto_rerun or any(shown.contains(asked) for asked in rerun_data.fragment_id_queue):
        _run_script(runner, rerun_data)


def _request_with_clicks_that_wait(session: AppSession, client_state: ClientState | None) -> None:
    runner = session._scriptrunner  # noqa: SLF001 - see above
    if runner is not None and client_state is not None and not client_state.fragment_id:
        requests = runner._requests  # noqa: SLF001 - see above
        with requests._lock:  # noqa: SLF001 - so that the run does not begin what is handed over
            waits = requests._state is ScriptRequestType.RERUN  # noqa: SLF001 - see above
            waiting = requests._rerun_data.widget_states if waits else None  # noqa: SLF001 - see above
            requests._state = ScriptRequestType.STOP  # noqa: SLF001 - as Streamlit does next
        values = _coalesce(waiting, client_state.widget_states)
        if values is not None and waiting is not None:
            client_state.widget_states.CopyFrom(values)
    _request_of_session(session, client_state)


def _call_handlers_to_their_end(state: SafeSessionState, *given: Any, **named: Any) -> None:  # noqa: ANN401 - only passed on
    session: Any = state._state  # noqa: SLF001 - see above
    with vars(session.query_params).setdefault("handlers", RLock()):  # of a session, whose runs have a lock each
        state._yield_callback()  # noqa: SLF001 - a run that was stopped while it waited has older values
        _thread.handling = True
        try:
            _call_handlers(state, *given, **named)
        finally:
            _thread.handling = False


def _obey_outside_handlers(runner: ScriptRunner) -> None:
    if not getattr(_thread, "handling", False):
        _obey(runner)
