"""Alert rules for tests, written to the database as an administrator would leave them."""

from sqlalchemy import Engine, delete, insert, select

from schemas.contract.alert_rules import DEFAULT_RULES, AlertRule
from schemas.database import tables
from schemas.database.rule_rows import rule_values


def set_rules(fleet: Engine, *rules: AlertRule, org: str = "home", at: int = 0) -> None:
    """Give the organisation exactly these rules. `at`: time of their last change."""
    with fleet.begin() as connection:
        key = connection.scalar(select(tables.org.c.id).where(tables.org.c.name == org))
        connection.execute(delete(tables.alert_rule).where(tables.alert_rule.c.org_id == key))
        for rule in rules:
            connection.execute(insert(tables.alert_rule).values(org_id=key, **rule_values(rule, at)))


def cpu_rule(name: str = "hot", **values: object) -> AlertRule:
    """A rule on the CPU: at least 90 % for a minute."""
    base = {"name": name, "title": "Hot", "kind": "above", "metric": "cpu_percent", "threshold": 90.0}
    return AlertRule.model_validate({**base, "for_seconds": 60.0, "clear_seconds": 30.0, **values})


_METRICS = ("cpu_percent", "memory_percent", "disk_percent", "swap_percent", "load_1m", "temperature_celsius")


def thirty_rules() -> list[AlertRule]:
    """The six shipped rules, and 24 with four thresholds of six metrics; one of those compares the rate of a counter,
    so that every sample is compared with the one before."""
    found = [
        cpu_rule(
            f"{metric.replace('_', '-')}-{number}",
            title=metric,
            metric=metric,
            threshold=95.0 + number,
            for_seconds=60.0 * number,
            severity="warning" if number % 2 else "critical",
        )
        for metric in _METRICS
        for number in range(4)
    ]
    rate = cpu_rule("uplink", title="Uplink", kind="rate-above", metric="network_sent_bytes", threshold=1e9)
    return [*DEFAULT_RULES, *found[:-1], rate]
