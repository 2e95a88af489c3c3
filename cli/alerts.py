"""`dashfleet alerts`: active and past alerts, and acknowledging them."""

import datetime
from typing import Annotated, Any

import typer

from cli import silence
from cli.certificate import note_certificates
from cli.options import Data, Database, Json, OnlyMachine, OnlyOrg, Org
from cli.output import show_rows, utc
from cli.settings import fleet_database, require_known
from runtime.errors import UserError
from runtime.terminal import printable

app = typer.Typer()


@app.callback(invoke_without_command=True)
def alerts(
    context: typer.Context,
    data: Data = None,
    org: OnlyOrg = None,
    machine: OnlyMachine = None,
    rule: Annotated[str | None, typer.Option(help="Only alerts of this rule.", show_default="all")] = None,
    severity: Annotated[
        str | None, typer.Option(help="Only alerts of this severity: warning or critical.", show_default="all")
    ] = None,
    over: Annotated[bool, typer.Option("--over", help="Include alerts that have ended.")] = False,
    unattended: Annotated[
        bool, typer.Option("--unattended", help="Only alerts that are neither acknowledged nor silenced.")
    ] = False,
    limit: Annotated[int, typer.Option(help="Maximum number of alerts, newest first.", min=1)] = 100,
    database: Database = None,
    as_json: Json = False,
) -> None:
    """List active alerts: machine, rule, severity, begin, acknowledgement or silence.

    A certificate of the broker that expires within 30 days is named on standard error.
    """
    if context.invoked_subcommand is not None:
        return
    from schemas.database.queries.alerts import list_alerts

    if severity not in (None, "warning", "critical"):
        raise UserError(f"there is no severity {severity!r}: warning or critical")
    filters = {"org_name": org, "machine_name": machine, "rule": rule, "severity": severity}
    with fleet_database(data, database, read_only=True) as engine:
        require_known(engine, org)
        found = list_alerts(engine, **filters, over=over, unattended=unattended, limit=limit)
    columns = ("id", "org", "machine", "alert", "detail", "severity", "since", "until", "attention")
    filtered = unattended or any(each is not None for each in filters.values())
    empty = "No alert matches these options." if filtered else "No alerts." if over else "No active alerts."
    show_rows(found, columns, as_json=as_json, cells=_cells, empty=empty)
    note_certificates(data, datetime.datetime.now(datetime.UTC))


@app.command("acknowledge")
def acknowledge(
    numbers: Annotated[
        list[int] | None, typer.Argument(metavar="[ID]…", help="Ids, as shown by `dashfleet alerts`.")
    ] = None,
    machine: Annotated[str | None, typer.Option(help="Machine of the alert, instead of an id.")] = None,
    rule: Annotated[str | None, typer.Option(help="Rule of the alert, with --machine.")] = None,
    comment: Annotated[str, typer.Option(help="Comment, shown with the alert.")] = "",
    withdraw: Annotated[
        bool, typer.Option("--withdraw", help="Withdraw the acknowledgement: people are reminded again.")
    ] = False,
    org: Org = "home",
    data: Data = None,
    database: Database = None,
) -> None:
    """Acknowledge active alerts: nobody is reminded of them until they are resolved."""
    from ingestor.admin.silences import UnknownAlertError, open_alert
    from schemas.contract.alerts import Acknowledge, Unacknowledge

    if bool(numbers) == bool(machine and rule):
        raise UserError("name the alerts by their ids, or one by --machine and --rule")
    if machine and rule:
        with fleet_database(data, database, read_only=True) as engine, engine.connect() as connection:
            try:
                numbers = [open_alert(connection, org, machine, rule)]
            except UnknownAlertError as error:
                raise UserError(f"{error}: {silence.KNOWN_ALERTS}") from None
    if withdraw:
        changed = silence.request(data, database, org, Unacknowledge, {"alerts": numbers or []})
        typer.echo(f"No longer acknowledged: {changed}")
        return
    fields = {"alerts": numbers or [], "comment": comment}
    typer.echo(f"Acknowledged {silence.request(data, database, org, Acknowledge, fields)}")


def _cells(alert: dict[str, Any]) -> dict[str, str]:
    attention = []
    if alert["acknowledged_at"] is not None:
        attention.append(f"acknowledged by {printable(alert['acknowledged_by'] or '')}")
    if alert["silenced_until"] is not None:
        attention.append(f"silenced until {utc(alert['silenced_until'])}")
    if alert["withdrawn"]:
        attention.append("withdrawn")
    return {
        **{name: printable(str(alert[name])) for name in ("id", "org", "machine", "detail", "severity")},
        "alert": printable(alert["title"]),
        "since": utc(alert["started_at"]),
        "until": utc(alert["ended_at"]),
        "attention": ", ".join(attention),
    }
