"""`dashfleet commands`: list, show and cancel commands."""

import json
from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from cli.act.publishing import MachinesOrg, actor, operator_client, publish
from cli.options import Data, Database, Json, OnlyMachine, OnlyOrg, Server
from cli.output import note, show_json, show_rows, utc
from cli.settings import effective, fleet_database, require_known
from runtime.errors import UserError
from runtime.terminal import printable

app = typer.Typer(help="List, show and cancel commands.", invoke_without_command=True)


@app.callback()
def list_(
    context: typer.Context,
    data: Data = None,
    org: OnlyOrg = None,
    machine: OnlyMachine = None,
    state: Annotated[str | None, typer.Option(help="Only commands in this state.", show_default="all")] = None,
    limit: Annotated[int, typer.Option(help="Maximum number of commands, newest first.", min=1)] = 50,
    database: Database = None,
    as_json: Json = False,
) -> None:
    """List commands: who requested them, for which machine, and their state."""
    if context.invoked_subcommand is not None:
        return
    from schemas.contract.commands import CommandState
    from schemas.database.queries.commands import list_commands

    if state is not None and state not in list(CommandState):
        raise UserError(f"there is no state {state}: it is one of {', '.join(CommandState)}")
    with fleet_database(data, database, read_only=True) as engine:
        require_known(engine, org)
        found = list_commands(engine, org_name=org, machine_name=machine, state=state, limit=limit)
    show_rows(found, ("id", "created", "machine", "action", "by", "state", "detail"), as_json=as_json, cells=_cells)


@app.command("show")
def show(
    id_: Annotated[str, typer.Argument(metavar="ID", help="Command id.")],
    data: Data = None,
    database: Database = None,
    as_json: Json = False,
) -> None:
    """Show a command with its output and its state transitions."""
    from schemas.database.queries.commands import show_command

    with fleet_database(data, database, read_only=True) as engine:
        found = show_command(engine, id_)
    if found is None:
        raise UserError(f"there is no command {id_}: dashfleet commands lists them")
    if as_json:
        show_json(found)
    else:
        _print_command(found)


@app.command("cancel")
def cancel(
    ids: Annotated[list[str], typer.Argument(metavar="ID…", help="Command ids.")],
    data: Data = None,
    org: MachinesOrg = None,
    server: Server = None,
    database: Database = None,
) -> None:
    """Cancel commands that have not been sent to their machines yet."""
    from broker.client import request_client
    from runtime.settings.client import ActSettings
    from schemas.database.queries.commands import command_states

    settings = effective(ActSettings, data, server=server, org=org)
    with fleet_database(data, database, read_only=True) as engine:
        known = command_states(engine, ids)
        unknown = [id_ for id_ in ids if id_ not in known]
        if unknown:
            raise UserError(f"there is no command {', '.join(unknown)}: dashfleet commands lists them")
        with operator_client(settings) as client:
            publish(settings, client, request_client.cancel(ids, actor=actor()), lambda _updates: None)
        after = command_states(engine, ids)
    for id_ in ids:
        typer.echo(f"{id_}  {after[id_]['state']}")
    raise typer.Exit(0 if all(found["state"] == "cancelled" for found in after.values()) else 1)


def _cells(command: dict[str, Any]) -> dict[str, str]:
    return {
        **{name: printable(str(command[name])) for name in ("id", "machine", "action", "state")},
        "created": utc(command["created_at"]),
        "by": printable(command["actor"] or command["principal"]),
        "detail": printable(command["detail"] or command["reason"]),
    }


def _print_command(found: dict[str, Any]) -> None:
    cells = _cells(found)
    typer.echo(f"{cells['action']} on {found['org']}/{cells['machine']}: {cells['state']}")
    typer.echo(f"requested by {cells['by']} at {cells['created']}, arguments {json.dumps(found['arguments'])}")
    for change in found["history"]:
        at = datetime.fromtimestamp(change["at"] / 1000, UTC).strftime("%H:%M:%S.%f")[:-3]
        why = change["detail"] or change["reason"]
        typer.echo(printable(f"  {at}  {change['after']:<10} by {change['by']}" + (f": {why}" if why else "")))
    if found["exit_code"] is not None:
        typer.echo(f"exit code {found['exit_code']}")
    for text in (found["output"] or "").splitlines():
        typer.echo(f"    {printable(text)}")
    if found["output_truncated"]:
        note("the output was truncated")
