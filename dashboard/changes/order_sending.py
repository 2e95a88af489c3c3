"""Sending orders from a dialog that changes many machines; the dialog then leads to their activity."""

from collections.abc import Mapping
from functools import partial
from typing import Any

import streamlit as st

from dashboard.changes import change_dialog
from dashboard.i18n import text
from dashboard.i18n.external_texts import translated_error
from dashboard.i18n.language import _
from dashboard.page.dialog_steps import DialogState
from dashboard.page.page import PageContext
from dashboard.publishing.publisher import NotAllowedError
from schemas.contract.commands import Rollout


def send(
    context: PageContext,
    state: DialogState,
    arguments: Mapping[str, Mapping[str, Any]],
    action: str,
    *,
    lifetime_seconds: float,
    rollout: Rollout | None = None,
) -> None:
    """Send an action with these arguments, by machine, once for a dialog; its page shows the outcome or the problem."""
    if state.outcome is not None or context.publisher is None:
        return
    try:
        sent = context.publisher.act(
            context.org,
            arguments,
            action,
            role=context.role,
            actor=context.user,
            lifetime_seconds=lifetime_seconds,
            rollout=rollout,
        )
    except NotAllowedError as error:
        state.refuse(translated_error(error))
        return
    state.reveal = partial(_follow, sent.batch)
    done = _("Sent to {machines}.", machines=text.machines(len(sent.orders)))
    state.accept()
    state.outcome = partial(change_dialog.show_done, done)


def _follow(batch: str, context: PageContext, _state: DialogState) -> None:
    st.page_link(context.pages["activity"], label=_("Activity"), query_params={"batch": batch})
