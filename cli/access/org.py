"""`dashfleet org`: organisations and their settings."""

from typing import Annotated

import typer

from cli.notify.people import forget_org
from cli.options import CLOCK, Data, Database, Json, to_seconds
from cli.output import show_json, show_rows
from cli.settings import effective, fleet_database, require_org
from runtime.errors import UserError

app = typer.Typer(help="Add, list, configure and remove organisations.", no_args_is_help=True)

OrgName = Annotated[str, typer.Argument(metavar="NAME", help="Organisation: lower-case letters, digits, hyphens.")]


@app.command("add")
def add(name: OrgName, data: Data = None, database: Database = None) -> None:
    """Add an organisation. Its machines and users are isolated from those of other organisations."""
    from ingestor.admin.access import new_org

    with fleet_database(data, database) as engine:
        new_org(engine, name, now=CLOCK.now)
    typer.echo(f"Added {name}. Before actions run on its machines: dashfleet key create --org {name}")


@app.command("list")
def list_(data: Data = None, database: Database = None, as_json: Json = False) -> None:
    """List organisations with their number of machines and principals."""
    from ingestor.admin.access import list_orgs

    with fleet_database(data, database, read_only=True) as engine:
        found = list_orgs(engine)
    show_rows(found, ("org", "machines", "principals", "created"), as_json=as_json)


@app.command("configure")
def configure(
    name: OrgName,
    settings: Annotated[
        list[str] | None,
        typer.Argument(metavar="[SETTING=VALUE]...", help="Settings to change, such as time_to_live_seconds=2d."),
    ] = None,
    data: Data = None,
    database: Database = None,
    as_json: Json = False,
) -> None:
    """Change settings of an organisation: presence, health, retention. Without arguments, list them."""
    from ingestor.admin.access import configure_org, org_settings
    from schemas.fleet.organisation import SETTINGS

    changes = dict(_setting(text) for text in settings or ())
    with fleet_database(data, database, read_only=not changes) as engine:
        if changes:
            typer.echo(configure_org(engine, name, changes) or "Nothing changed: the settings have these values.")
            return
        found = org_settings(engine, name)
    if as_json:
        show_json(found)
        return
    rows = [
        {"setting": name, "value": SETTINGS[name].shown(value), "meaning": SETTINGS[name].title}
        for name, value in found.items()
    ]
    show_rows(rows, ("setting", "value", "meaning"))


@app.command("remove")
def remove(
    name: OrgName,
    data: Data = None,
    database: Database = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask for confirmation.")] = False,
) -> None:
    """Remove an organisation and revoke its credentials. Deletes its machines, samples, keys and destinations."""
    from ingestor.admin.access import list_orgs, remove_org
    from ingestor.files.server_files import server_files
    from runtime.settings.ingestor import IngestorSettings

    with fleet_database(data, database) as engine:
        require_org(engine, name)
        machines = next((row["machines"] for row in list_orgs(engine) if row["org"] == name), 0)
        if not yes:
            typer.confirm(f"Remove {name}, its {machines} machines and all their data?", abort=True)
        forget_org(data, name)
        remove_org(engine, name, now=CLOCK.now)
        server_files(effective(IngestorSettings, data)).remove_org(name)
    typer.echo(f"Removed {name}.")


def _setting(text: str) -> tuple[str, float]:
    """Parse SETTING=VALUE; durations in seconds. Raises UserError."""
    from schemas.fleet.organisation import SETTINGS

    name, equals, value = text.partition("=")
    if not equals or name not in SETTINGS:
        raise UserError(f"{text!r} is not a valid SETTING=VALUE: dashfleet org configure NAME lists the settings")
    if SETTINGS[name].kind == "duration":
        return name, to_seconds(value)
    try:
        return name, float(value)
    except ValueError:
        raise UserError(f"{name} must be a number, not {value!r}") from None
