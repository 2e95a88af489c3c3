"""Which destinations a problem concerns, and when: pure functions over routes and preferences."""

from collections.abc import Sequence
from dataclasses import dataclass

from notifier.domain.problem import Problem
from schemas.people.routing import Preferences, Route

_RANKS = {"warning": 0, "critical": 1}


@dataclass(frozen=True, slots=True)
class Recipient:
    """A destination as the decisions see it. `since_at`: when it got its present routes and preferences, milliseconds;
    of what ended before, only the end of what it was told is told.
    """

    id: int
    org: str
    since_at: int
    preferences: Preferences
    routes: tuple[Route, ...] = ()


def delay_seconds(problem: Problem, recipient: Recipient) -> int | None:
    """Return how long after its begin a problem is told, 0 for at once; None if it is not told to this recipient."""
    if problem.org != recipient.org:
        return None
    if _RANKS.get(problem.severity, 1) < _RANKS[recipient.preferences.severity]:
        return None
    if not recipient.routes:
        return 0
    return min((route.after_seconds for route in recipient.routes if matches(route, problem)), default=None)


def matches(route: Route, problem: Problem) -> bool:
    """Return True if a problem matches every criterion of a route."""
    if route.severities and problem.severity not in route.severities:
        return False
    if route.rules and problem.rule not in route.rules:
        return False
    if problem.is_incident:
        return _incident_matches(route, problem)
    if route.machines and problem.machine not in route.machines:
        return False
    return all(problem.labels.get(key) == value for key, value in route.labels.items())


def _incident_matches(route: Route, problem: Problem) -> bool:
    """Compare what is known: an incident names few of its machines, and at most one label.

    It is better told to a recipient whom it does not concern than to nobody.
    """
    complete = problem.machine_count <= len(problem.machines)
    if route.machines and complete and not set(route.machines) & set(problem.machines):
        return False
    key, _, value = problem.label.partition("=")
    return not key or route.labels.get(key, value) == value


def group_key(problem: Problem, names: Sequence[str]) -> tuple[str, ...]:
    """Return what problems must have in common to share a message."""
    return tuple(problem.labels.get(name, "") for name in names)
