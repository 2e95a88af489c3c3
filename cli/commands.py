"""`dashfleet commands`: see what became of what was asked, and take some back."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.act.progress import Progress
from cli.act.publishing import Org, client_of, note, person, publish
from cli.options import Data, Database, Json, Server, effective, fleet_database, show, table, utc
from runtime.errors import UserError

if TYPE_CHECKING:
    pass

app = typer.Typer(help="List commands, see what became of one, take some back.", invoke_without_command=True)


@app.callback()
def list_commands(
    context: typer.Context,
    data: Data = None,
    org: Org = None,
    machine: Annotated[str | None, typer.Option(help="Only those of this machine.")] = None,
    state: Annotated[str | None, typer.Option(help="Only those in this state.")] = None,
    limit: Annotated[int, typer.Option(help="So many, the newest first.", min=1)] = 50,
    database: Database = None,
    as_json: Json = False,
) -> None:
    """List commands: who asked what of which machine, and what became of it."""
    if context.invoked_subcommand is not None:
        return
    from schemas.database.queries.commands import list_commands as listed

    with fleet_database(data, database, read_only=True) as engine:
        found = listed(engine, org_name=org, machine_name=machine, state=state, limit=limit)
    columns = ("id", "created", "machine", "action", "by", "state", "detail")
    show(found if as_json else table([_row(command) for command in found], columns))


@app.command("show")
def show_command(
    id_: Annotated[str, typer.Argument(metavar="ID", help="The command's id.")],
    data: Data = None,
    database: Database = None,
    as_json: Json = False,
) -> None:
    """Show one command with what it printed and each change of its state."""
    from schemas.database.queries.commands import show_command as shown

    with fleet_database(data, database, read_only=True) as engine:
        found = shown(engine, id_)
    if found is None:
        raise UserError(f"there is no command {id_}: dashfleet commands lists them")
    if as_json:
        import json

        typer.echo(json.dumps(found, indent=2))
    else:
        _tell(found)


@app.command("cancel")
def cancel(
    ids: Annotated[list[str], typer.Argument(metavar="ID…", help="The commands' ids.")],
    data: Data = None,
    org: Org = None,
    server: Server = None,
    database: Database = None,
) -> None:
    """Take commands back, those that were not sent to their machines yet."""
    from broker.client import request_client
    from runtime.settings.client import ActSettings
    from schemas.database.queries.commands import command_states

    settings: ActSettings = effective(ActSettings, data, None, False, server=server, org=org)
    with fleet_database(data, database, read_only=True) as engine:
        unknown = [id_ for id_ in ids if id_ not in command_states(engine, ids)]
        if unknown:
            raise UserError(f"there is no command {', '.join(unknown)}: dashfleet commands lists them")
        with client_of(settings) as client:
            publish(settings, client, request_client.cancel(ids, actor=person()), Progress({}))
        after = command_states(engine, ids)
    for id_ in ids:
        typer.echo(f"{id_}  {after[id_]['state']}")
    raise typer.Exit(0 if all(found["state"] == "cancelled" for found in after.values()) else 1)


def _row(command: dict[str, Any]) -> dict[str, str]:
    from broker.client.topic_tail import printable

    plain = {name: printable(str(command[name])) for name in ("id", "machine", "action", "state")}
    why = printable(command["detail"] or command["reason"])
    return {
        **plain,
        "created": utc(command["created_at"]),
        "by": printable(command["actor"] or command["principal"]),
        "detail": why,
    }


def _tell(found: dict[str, Any]) -> None:
    """One command for a person."""
    import json
    from datetime import UTC, datetime

    from broker.client.topic_tail import printable

    row = _row(found)
    typer.echo(f"{row['action']} on {found['org']}/{row['machine']}: {row['state']}")
    typer.echo(f"asked by {row['by']} at {row['created']} UTC, arguments {json.dumps(found['arguments'])}")
    for change in found["history"]:
        at = datetime.fromtimestamp(change["at"] / 1000, UTC).strftime("%H:%M:%S.%f")[:-3]
        why = change["detail"] or change["reason"]
        typer.echo(printable(f"  {at}  {change['after']:<10} by {change['by']}" + (f": {why}" if why else "")))
    if found["exit_code"] is not None:
        typer.echo(f"exit code {found['exit_code']}")
    for text in (found["output"] or "").splitlines():
        typer.echo(f"    {printable(text)}")
    if found["output_truncated"]:
        note("the output was longer and has been cut")
