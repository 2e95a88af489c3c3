"""`dashfleet rule test --from`: run a rule over the stored samples of a period."""

from typing import TYPE_CHECKING, Any

import typer

from cli.options import CLOCK, Data, Database, to_moment
from cli.output import show_json, show_rows, utc
from cli.settings import fleet_database, require_org
from runtime.errors import UserError
from runtime.terminal import printable

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from schemas.contract.alert_rules import AlertRule


def find_rule_of(engine: "Engine", org: str, name: str) -> "AlertRule":
    """Return a rule of an organisation. Raises UserError if one of them does not exist."""
    from schemas.database.rules.rule_queries import find_rule

    require_org(engine, org)
    rule = find_rule(engine, org, name)
    if rule is None:
        raise UserError(f"{org} has no rule {name}: dashfleet rule list shows them")
    return rule


def run_over_samples(
    name: str, start: str, end: str | None, org: str, data: Data, database: Database, *, as_json: bool
) -> None:
    """Print the alerts that a rule would have raised on the samples of a period. Raises UserError."""
    from ingestor.alerts.stored_evaluation import evaluate_stored
    from schemas.alerts.readings import is_sampled

    now = CLOCK.now()
    first, last = to_moment(start, now), now if end is None else to_moment(end, now)
    if first >= last:
        raise UserError("--from must be before --to")
    with fleet_database(data, database, read_only=True) as engine:
        rule = find_rule_of(engine, org, name)
        if not is_sampled(rule):
            raise UserError(f"no sample decides the rule {name}: dashfleet rule test {name} shows what it would do")
        found = [
            {"machine": each.machine, "since": each.started_at, "until": each.ended_at, "detail": each.detail}
            for each in evaluate_stored(engine, org, rule, start=first, end=last)
        ]
    if as_json:
        show_json(found)
        return
    typer.echo(f"Alerts from {utc(first)} to {utc(last)}: {len(found)}.")
    if found:
        show_rows(found, ("machine", "since", "until", "detail"), cells=alert_cells)


def alert_cells(row: dict[str, Any]) -> dict[str, str]:
    """Return the cells of an alert for people."""
    times = {name: utc(row[name]) for name in ("since", "until")}
    return {"machine": row["machine"], "detail": printable(row["detail"]), **times}
