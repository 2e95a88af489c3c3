"""Refreshes of a page that is no longer shown are left out, which Streamlit itself does not do.

A browser asks for refreshes until it has heard of another page. Streamlit answers one that comes after the change by
announcing the page before; the browser then throws away all that it has of the new one, and stops at the next refresh
of it ("Bad delta path index"). What a person did there is not left out. `_run_script` is private to Streamlit, so its
version is pinned and a test holds this.
"""

from streamlit.runtime.scriptrunner.script_runner import ScriptRunner
from streamlit.runtime.scriptrunner_utils.script_requests import RerunData

_run_script = ScriptRunner._run_script  # noqa: SLF001 - see above


def leave_out() -> None:
    """Leave them out in this process from now on. May be called again."""
    setattr(ScriptRunner, "_run_script", _run_unless_stale)  # noqa: B010 - mypy takes no other function there


def _run_unless_stale(runner: ScriptRunner, rerun_data: RerunData) -> None:
    there = runner._fragment_storage  # noqa: SLF001 - the same
    if not rerun_data.is_auto_rerun or any(there.contains(asked) for asked in rerun_data.fragment_id_queue):
        _run_script(runner, rerun_data)
