"""The rules of an organisation, and those that apply to one of its machines with the reason."""

from dataclasses import dataclass

from sqlalchemy import Engine, Row, select

from schemas.alerts.condition import Condition, resolve
from schemas.alerts.selection import explain_rules
from schemas.contract.alert_rules import AlertRule
from schemas.contract.machine_selector import StoredTraits
from schemas.contract.messages import VITALS
from schemas.database.queries.fetch import fetch_all, fetch_first
from schemas.database.queries.settings import read_settings
from schemas.database.rule_rows import read_rule
from schemas.database.series.latest import series_metrics
from schemas.database.tables import alert, alert_rule, machine, org, state


@dataclass(frozen=True, slots=True)
class ListedRule:
    """A rule with its organisation and its number of open alerts."""

    org: str
    rule: AlertRule
    open_alerts: int


@dataclass(frozen=True, slots=True)
class ApplyingRule:
    """A rule that selects a machine, with its thresholds resolved.

    `replaced_by`: names of the more specific rules because of which it does not apply; none: it applies.
    """

    condition: Condition
    replaced_by: tuple[str, ...]


def list_rules(engine: Engine, org_name: str | None = None) -> list[ListedRule]:
    """Return the rules of an organisation, or of all, by organisation and name; without unreadable ones."""
    query = (
        select(alert_rule, org.c.name.label("org")).join_from(alert_rule, org).order_by(org.c.name, alert_rule.c.name)
    )
    opened = select(org.c.name.label("org"), alert.c.rule).select_from(alert.join(machine).join(org))
    opened = opened.where(alert.c.ended_at.is_(None))
    if org_name is not None:
        query, opened = query.where(org.c.name == org_name), opened.where(org.c.name == org_name)
    counts: dict[tuple[str, str], int] = {}
    for row in fetch_all(engine, opened):
        counts[row.org, row.rule] = counts.get((row.org, row.rule), 0) + 1
    rows = ((row, read_rule(row)) for row in fetch_all(engine, query))
    return [ListedRule(row.org, rule, counts.get((row.org, rule.name), 0)) for row, rule in rows if rule is not None]


def find_rule(engine: Engine, org_name: str, name: str) -> AlertRule | None:
    """Return one rule of an organisation, or None."""
    query = select(alert_rule).join_from(alert_rule, org).where(org.c.name == org_name, alert_rule.c.name == name)
    row = fetch_first(engine, query)
    return None if row is None else read_rule(row)


def list_metrics(engine: Engine, org_name: str) -> list[str]:
    """Return the names of the vitals, and of the extra metrics that machines of an organisation reported last."""
    query = select(state.c.extra).select_from(state.join(machine).join(org))
    rows = fetch_all(engine, query.where(org.c.name == org_name, state.c.extra.is_not(None)))
    return [*VITALS, *sorted({name for row in rows for name in row.extra})]


def list_series_metrics(engine: Engine, org_name: str) -> list[str]:
    """Return the names of the metrics of series that machines of an organisation reported last."""
    with engine.connect() as connection:
        return sorted(series_metrics(connection, org_name))


def list_applying(engine: Engine, org_name: str, machine_name: str) -> list[ApplyingRule]:
    """Return the enabled rules that select a machine, those that apply first; none for an unknown machine."""
    columns = (machine.c.os, machine.c.agent_version, machine.c.labels)
    query = select(*columns).join_from(machine, org).where(org.c.name == org_name, machine.c.name == machine_name)
    row = fetch_first(engine, query)
    if row is None:
        return []
    thresholds = read_settings(engine, org_name)[0].thresholds
    rules = [each.rule for each in list_rules(engine, org_name)]
    found = [
        ApplyingRule(resolve(each.rule, thresholds), each.replaced_by)
        for each in explain_rules(rules, machine_name, read_traits(row))
    ]
    return sorted(found, key=lambda each: bool(each.replaced_by))


def read_traits(row: Row[tuple[object, ...]]) -> StoredTraits:
    """Return the traits of a machine from the columns `os`, `agent_version` and `labels`."""
    labels = row.labels if isinstance(row.labels, dict) else {}
    return StoredTraits(row.os or "", row.agent_version or "", labels)
