"""`dashfleet dead-letters`: messages that the ingestor rejected."""

from typing import Annotated, Any

import typer

from cli.options import Data, Database, Json, OnlyMachine, OnlyOrg
from cli.output import note, show_json, show_rows, utc
from cli.settings import fleet_database, require_known
from runtime.errors import UserError
from runtime.terminal import printable

app = typer.Typer(help="List, show and clear rejected messages.", no_args_is_help=True)


@app.command("list")
def list_(
    data: Data = None,
    org: OnlyOrg = None,
    machine: OnlyMachine = None,
    limit: Annotated[int, typer.Option(help="Maximum number of messages, newest first.", min=1)] = 100,
    database: Database = None,
    as_json: Json = False,
) -> None:
    """List rejected messages: machine, topic, reason, time of arrival."""
    from schemas.database.queries.dead_letters import list_dead_letters

    with fleet_database(data, database, read_only=True) as engine:
        require_known(engine, org)
        found = list_dead_letters(engine, org_name=org, machine_name=machine, limit=limit)
    show_rows(found, ("id", "at", "org", "machine", "reason", "detail", "topic"), as_json=as_json, cells=_cells)


@app.command("show")
def show(
    number: Annotated[int, typer.Argument(metavar="ID", help="Id, as shown by `dashfleet dead-letters list`.")],
    data: Data = None,
    database: Database = None,
    as_json: Json = False,
) -> None:
    """Show one rejected message with the start of its payload."""
    from schemas.database.queries.dead_letters import find_dead_letter

    with fleet_database(data, database, read_only=True) as engine:
        found = find_dead_letter(engine, number)
    if found is None:
        raise UserError(f"there is no dead letter {number}: dashfleet dead-letters list shows them")
    if as_json:
        show_json(found)
        return
    for name, value in (*_cells(found).items(), ("size", f"{found['size_bytes']} bytes")):
        typer.echo(f"{name}: {value}")
    typer.echo(printable(found["payload_start"]))


@app.command("clear")
def clear(data: Data = None, org: OnlyOrg = None, machine: OnlyMachine = None, database: Database = None) -> None:
    """Delete rejected messages, of all senders or of some."""
    from schemas.database.queries.dead_letters import delete_dead_letters

    with fleet_database(data, database) as engine, engine.begin() as connection:
        require_known(engine, org)
        cleared = delete_dead_letters(connection, org_name=org, machine_name=machine)
    note(f"Deleted {cleared} dead letters.")


def _cells(letter: dict[str, Any]) -> dict[str, str]:
    texts = {name: printable(letter[name]) for name in ("org", "machine", "reason", "detail", "topic")}
    return {"id": str(letter["id"]), "at": utc(letter["at"]), **texts}
