"""The strip at the top of the fleet page: what is broken, where and since when, each a link.

Invariants:
- Texts of machines are only ever set as text.
- The browser names an entry by its address, never by its place: entries come and go between a click and its handling.
  Only addresses that were drawn are followed.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import tzinfo
from functools import partial
from typing import Final
from urllib.parse import urlencode

import streamlit as st
from sqlalchemy import Engine

from dashboard.fleet import filters as fleet_filters
from dashboard.fleet import problem_groups, state
from dashboard.fleet.problem_groups import ProblemGroup
from dashboard.fleet.state import FleetView
from dashboard.i18n import text
from dashboard.i18n.external_texts import translated_details
from dashboard.i18n.language import _, ngettext
from dashboard.page import last_good, problem_counts
from dashboard.page.page import PageContext
from dashboard.page.shared_results import SharedResult
from dashboard.problems import view as problem_view
from dashboard.problems.incident_text import incident_title
from dashboard.widgets.component import component
from schemas.database.queries import choices, problems
from schemas.database.queries.fleet_order import ABSENT
from schemas.database.queries.machines import Filters
from schemas.database.queries.problems import ProblemFilter

GROUPS_MAX: Final = 5
_KEY: Final = "fleet_strip"
_DRAWN: Final = "fleet_strip_drawn"
_READ_MAX: Final = 1000
_NAMES_SHOWN: Final = 2
_SHARED_SECONDS: Final = 30
"""How long groups are kept, for all visitors, while the numbers of absent machines and of problems stay the same."""

_LABELS_SECONDS: Final = 300
_HTML: Final = '<nav class="df-strip"><ul></ul></nav>'
_TONES: Final = {"offline": "bad", "critical": "bad", "stale": "fair", "warning": "fair", "expired": "muted"}
Changed = tuple[int | None, ...]
"""Numbers that differ when the groups may."""

_FLEET, _MACHINE, _PROBLEMS = "fleet", "machine", "problems"


@dataclass(frozen=True, slots=True)
class StripLink:
    """An entry of the strip: its text and colour, and the page and query that it leads to."""

    text: str
    tone: str
    page: str
    query: dict[str, str]

    @property
    def href(self) -> str:
        """The address, for the browser's own ways of opening it."""
        return f"{'/' if self.page == _FLEET else f'/{self.page}'}?{urlencode(self.query)}"


def _read(engine: Engine, org_name: str, changed: Changed) -> tuple[ProblemGroup, ...]:  # noqa: ARG001 - of the cache's key
    absent = problems.list_absent_machines(engine, org_name, limit=_READ_MAX)
    active = problems.list_problems(engine, org_name, ProblemFilter(), offset=0, limit=_READ_MAX)
    if not absent and not active:
        return ()
    return problem_groups.group(absent, active, dict(_label_counts(engine, org_name)))


_groups = SharedResult(_read, seconds=_SHARED_SECONDS)
_label_counts = SharedResult(choices.count_labels, seconds=_LABELS_SECONDS)


def draw(context: PageContext) -> None:
    """Draw the strip, if anything is broken, and follow a link that was clicked."""
    found = last_good.read(context, "fleet.strip", partial(_groups, context.engine, context.org, _changed(context)))
    shown = links(found or (), context.now(), context.zone)
    before: Sequence[StripLink] = st.session_state.get(_DRAWN, ())
    if not shown and not before:
        return
    st.session_state[_DRAWN] = shown
    result = component("strip", _HTML)(
        key=_KEY,
        data={
            "name": _("What is broken now"),
            "links": [{"text": text.readable(each.text), "tone": each.tone, "href": each.href} for each in shown],
        },
        on_opened_change=partial(_filter_fleet, (*before, *shown)),
    )
    link = clicked((*before, *shown), result.opened)
    if link is not None and link.page != _FLEET:
        st.switch_page(context.pages[link.page], query_params=link.query)


def _changed(context: PageContext) -> Changed:
    counts = problem_counts.read_all_counts(context)
    if counts is None:
        return ()
    absent = tuple(counts.of((presence,)) for presence in ABSENT)
    return (*absent, counts.newest_change, problem_counts.count_problems(context))


def links(found: Sequence[ProblemGroup], now: int, zone: tzinfo) -> list[StripLink]:
    """Return the entries for the first groups, and one for the others."""
    shown = [StripLink(_said(each, now, zone), _TONES[each.severity], *_target(each)) for each in found[:GROUPS_MAX]]
    rest = len(found) - GROUPS_MAX
    if rest > 0:
        attention = state.address(FleetView(Filters(attention=True)))
        shown.append(StripLink(text.and_more(rest), "plain", _FLEET, attention))
    return shown


def _said(group: ProblemGroup, now: int, zone: tzinfo) -> str:
    at = text.short_moment(group.since, now, zone)
    if group.problem is not None and group.problem.is_incident:
        if not group.shown:
            return _("{problem} since {at}", problem=incident_title(group.what), at=at)
        return _("{machines}: {problem} since {at}", machines=_who(group), problem=incident_title(group.what), at=at)
    if group.is_presence:
        return _absent(group.what, _who(group), at)
    detail = translated_details(group.problem.detail) if group.problem is not None else ""
    what = " ".join(filter(None, (translated_details(group.title), detail)))
    return _("{machines}: {problem} since {at}", machines=_who(group), problem=what, at=at)


def _absent(presence: str, who: str, at: str) -> str:
    if presence == problem_groups.STALE:
        return _("{machines} stale since {at}", machines=who, at=at)
    if presence == problem_groups.EXPIRED:
        return _("{machines} long offline, since {at}", machines=who, at=at)
    return _("{machines} offline since {at}", machines=who, at=at)


def _who(group: ProblemGroup) -> str:
    if group.label:
        key, _equals, value = group.label.partition("=")
        return ngettext(
            "{n} machine with {label}={value}", "{n} machines with {label}={value}", group.count, label=key, value=value
        )
    if group.count <= _NAMES_SHOWN:
        return ", ".join(group.shown)
    return text.machines(group.count)


def _target(group: ProblemGroup) -> tuple[str, dict[str, str]]:
    """Return the page that shows a group, and its query."""
    if group.problem is not None and group.problem.is_incident:
        return _PROBLEMS, {"id": group.problem.id}
    if group.count == 1:
        return _MACHINE, {"id": group.names[0]}
    if group.is_presence:
        labels = (group.label,) if choices.is_label(group.label) else ()
        return _FLEET, state.address(FleetView(Filters(presences=(group.what,), labels=labels)))
    return _PROBLEMS, problem_view.address(ProblemFilter(rule=group.what, severity=group.severity))


def clicked(drawn: Sequence[StripLink], opened: object) -> StripLink | None:
    """Return the entry with the address that the browser sent, None without one."""
    return next((each for each in drawn if each.href == opened), None)


def _filter_fleet(drawn: Sequence[StripLink]) -> None:
    link = clicked(drawn, st.session_state[_KEY].opened)
    if link is not None and link.page == _FLEET:
        fleet_filters.show_view(state.parse(link.query))
