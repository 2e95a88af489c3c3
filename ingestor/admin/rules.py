"""Alert rules as admins change them: by a command next to the ingestor, or by a request to it.

Invariants:
- Only rules of the given organisation are found or changed. An organisation has at most RULES_MAX.
- A function checks before it writes: if it raises UserError, it has changed nothing.
- A rule about a metric of series has a pattern of devices.
- The time of the last change grows with every change, so that the ingestor notices each (`ingestor.alerts.rule_book`).
"""

from sqlalchemy import Engine, func, select
from sqlalchemy.engine import Connection

from ingestor.admin import access
from runtime.errors import UserError
from schemas.alerts.description import describe_rule
from schemas.alerts.device_readings import about_devices
from schemas.contract.administration import DeleteRule, SetRule
from schemas.contract.alert_rules import RULES_MAX, AlertRule
from schemas.database.rule_rows import read_rule, rule_values
from schemas.database.series.latest import series_metrics
from schemas.database.tables import alert_rule


def apply(connection: Connection, org: str, change: SetRule | DeleteRule, now: int) -> str:
    """Apply a change, and return its description. The organisation must be locked. Raises UserError."""
    if isinstance(change, DeleteRule):
        return delete_rule(connection, org, change.name)
    return set_rule(connection, org, change.rule, now)


def change(engine: Engine, org: str, wanted: SetRule | DeleteRule, now: int, *, new: bool = False) -> str:
    """Apply a change in a transaction of its own. `new`: a rule of this name may not exist yet. Raises UserError."""
    with engine.begin() as connection:
        access.require_org(connection, org)
        access.lock_org(connection, org)
        if new and isinstance(wanted, SetRule) and find_rule(connection, org, wanted.rule.name) is not None:
            raise UserError(f"{org} has a rule {wanted.rule.name} already: dashfleet rule edit changes it")
        return apply(connection, org, wanted, now)


def find_rule(connection: Connection, org: str, name: str) -> AlertRule | None:
    """Return a rule, or None if the organisation has none of this name."""
    query = select(alert_rule).where(alert_rule.c.org_id == access.org_id(connection, org), alert_rule.c.name == name)
    row = connection.execute(query).one_or_none()
    return None if row is None else read_rule(row)


def set_rule(connection: Connection, org: str, rule: AlertRule, now: int) -> str:
    """Add a rule, or replace the one with its name; an unchanged one stays, with its alerts."""
    rule = about_devices(rule, series_metrics(connection, org) if rule.metric else ())
    org_id = access.org_id(connection, org)
    mine = alert_rule.c.org_id == org_id
    known = connection.execute(select(alert_rule).where(mine, alert_rule.c.name == rule.name)).one_or_none()
    described = f"{rule.name}: {describe_rule(rule)}"
    if known is None:
        if (connection.scalar(select(func.count()).where(mine)) or 0) >= RULES_MAX:
            raise UserError(f"{org} has {RULES_MAX} rules: remove one first")
        connection.execute(alert_rule.insert().values(org_id=org_id, **rule_values(rule, now)))
        return described
    if read_rule(known) == rule:
        return f"{rule.name}: nothing changed"
    values = rule_values(rule, max(now, known.changed_at + 1))
    connection.execute(alert_rule.update().where(alert_rule.c.id == known.id).values(values))
    return described


def delete_rule(connection: Connection, org: str, name: str) -> str:
    """Remove a rule. Its open alerts end; those that ended stay in the history."""
    mine = (alert_rule.c.org_id == access.org_id(connection, org)) & (alert_rule.c.name == name)
    if connection.execute(alert_rule.delete().where(mine)).rowcount == 0:
        raise UserError(f"{org} has no rule {name}")
    return name
