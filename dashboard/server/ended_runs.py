"""What a fragment's run drew, and that it ended, reaches the browser whatever runs next, which Streamlit loses twice.

When another fragment is asked for just after a run has ended, Streamlit starts a new thread for it, and what the
thread before drew but its event loop has not yet taken up is dropped: a click whose answer never comes. And as soon
as any fragment runs again, an end that waits to be sent is marked as one that came too early, whereas only what that
fragment drew is dropped: the browser keeps what the ended run no longer draws, such as the widgets of the step before.
All this is private to Streamlit, so its version is pinned and tests hold this.
"""

from typing import Any, Final
from weakref import WeakSet

from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from streamlit.runtime.app_session import AppSession
from streamlit.runtime.forward_msg_queue import ForwardMsgQueue
from streamlit.runtime.scriptrunner import ScriptRunner, ScriptRunnerEvent

_ENDED: Final = ForwardMsg.FINISHED_FRAGMENT_RUN_SUCCESSFULLY
_ended_by_themselves: Final[WeakSet[ScriptRunner]] = WeakSet()
_create = AppSession._create_scriptrunner  # noqa: SLF001 - see above
_handle = AppSession._handle_scriptrunner_event_on_event_loop  # noqa: SLF001 - the same
_clear = ForwardMsgQueue.clear


def keep() -> None:
    """Keep them in this process from now on. May be called again."""
    setattr(AppSession, "_create_scriptrunner", _remember_the_one_before)  # noqa: B010 - mypy takes no other function there
    setattr(AppSession, "_handle_scriptrunner_event_on_event_loop", _also_of_the_one_before)  # noqa: B010 - the same
    setattr(ForwardMsgQueue, "clear", _clear_only_what_runs_again)  # noqa: B010 - the same


def _remember_the_one_before(session: AppSession, initial_rerun_data: Any) -> None:  # noqa: ANN401 - only passed on
    before = session._scriptrunner  # noqa: SLF001 - see above
    if before is not None and not before._execing:  # noqa: SLF001 - the same
        _ended_by_themselves.add(before)
    _create(session, initial_rerun_data)


def _also_of_the_one_before(
    session: AppSession,
    sender: ScriptRunner | None,
    event: ScriptRunnerEvent,
    *given: Any,  # noqa: ANN401 - only passed on
) -> None:
    if sender in _ended_by_themselves and event != ScriptRunnerEvent.SHUTDOWN:
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
