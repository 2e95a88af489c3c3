"""`dashfleet facts`: the lists that a machine states: its containers, services, checks, disks."""

from typing import Annotated, Any

import typer

from cli.options import Data, Database, Json, OnlyOrg
from cli.output import note, show_json, show_rows, utc
from cli.settings import fleet_database
from runtime.errors import UserError
from runtime.terminal import printable

app = typer.Typer()


@app.command()
def facts(
    machine: Annotated[str, typer.Argument(metavar="MACHINE", help="Id of a machine.")],
    kind: Annotated[
        str | None,
        typer.Argument(metavar="[KIND]", help="Kind of facts, such as containers, services or checks: all by default."),
    ] = None,
    data: Data = None,
    org: OnlyOrg = None,
    database: Database = None,
    as_json: Json = False,
) -> None:
    """List what a machine states about its devices, containers, services and checks, the worst first."""
    from schemas.database.facts.fact_queries import knows_machine, list_facts

    with fleet_database(data, database, read_only=True) as engine:
        if not knows_machine(engine, machine, org):
            raise UserError(f"there is no machine {machine}: see dashfleet machines")
        found = list_facts(engine, machine, org_name=org, kind=kind)
        if kind is not None and not found:
            kinds = ", ".join(sorted({each["kind"] for each in list_facts(engine, machine, org_name=org)}))
            raise UserError(f"{machine} states no {kind}: it states {kinds or 'nothing'}")
    if as_json:
        show_json(found)
        return
    rows = [{**each, "item": key, **item} for each in found for key, item in each["items"].items()]
    columns = ("item", "kind", "health", "since", "fields")
    show_rows(rows, columns, cells=_cells, empty="No items." if found else "This machine states no facts.")
    for each in found:
        if each["truncated"]:
            note(f"{each['truncated']} more {each['kind']} were left out by the machine")


def _cells(row: dict[str, Any]) -> dict[str, str]:
    fields = ", ".join(f"{name} {_value(value)}" for name, value in row["fields"].items())
    texts = {"item": row["item"], "kind": row["kind"], "health": row["health"] or "", "fields": fields}
    return {**{name: printable(shown) for name, shown in texts.items()}, "since": utc(row["since"])}


def _value(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.0f}" if value.is_integer() else f"{round(value, 2)}"
    return "unknown" if value is None else str(value)
