"""`dashfleet alerts`: active and past alerts."""

from typing import Annotated, Any

import typer

from cli.options import Data, Database, Json, OnlyMachine, OnlyOrg
from cli.output import show_rows, utc
from cli.settings import fleet_database
from runtime.terminal import printable

app = typer.Typer()


@app.command()
def alerts(
    data: Data = None,
    org: OnlyOrg = None,
    machine: OnlyMachine = None,
    over: Annotated[bool, typer.Option("--over", help="Include alerts that have ended.")] = False,
    limit: Annotated[int, typer.Option(help="Maximum number of alerts, newest first.", min=1)] = 100,
    database: Database = None,
    as_json: Json = False,
) -> None:
    """List active alerts: machine, rule, severity, when it began."""
    from schemas.database.queries.alerts import list_alerts

    with fleet_database(data, database, read_only=True) as engine:
        found = list_alerts(engine, org_name=org, machine_name=machine, over=over, limit=limit)
    columns = ("org", "machine", "alert", "detail", "severity", "since", "until")
    show_rows(found, columns, as_json=as_json, cells=_cells)


def _cells(alert: dict[str, Any]) -> dict[str, str]:
    return {
        **{name: printable(alert[name]) for name in ("org", "machine", "detail", "severity")},
        "alert": printable(alert["title"]),
        "since": utc(alert["started_at"]),
        "until": utc(alert["ended_at"]),
    }
