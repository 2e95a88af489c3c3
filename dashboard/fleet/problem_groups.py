"""Open problems in groups, for the strip above the fleet: which machines, what, since when. Pure.

Invariants:
- A machine that is offline or stale is in exactly one group, whether or not an alert says so too.
- Acknowledged and silenced alerts are in no group, like in the number of problems in the menu; nor is the absence of a
  machine whose alert about it is attended to in this way.
- Machines that went within minutes of each other are one group; a label that they share, and few others have, names it.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Final

from sqlalchemy import Row

from schemas.database.queries.problems import ListedProblem
from schemas.fleet.machine_name import machine_name

TOGETHER_MILLISECONDS: Final = 5 * 60_000
"""Machines whose absence began no further apart are one group."""

AWAY: Final = "away"
"""The rule whose alert says no more than the presence."""

OFFLINE, STALE, EXPIRED = "offline", "stale", "expired"
_SEVERITY: Final = {OFFLINE: 0, "critical": 1, STALE: 2, "warning": 3, EXPIRED: 4}
_NAMES_KEPT: Final = 4
_COMPANY_MIN: Final = 2


@dataclass(frozen=True, slots=True)
class ProblemGroup:
    """Machines with the same problem. `what`: a presence, the name of an alert rule, or the kind of an incident.

    `names` are the first ids, `shown` how people know them. `label` is `key=value`. `problem`: the only problem of the
    group; None for presences and for several alerts.
    """

    what: str
    severity: str
    since: int
    count: int
    names: tuple[str, ...]
    shown: tuple[str, ...]
    label: str = ""
    title: str = ""
    problem: ListedProblem | None = None

    @property
    def is_presence(self) -> bool:
        """True if the machines are not online."""
        return self.what in (OFFLINE, STALE, EXPIRED)


def group(
    absent: Sequence[Row[Any]], problems: Sequence[ListedProblem], label_counts: Mapping[str, int]
) -> tuple[ProblemGroup, ...]:
    """Return the groups, the most severe first, then the largest, then the newest.

    `absent`: machines that are not online; `label_counts`: the number of machines with a label.
    """
    attended = {each.machine for each in problems if each.rule == AWAY and each.is_attended}
    absent = [row for row in absent if row.name not in attended]
    problems = [each for each in problems if not each.is_attended]
    away = {str(row.name) for row in absent}
    found = [*_absent(absent, label_counts), *_alerts(problems, away, label_counts), *_incidents(problems, away)]
    return tuple(sorted(found, key=lambda each: (_SEVERITY.get(each.severity, 3), -each.count, -each.since)))


def _absent(absent: Sequence[Row[Any]], label_counts: Mapping[str, int]) -> Iterable[ProblemGroup]:
    for presence in (OFFLINE, STALE, EXPIRED):
        rows = sorted((row for row in absent if row.presence == presence), key=lambda row: int(row.since_at))
        for together in [rows] if presence == EXPIRED and rows else _bursts(rows):
            for label, members in _by_label(together, label_counts):
                names, shown = _named((row.name, row.hostname) for row in members)
                since = int(members[0].since_at)
                yield ProblemGroup(presence, presence, since, len(members), names, shown, label)


def _bursts(rows: Sequence[Row[Any]]) -> Iterable[list[Row[Any]]]:
    """Split rows, sorted by the beginning, where the next one began much later."""
    burst: list[Row[Any]] = []
    for row in rows:
        if burst and row.since_at - burst[-1].since_at > TOGETHER_MILLISECONDS:
            yield burst
            burst = []
        burst.append(row)
    if burst:
        yield burst


def _by_label(rows: Sequence[Any], label_counts: Mapping[str, int]) -> Iterable[tuple[str, list[Any]]]:
    """Split rows by the labels that tell them best from the others; the rest is a group without a label."""
    rest = [(row, _labels(row)) for row in rows]
    while len(rest) >= _COMPANY_MIN:
        counts = Counter(label for _row, labels in rest for label in labels)
        best = max(
            counts, key=lambda label: (counts[label] ** 2 / _total(label, counts, label_counts), label), default=""
        )
        if not best or counts[best] < _COMPANY_MIN or 2 * counts[best] < _total(best, counts, label_counts):
            break
        yield best, [row for row, labels in rest if best in labels]
        rest = [(row, labels) for row, labels in rest if best not in labels]
    if rest:
        yield "", [row for row, _ in rest]


def _labels(row: Any) -> list[str]:  # noqa: ANN401 - a row or a problem
    return [f"{key}={value}" for key, value in (row.labels or {}).items()]


def _total(label: str, counts: Mapping[str, int], label_counts: Mapping[str, int]) -> int:
    return max(counts[label], label_counts.get(label, 0))


def _alerts(
    problems: Sequence[ListedProblem], away: set[str], label_counts: Mapping[str, int]
) -> Iterable[ProblemGroup]:
    alerts = [each for each in problems if not each.is_incident and not (each.rule == AWAY and each.machine in away)]
    alerts.sort(key=lambda each: (each.rule, each.severity, each.started_at))
    for (rule, severity), same in groupby(alerts, key=lambda each: (each.rule, each.severity)):
        for label, members in _by_label(list(same), label_counts):
            names, shown = _named((each.machine, each.hostname) for each in members)
            only = members[0] if len(members) == 1 else None
            since, title = members[0].started_at, members[0].title
            yield ProblemGroup(rule, severity, since, len(members), names, shown, label, title, only)


def _incidents(problems: Sequence[ListedProblem], away: set[str]) -> Iterable[ProblemGroup]:
    """Leave out those whose machines are absent: a group of these says it."""
    for each in problems:
        if each.is_incident and not away & set(each.names):
            names = each.names[:_NAMES_KEPT]
            count = max(1, len(each.names))
            yield ProblemGroup(each.rule, each.severity, each.started_at, count, names, names, problem=each)


def _named(members: Iterable[tuple[str, str | None]]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    kept = list(members)[:_NAMES_KEPT]
    return tuple(name for name, _ in kept), tuple(machine_name(*each) for each in kept)
