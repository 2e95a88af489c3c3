"""Filters of the problems page as in its address. Pure.

Invariants:
- The address holds codes, never labels, so that a link means the same in every language.
"""

from collections.abc import Mapping
from typing import Final

from schemas.contract.topics import is_id
from schemas.database.queries.problems import ACTIVE, SEVERITIES, STATES, ProblemFilter

SEARCH_MAX: Final = 100
DEFAULT: Final = ProblemFilter()


def parse(query: Mapping[str, str]) -> ProblemFilter:
    """Return the filters that an address names; invalid parts of it are ignored."""
    state, severity = query.get("state", ""), query.get("severity", "")
    return ProblemFilter(
        state=state if state in STATES else ACTIVE,
        search=query.get("q", "")[:SEARCH_MAX],
        machine=_id(query.get("machine", "")),
        rule=_id(query.get("rule", "")),
        severity=severity if severity in SEVERITIES else "",
    )


def address(wanted: ProblemFilter) -> dict[str, str]:
    """Return the query of an address for these filters, without default values."""
    query = {
        "state": "" if wanted.state == DEFAULT.state else wanted.state,
        "q": wanted.search,
        "machine": wanted.machine,
        "rule": wanted.rule,
        "severity": wanted.severity,
    }
    return {name: value for name, value in query.items() if value}


def _id(said: str) -> str:
    return said if is_id(said) else ""
