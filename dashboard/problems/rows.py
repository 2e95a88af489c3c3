"""Problems as rows of a table, and one problem in words. Pure."""

from collections.abc import Sequence
from datetime import tzinfo
from typing import Any, Final
from urllib.parse import urlencode

from sqlalchemy import Row

from dashboard.i18n import text
from dashboard.i18n.external_texts import translated_details
from dashboard.i18n.language import _, marked, pgettext
from dashboard.i18n.text import Word
from dashboard.problems.incident_text import incident_statement, incident_title
from dashboard.silences import texts
from dashboard.widgets import cells
from schemas.database.queries.problems import ListedProblem
from schemas.fleet.machine_name import machine_name

HEADS: Final[cells.Heads] = (
    ("problem", marked("Problem")),
    ("severity", marked("Severity")),
    ("machine", marked("Machine")),
    ("labels", marked("Labels")),
    ("since", marked("Since")),
    ("lasted", marked("Duration")),
    ("attention", marked("Handling")),
)
MACHINE_HEADS: Final[cells.Heads] = (
    ("machine", marked("Machine")),
    ("status", marked("Status")),
    ("since", marked("Since")),
    ("labels", marked("Labels")),
)


def rows(
    found: Sequence[ListedProblem], now: int, zone: tzinfo, *, path: str, machine_path: str
) -> list[dict[str, Any]]:
    """Return a row for each problem: of an alert with a link to its machine, of an incident to `path`."""
    return [
        cells.row(
            problem.id,
            link(problem, path=path, machine_path=machine_path),
            cells.name(title(problem), detail(problem)),
            cells.chip(severity(problem)),
            cells.plain(concerned(problem)),
            cells.tags(text.labels(problem.labels)),
            cells.plain(text.short_moment(problem.started_at, now, zone)),
            cells.plain(lasted(problem, now)),
            attention(problem, now, zone),
        )
        for problem in found
    ]


def machines(found: Sequence[Row[Any]], now: int, zone: tzinfo, *, path: str) -> list[dict[str, Any]]:
    """Return a row for each machine of an incident, with its presence now."""
    return [
        cells.row(
            row.name,
            f"{path}?{urlencode({'id': row.name})}",
            cells.machine(row.name, row.hostname),
            cells.chip(text.presence(row.presence)),
            cells.plain(text.short_moment(row.since_at, now, zone) if row.since_at else text.UNKNOWN),
            cells.tags(text.labels(row.labels)),
        )
        for row in found
    ]


def link(problem: ListedProblem, *, path: str, machine_path: str) -> str:
    """Return the address that a problem leads to."""
    if problem.is_incident:
        return f"{path}?{urlencode({'id': problem.id})}"
    return f"{machine_path}?{urlencode({'id': problem.machine})}"


def title(problem: ListedProblem) -> str:
    """Return a problem's title."""
    return incident_title(problem.rule) if problem.is_incident else translated_details(problem.title)


def detail(problem: ListedProblem) -> str:
    """Return the detail of an alert, or what happened in an incident; empty if the title says it."""
    if not problem.is_incident:
        return translated_details(problem.detail)
    statement = incident_statement(problem.rule, problem.details)
    return "" if statement == title(problem) else statement


def concerned(problem: ListedProblem) -> str:
    """Return the machine of a problem, or how many there are."""
    if not problem.is_incident:
        return machine_name(problem.machine, problem.hostname)
    total = max(int(problem.details.get("machines") or 0), len(problem.names))
    return text.machines(total) if total > 1 else next(iter(problem.names), text.UNKNOWN)


def severity(problem: ListedProblem) -> Word:
    """Return the severity of an active problem, or that it is resolved or withdrawn."""
    if problem.withdrawn:
        return Word(_("Withdrawn"), "plain")
    if problem.ended_at is not None:
        return Word(_("Resolved"), "plain")
    return severity_word(problem.severity)


def severity_word(code: str) -> Word:
    """Return the label of a severity."""
    if code == "critical":
        return Word(pgettext("severity", "Critical"), "bad")
    return Word(pgettext("severity", "Warning"), "fair")


def attention(problem: ListedProblem, now: int, zone: tzinfo) -> dict[str, Any]:
    """Return the cell that says who attends to a problem, with the reason as its hint; empty if nobody does."""
    word = texts.attention(problem, now, zone)
    return cells.plain("") if word is None else cells.chip(word, texts.attention_reason(problem))


def lasted(problem: ListedProblem, now: int) -> str:
    """Return how long a problem lasted, or has lasted."""
    return text.duration(max(0, (problem.ended_at or now) - problem.started_at) / 1000)
