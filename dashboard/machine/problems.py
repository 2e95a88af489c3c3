"""The active problems of a machine: its alerts, and the incidents that concern it."""

from typing import Final

import streamlit as st

from dashboard.i18n import text
from dashboard.i18n.language import _
from dashboard.i18n.text import Word
from dashboard.page import last_good
from dashboard.page.page import PageContext
from dashboard.problems import rows
from dashboard.silences import buttons, texts
from dashboard.widgets import markup
from schemas.database.queries import problems
from schemas.database.queries.problems import ListedProblem, ProblemFilter

_SHOWN: Final = 20


def draw(context: PageContext, name: str) -> None:
    """Draw the problems; a line of text if there is none."""
    wanted = ProblemFilter(machine=name)
    found = last_good.read_org(context, f"problems.{name}", problems.list_problems, wanted, offset=0, limit=_SHOWN)
    if not found:
        st.html(markup.note(_("No active problems.")))
        return
    lines = [_line(problem, context) for problem in found]
    with st.container(border=True, key="card_problems"):
        st.html(markup.heading(_("Active problems"), 3))
        st.html(markup.timeline(lines))
        buttons.draw(context, name, [problem for problem in found if not problem.is_incident])


def _line(problem: ListedProblem, context: PageContext) -> tuple[str, Word, str]:
    now, zone = context.now(), context.zone
    word = texts.attention(problem, now, zone)
    attention = ("",) if word is None else (word.label, texts.attention_reason(problem))
    parts = (rows.title(problem), rows.detail(problem), rows.lasted(problem, now), *attention)
    return text.short_moment(problem.started_at, now, zone), rows.severity(problem), " · ".join(filter(None, parts))
