"""Problems of an organisation: alerts of its machines, and incidents, active or resolved.

Invariants:
- Every query is restricted to one organisation, given by name; an incident of the whole system belongs to all that
  existed before its end.
- A search matches what the page shows: title, detail, machine; never the text of another organisation.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from sqlalchemy import ColumnElement, Engine, Row, Select, String, and_, case, cast, func, or_, select

from schemas.contract.alerts import INCIDENT_SEVERITIES
from schemas.database.queries.fetch import fetch_all, fetch_first, fetch_scalar
from schemas.database.queries.fleet_order import ABSENT
from schemas.database.queries.machines import select_machines
from schemas.database.tables import alert, incident, machine, org, state
from schemas.database.text_search import contains_each

ACTIVE: Final = "active"
RESOLVED: Final = "resolved"
STATES: Final = (ACTIVE, RESOLVED)
SEVERITIES: Final = ("critical", "warning")

CHOICES_MAX: Final = 200
_ALERT, _INCIDENT = "alert-", "incident-"
_ATTENTION: Final = (
    *("acknowledged_at", "acknowledged_by", "acknowledged_comment"),
    *("silenced_until", "silence_reason"),
)
_RANK: Final = {"critical": 0, "warning": 1}


@dataclass(frozen=True, slots=True)
class ProblemFilter:
    """A selection of problems. An empty field means all. `rule`: name of an alert rule, or kind of an incident."""

    state: str = ACTIVE
    search: str = ""
    machine: str = ""
    rule: str = ""
    severity: str = ""


@dataclass(frozen=True, slots=True)
class ListedProblem:
    """An alert of a machine, or an incident, which has no `title` but `details`. `id` is unique among both."""

    id: str
    rule: str
    severity: str
    started_at: int
    ended_at: int | None
    withdrawn: bool = False
    title: str = ""
    detail: str = ""
    machine: str = ""
    hostname: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    details: Mapping[str, Any] = field(default_factory=dict)
    acknowledged_at: int | None = None
    acknowledged_by: str | None = None
    acknowledged_comment: str | None = None
    silenced_until: int | None = None
    silence_reason: str | None = None

    @property
    def number(self) -> int:
        """Number of the alert or incident in the database."""
        return int(self.id.rpartition("-")[2])

    @property
    def is_incident(self) -> bool:
        """True for an incident."""
        return self.id.startswith(_INCIDENT)

    @property
    def is_attended(self) -> bool:
        """True for an alert that is acknowledged or silenced."""
        return self.acknowledged_at is not None or self.silenced_until is not None

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the machines that it concerns, as far as they are known."""
        named = self.details.get("names") or ()
        single = self.machine or str(self.details.get("machine") or "")
        return tuple(str(name) for name in named) or ((single,) if single else ())


@dataclass(frozen=True, slots=True)
class ProblemChoices:
    """Values that problems can be filtered by: rules with a title (of incidents: none), and machines."""

    rules: Mapping[str, str] = field(default_factory=dict)
    machines: tuple[str, ...] = ()


def list_problems(
    engine: Engine, org_name: str, wanted: ProblemFilter, *, offset: int, limit: int
) -> list[ListedProblem]:
    """Return active problems, critical ones first, then the newest; or resolved ones, the last to end first."""
    last = offset + limit
    alerts = fetch_all(engine, _newest(_alerts(org_name, wanted), alert, wanted.state).limit(last))
    incidents = fetch_all(engine, _newest(_incidents(org_name, wanted), incident, wanted.state).limit(last))
    found = [*map(_of_alert, alerts), *map(_of_incident, incidents)]
    return sorted(found, key=_order)[offset:last]


def list_absent_machines(engine: Engine, org_name: str, *, limit: int) -> list[Row[Any]]:
    """Return the machines that are offline, stale or long offline, those that changed last first."""
    columns = (machine.c.name, machine.c.hostname, machine.c.labels, state.c.presence, state.c.since_at)
    query = select_machines(org_name, *columns).where(state.c.presence.in_(ABSENT))
    return fetch_all(engine, query.order_by(state.c.since_at.desc(), machine.c.name).limit(limit))


def find_problem(engine: Engine, org_name: str, id_: str) -> ListedProblem | None:
    """Return one problem by its id, or None."""
    for prefix, table, query, make in (
        (_ALERT, alert, _alerts(org_name), _of_alert),
        (_INCIDENT, incident, _incidents(org_name), _of_incident),
    ):
        number = id_.removeprefix(prefix)
        if id_ != number and number.isascii() and number.isdigit() and len(number) < 19:
            row = fetch_first(engine, query.where(table.c.id == int(number)))
            return None if row is None else make(row)
    return None


def count_unattended_problems(engine: Engine, org_name: str) -> int:
    """Return the number of active incidents, and of active alerts that are neither acknowledged nor silenced."""
    unattended = alert.c.acknowledged_at.is_(None), alert.c.silenced_until.is_(None)
    queries = (_alerts(org_name, ProblemFilter()).where(*unattended), _incidents(org_name, ProblemFilter()))
    return sum(fetch_scalar(engine, query.with_only_columns(func.count())) or 0 for query in queries)


def list_problem_choices(engine: Engine, org_name: str) -> ProblemChoices:
    """Return the rules and machines that the organisation's problems have, at most CHOICES_MAX of each."""
    alerts = _alerts(org_name)
    rules = alerts.with_only_columns(alert.c.rule, func.max(alert.c.title).label("title")).group_by(alert.c.rule)
    kinds = _incidents(org_name).with_only_columns(incident.c.kind).distinct()
    machines = alerts.with_only_columns(machine.c.name).group_by(machine.c.name)
    newest = machines.order_by(func.max(alert.c.started_at).desc()).limit(CHOICES_MAX)
    titles = {row.rule: row.title for row in fetch_all(engine, rules.order_by(alert.c.rule).limit(CHOICES_MAX))}
    titles |= {row.kind: "" for row in fetch_all(engine, kinds)}
    return ProblemChoices(titles, tuple(sorted(row.name for row in fetch_all(engine, newest))))


def _alerts(org_name: str, wanted: ProblemFilter | None = None) -> Select[Any]:
    columns = (alert, machine.c.name.label("machine"), machine.c.hostname, machine.c.labels)
    query = select(*columns).select_from(alert.join(machine).join(org)).where(org.c.name == org_name)
    if wanted is None:
        return query
    for column, value in (
        (machine.c.name, wanted.machine),
        (alert.c.rule, wanted.rule),
        (alert.c.severity, wanted.severity),
    ):
        query = query.where(column == value) if value else query
    texts = (alert.c.title, alert.c.detail, alert.c.rule, machine.c.name, machine.c.hostname)
    return query.where(*_in_state(alert.c.ended_at, wanted.state), *contains_each(wanted.search, *texts))


def _incidents(org_name: str, wanted: ProblemFilter | None = None) -> Select[Any]:
    created_at = select(org.c.created_at).where(org.c.name == org_name).scalar_subquery()
    of_system = and_(incident.c.org_id.is_(None), or_(incident.c.ended_at.is_(None), incident.c.ended_at >= created_at))
    concerned = or_(of_system, org.c.name == org_name)
    query = select(incident).select_from(incident.outerjoin(org)).where(concerned)
    if wanted is None:
        return query
    told = cast(incident.c.details, String)
    if wanted.machine:
        query = query.where(told.contains(f'"{wanted.machine}"', autoescape=True))
    if wanted.rule:
        query = query.where(incident.c.kind == wanted.rule)
    if wanted.severity:
        query = query.where(case(INCIDENT_SEVERITIES, value=incident.c.kind, else_="warning") == wanted.severity)
    return query.where(
        *_in_state(incident.c.ended_at, wanted.state), *contains_each(wanted.search, told, incident.c.kind)
    )


def _in_state(ended_at: ColumnElement[Any], state: str) -> list[ColumnElement[bool]]:
    return [ended_at.is_not(None) if state == RESOLVED else ended_at.is_(None)]


def _newest(query: Select[Any], table: Any, state: str) -> Select[Any]:  # noqa: ANN401 - one of two tables
    if state == RESOLVED:
        return query.order_by(table.c.ended_at.desc(), table.c.id.desc())
    severity = [case(_RANK, value=alert.c.severity, else_=1)] if table is alert else []
    kind = [case(INCIDENT_SEVERITIES, value=incident.c.kind, else_="warning")] if table is incident else []
    return query.order_by(*severity, *kind, table.c.started_at.desc(), table.c.id.desc())


def _order(problem: ListedProblem) -> tuple[int, int, str]:
    if problem.ended_at is not None:
        return 0, -problem.ended_at, problem.id
    return _RANK.get(problem.severity, 1), -problem.started_at, problem.id


def _of_alert(row: Row[Any]) -> ListedProblem:
    return ListedProblem(
        id=f"{_ALERT}{row.id}",
        rule=row.rule,
        severity=row.severity,
        started_at=row.started_at,
        ended_at=row.ended_at,
        withdrawn=row.withdrawn,
        title=row.title,
        detail=row.detail,
        machine=row.machine,
        hostname=row.hostname or row.machine,
        labels=row.labels or {},
        **{name: getattr(row, name) for name in _ATTENTION},
    )


def _of_incident(row: Row[Any]) -> ListedProblem:
    return ListedProblem(
        id=f"{_INCIDENT}{row.id}",
        rule=row.kind,
        severity=INCIDENT_SEVERITIES.get(row.kind, "warning"),
        started_at=row.started_at,
        ended_at=row.ended_at,
        details=row.details or {},
    )
