"""A warning that the agent of a machine speaks another version of the contract, so that its messages are rejected."""

from typing import Any, Final

import streamlit as st
from sqlalchemy import Row

from dashboard.i18n import text
from dashboard.i18n.language import _, marked
from dashboard.page import last_good
from dashboard.page.page import PageContext
from dashboard.widgets import markup
from schemas.database.queries.dead_letters import find_org_incompatible

_INCOMPATIBLE: Final = marked(
    "The agent ({version}) and this server speak different versions of the contract, so its messages are rejected. "
    "Update the older of the two."
)


def draw(context: PageContext, row: Row[Any]) -> None:
    """Draw the warning if the last message of the machine was rejected for its version."""
    key = f"incompatible.{row.name}"
    if last_good.read_org(context, key, find_org_incompatible, row.name, context.now()):
        version = row.agent_version or text.UNKNOWN
        st.html(markup.banner(_(_INCOMPATIBLE, version=version), "bad"))
