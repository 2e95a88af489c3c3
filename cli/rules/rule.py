"""`dashfleet rule`: add, list, change, test and remove alert rules."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.options import CLOCK, Data, Database, Json, OnlyOrg, Org
from cli.output import note, show_json, show_rows
from cli.rules import definition as options
from cli.rules.past import alert_cells, find_rule_of, run_over_samples
from cli.settings import fleet_database, require_known
from cli.silence import note_unknown_machines
from runtime.errors import UserError
from runtime.terminal import printable

if TYPE_CHECKING:
    from schemas.contract.administration import DeleteRule, SetRule
    from schemas.contract.alert_rules import AlertRule
    from schemas.database.rules.preview import Preview
    from schemas.database.rules.rule_queries import ListedRule

app = typer.Typer(help="Add, list, change, test and remove alert rules.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(metavar="NAME", help="Rule: lower-case letters, digits, hyphens.")]


@app.command("add")
def add(
    name: Name,
    title: options.Title = None,
    metric: options.Metric = None,
    device: options.Device = None,
    above: options.Above = None,
    below: options.Below = None,
    rate: options.Rate = False,
    kind: options.Kind = None,
    threshold: options.Threshold = None,
    for_: options.For = None,
    clear_at: options.ClearAt = None,
    clear_for: options.ClearFor = None,
    severity: options.SeverityName = None,
    label: options.Labels = None,
    system: options.Systems = None,
    agent_version: options.Versions = None,
    machine: options.Machines = None,
    org: Org = "home",
    data: Data = None,
    database: Database = None,
) -> None:
    """Add an alert rule. It is in force within seconds.

    Without a selector it applies to all machines of the organisation, beside the rules that exist.
    """
    condition = options.condition(
        metric=metric, device=device, above=above, below=below, rate=rate, kind=kind, threshold=threshold
    )
    fields = {
        "name": name,
        "title": title or name.replace("-", " ").capitalize(),
        "severity": severity or "warning",
        "selector": options.selector(label=label, system=system, version=agent_version, machine=machine),
        **condition,
        **options.durations(for_=for_, clear_at=clear_at, clear_for=clear_for),
    }
    if "kind" not in fields:
        raise UserError("name the condition with --above, --below or --kind")
    _set(data, database, org, options.make_rule(fields), new=True)


@app.command("edit")
def edit(
    name: Name,
    title: options.Title = None,
    metric: options.Metric = None,
    device: options.Device = None,
    above: options.Above = None,
    below: options.Below = None,
    rate: options.Rate = False,
    kind: options.Kind = None,
    threshold: options.Threshold = None,
    for_: options.For = None,
    clear_at: options.ClearAt = None,
    clear_for: options.ClearFor = None,
    severity: options.SeverityName = None,
    label: options.Labels = None,
    system: options.Systems = None,
    agent_version: options.Versions = None,
    machine: options.Machines = None,
    everywhere: Annotated[bool, typer.Option("--all-machines", help="Remove the selector.")] = False,
    org: Org = "home",
    data: Data = None,
    database: Database = None,
) -> None:
    """Change an alert rule; options that are not given keep their values.

    Its active alerts end, and begin again if the condition lasts.
    """
    bounds = {"above": above, "below": below, "threshold": threshold}
    condition = options.condition(metric=metric, device=device, rate=rate, kind=kind, **bounds)
    durations = options.durations(for_=for_, clear_at=clear_at, clear_for=clear_for)
    given = {"title": title, "severity": severity}
    changes = {**{name: value for name, value in given.items() if value is not None}, **condition, **durations}
    selected = options.selector(label=label, system=system, version=agent_version, machine=machine)

    def changed(rule: "AlertRule") -> "AlertRule":
        chosen = selected if everywhere else {**dict(rule.selector), **selected}
        return options.make_rule({**dict(rule), **changes, "selector": chosen})

    _change(data, database, org, name, changed)


@app.command("list")
def list_(org: OnlyOrg = None, data: Data = None, database: Database = None, as_json: Json = False) -> None:
    """List the alert rules: condition, durations, severity, machines, number of active alerts."""
    from schemas.database.rules.rule_queries import list_rules

    with fleet_database(data, database, read_only=True) as engine:
        require_known(engine, org)
        found = [_row(each) for each in list_rules(engine, org)]
    columns = ("name", "org", "title", "condition", "for", "severity", "machines", "enabled", "active")
    show_rows(found, columns, as_json=as_json, cells=_cells)


@app.command("show")
def show(name: Name, org: Org = "home", data: Data = None, database: Database = None, as_json: Json = False) -> None:
    """Show an alert rule."""
    with fleet_database(data, database, read_only=True) as engine:
        rule = find_rule_of(engine, org, name)
    if as_json:
        show_json(rule.model_dump(mode="json"))
        return
    from schemas.alerts.description import describe_rule

    typer.echo(printable(f"{rule.name} ({rule.title}): {describe_rule(rule)}"))


@app.command("remove")
def remove(name: Name, org: Org = "home", data: Data = None, database: Database = None) -> None:
    """Remove an alert rule. Its active alerts end; past alerts stay."""
    from schemas.contract.administration import DeleteRule

    with fleet_database(data, database, read_only=True) as engine:
        find_rule_of(engine, org, name)
    typer.echo(f"Removed {_apply(data, database, org, DeleteRule(name=name))}.")


@app.command("enable")
def enable(name: Name, org: Org = "home", data: Data = None, database: Database = None) -> None:
    """Enable an alert rule."""
    _change(data, database, org, name, lambda rule: rule.model_copy(update={"enabled": True}))


@app.command("disable")
def disable(name: Name, org: Org = "home", data: Data = None, database: Database = None) -> None:
    """Disable an alert rule. Its active alerts end."""
    _change(data, database, org, name, lambda rule: rule.model_copy(update={"enabled": False}))


@app.command("test")
def preview(
    name: Name,
    start: Annotated[
        str | None, typer.Option("--from", help="Run the rule over the stored samples since then.", show_default=False)
    ] = None,
    end: Annotated[str | None, typer.Option("--to", help="End of these samples.", show_default="now")] = None,
    org: Org = "home",
    data: Data = None,
    database: Database = None,
    as_json: Json = False,
) -> None:
    """List the machines that fulfil the condition now, and the alerts that the rule would have raised in seven days.

    With --from, the alerts that it would have raised on every stored sample of a period, exactly as the ingestor does.
    """
    from schemas.database.rules.preview import preview_rule

    if start is not None:
        run_over_samples(name, start, end, org, data, database, as_json=as_json)
        return
    if end is not None:
        raise UserError("--to needs --from")
    with fleet_database(data, database, read_only=True) as engine:
        found = preview_rule(engine, org, find_rule_of(engine, org, name), now=CLOCK.now())
    if as_json:
        show_json(_preview(found))
        return
    machines = "1 machine" if found.selected == 1 else f"{found.selected} machines"
    typer.echo(f"Selects {machines}; {len(found.now)} fulfil the condition now.")
    if found.now:
        rows = [{"machine": machine, "now": value} for machine, value in found.now]
        show_rows(rows, ("machine", "now"), cells=_plain)
    if not found.has_history:
        typer.echo("The history does not contain the signal of this kind of rule.")
        return
    typer.echo(f"Alerts in the last seven days: {len(found.alerts)}{'' if found.complete else ' or more'}.")
    if found.alerts:
        show_rows(_preview(found)["alerts"], ("machine", "since", "until", "detail"), cells=alert_cells)


def _change(data: Data, database: Database, org: str, name: str, change: Callable[["AlertRule"], "AlertRule"]) -> None:
    with fleet_database(data, database, read_only=True) as engine:
        rule = find_rule_of(engine, org, name)
    _set(data, database, org, change(rule))


def _set(data: Data, database: Database, org: str, rule: "AlertRule", *, new: bool = False) -> None:
    from schemas.contract.administration import SetRule

    typer.echo(printable(_apply(data, database, org, SetRule(rule=rule), new=new)))
    if rule.kind != "changed" and rule.metric:
        _note_unknown_metric(data, database, org, rule.metric)
    note_unknown_machines(data, database, org, rule.selector.machines)


def _note_unknown_metric(data: Data, database: Database, org: str, metric: str) -> None:
    """Say that no machine reports the metric; it may be an extra metric that a plug-in will report later."""
    from schemas.database.rules.rule_queries import list_metrics, list_series_metrics

    with fleet_database(data, database, read_only=True) as engine:
        known = dict.fromkeys([*list_metrics(engine, org), *list_series_metrics(engine, org)])
    if metric not in known:
        note(f"No machine reports {metric}. The metrics of {org} are: {', '.join(known)}.")


def _apply(data: Data, database: Database, org: str, wanted: "SetRule | DeleteRule", *, new: bool = False) -> str:
    from ingestor.admin import rules

    with fleet_database(data, database) as engine:
        return rules.change(engine, org, wanted, CLOCK.now(), new=new)


def _row(each: "ListedRule") -> dict[str, Any]:
    from schemas.alerts.description import describe_condition

    described = {"condition": describe_condition(each.rule), "machines": each.rule.selector.described()}
    return {
        "org": each.org,
        **each.rule.model_dump(mode="json"),
        "device": each.rule.device,
        **described,
        "active": each.open_alerts,
    }


def _cells(row: dict[str, Any]) -> dict[str, str]:
    from runtime.durations import duration

    return {
        **{name: printable(row[name]) for name in ("name", "org", "title", "condition", "severity")},
        "for": duration(row["for_seconds"]),
        "machines": printable(row["machines"]) or "all",
        "enabled": "yes" if row["enabled"] else "no",
        "active": str(row["active"]),
    }


def _preview(found: "Preview") -> dict[str, Any]:
    return {
        "selected": found.selected,
        "now": [{"machine": machine, "value": value} for machine, value in found.now],
        "alerts": [
            {"machine": each.machine, "since": each.started_at, "until": each.ended_at, "detail": each.detail}
            for each in found.alerts
        ],
        "has_history": found.has_history,
        "complete": found.complete,
    }


def _plain(row: dict[str, Any]) -> dict[str, str]:
    return {name: printable(str(value)) for name, value in row.items()}
