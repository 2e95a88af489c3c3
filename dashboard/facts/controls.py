"""Buttons that start, stop or restart an item of a list, where the machine offers the action and the visitor may act.

Invariant: a button only opens the dialog at its confirmation; the machine's owner decides what an order may name.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Final

import streamlit as st

from dashboard.actions import dialog
from dashboard.facts import texts
from dashboard.i18n.language import Marked, _, marked
from dashboard.page import system_status
from dashboard.page.page import PageContext
from dashboard.widgets import markup

ACTIONS: Final[Mapping[str, str]] = {"containers": "container", "services": "service"}
"""Action by kind of facts."""

OPERATIONS: Final[Mapping[str, tuple[Marked, str]]] = {
    "start": (marked("Start …"), ":material/play_arrow:"),
    "stop": (marked("Stop …"), ":material/stop:"),
    "restart": (marked("Restart …"), ":material/restart_alt:"),
}
"""Label and icon of each operation."""

_WIDTH: Final = 320


def permitted(info: Mapping[str, Any] | None, kind: str, keys: Sequence[str]) -> list[str]:
    """Return the items of a kind for which the machine offers an action; where it lists the names, only those."""
    for offered in (info or {}).get("actions") or ():
        if offered.get("name") == ACTIONS.get(kind):
            properties = (offered.get("arguments_schema") or {}).get("properties") or {}
            names = (properties.get("name") or {}).get("enum")
            return list(keys) if names is None else [key for key in keys if key in names]
    return []


def draw(context: PageContext, machine: str, info: Mapping[str, Any] | None, kind: str, keys: Sequence[str]) -> None:
    """Draw the choice of an item and the buttons; nothing where none may be controlled."""
    items = permitted(info, kind, keys) if context.may_act else []
    if not items:
        return
    why = system_status.obstacle(context)
    with st.container(horizontal=True, vertical_alignment="center", key=f"facts_controls_{kind}"):
        chosen = st.selectbox(
            texts.singular(kind),
            items,
            key=f"facts.control.{kind}",
            format_func=markup.plain,
            label_visibility="collapsed",
            width=_WIDTH,
        )
        for operation, (label, icon) in OPERATIONS.items():
            st.button(
                _(label),
                icon=icon,
                key=f"facts_{operation}_{kind}",
                on_click=partial(_request, context, machine, kind, operation, str(chosen)),
                disabled=bool(why),
                help=markup.plain(why) or None,
            )


def _request(context: PageContext, machine: str, kind: str, operation: str, item: str) -> None:
    dialog.request(context, (machine,), action=ACTIONS[kind], arguments={"name": item, "operation": operation})
