"""Looking at the fleet from a terminal: machines, ledgers, and what passes on the topics."""

import time
from pathlib import Path
from typing import Annotated, Any

import typer

from cli.options import Data, Database, Json, Server, effective, fleet_database, show, table, utc

app = typer.Typer()


@app.command()
def machines(data: Data = None, database: Database = None, as_json: Json = False) -> None:
    """List the machines: who is there, how they are, when they were heard."""
    from cli.machines import machine_table

    found = _list_machines(data, database)
    show(found if as_json else machine_table(found, now=time.time()))


@app.command()
def ledger(data: Data = None, database: Database = None, as_json: Json = False) -> None:
    """Say of every machine where its samples are: stored, late, dropped, still waiting, lost."""
    from cli.machines import ledger_table

    found = _list_machines(data, database)
    plain = [{name: row[name] for name in ("org", "machine", "ledger")} for row in found]
    show(plain if as_json else ledger_table(found))


@app.command()
def alerts(
    data: Data = None,
    org: Annotated[str | None, typer.Option(help="Only those of this organisation.")] = None,
    machine: Annotated[str | None, typer.Option(help="Only those of this machine.")] = None,
    over: Annotated[bool, typer.Option("--over", help="Also those that are over.")] = False,
    limit: Annotated[int, typer.Option(help="So many, the newest first.", min=1)] = 100,
    database: Database = None,
    as_json: Json = False,
) -> None:
    """List the alerts that last: what is wrong with which machine, and since when."""
    from schemas.database.queries.alerts import list_alerts

    with fleet_database(data, database, read_only=True) as engine:
        found = list_alerts(engine, org_name=org, machine_name=machine, over=over, limit=limit)
    columns = ("org", "machine", "alert", "detail", "severity", "since", "until")
    show(found if as_json else table([_alert_row(alert) for alert in found], columns))


def _alert_row(alert: dict[str, Any]) -> dict[str, str]:
    from broker.client.topic_tail import printable

    plain = {name: printable(alert[name]) for name in ("org", "machine", "detail", "severity")}
    until = "" if alert["ended_at"] is None else utc(alert["ended_at"])
    return {**plain, "alert": printable(alert["title"]), "since": utc(alert["started_at"]), "until": until}


@app.command()
def watch(
    data: Data = None,
    server: Server = None,
    org: Annotated[str, typer.Option(help="The organisation to watch.")] = "home",
    as_json: Json = False,
) -> None:
    """Subscribe to an organisation's topics and print what passes, until Ctrl-C."""
    from runtime.settings.client import WatchSettings

    settings = effective(WatchSettings, data, None, False, server=server, org=org)
    from broker.client.topic_tail import as_json_lines, as_text
    from broker.client.topic_tail import watch as run

    run(settings, show=as_json_lines if as_json else as_text)


def _list_machines(data: Path | None, database: str | None) -> list[dict[str, Any]]:
    from schemas.database.queries.machines import list_machines

    with fleet_database(data, database, read_only=True) as engine:
        return list_machines(engine)
