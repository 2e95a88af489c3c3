"""`dashfleet org`, `token` and `principal`: who belongs to the fleet, and with which credential."""

import json
import time
from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from cli.options import Data, Database, Json, data_directory, fleet_database, show, somebody, table, to_seconds

org = typer.Typer(help="Add, list, configure and remove organisations.", no_args_is_help=True)
token = typer.Typer(help="Make, list and revoke the tokens that machines enrol with.", no_args_is_help=True)
principal = typer.Typer(help="Say which programs and machines may connect.", no_args_is_help=True)

OrgName = Annotated[str, typer.Argument(metavar="NAME", help="The organisation: lower-case letters, digits, hyphens.")]
Org = Annotated[str, typer.Option(help="The organisation.")]
OfOrg = Annotated[str | None, typer.Option("--org", help="Only this organisation's.", show_default="all")]
Username = Annotated[str, typer.Argument(help="As `dashfleet principal list` shows it, such as acme.attic.")]


@org.command("add")
def add_org(name: OrgName, data: Data = None, database: Database = None) -> None:
    """Make an organisation: machines and readers of its own, walled off from all others."""
    from ingestor.admin.access import new_org

    with fleet_database(data, database) as engine:
        new_org(engine, name, now=_now)


@org.command("list")
def list_orgs(data: Data = None, database: Database = None, as_json: Json = False) -> None:
    """List the organisations, and how much each has."""
    from ingestor.admin.access import list_orgs as listed

    with fleet_database(data, database, read_only=True) as engine:
        found = listed(engine)
    _show(found, ("org", "machines", "principals", "created"), as_json=as_json)


@org.command("configure")
def configure_org(
    name: OrgName,
    settings: Annotated[
        list[str] | None,
        typer.Argument(metavar="[SETTING=VALUE]...", help="What to change, such as time_to_live_seconds=2d."),
    ] = None,
    data: Data = None,
    database: Database = None,
    as_json: Json = False,
) -> None:
    """Change settings of an organisation: presence, health, retention. Without any, show them."""
    from ingestor.admin.access import configure_org as configure
    from ingestor.admin.access import org_settings
    from schemas.fleet.organisation import SETTINGS

    changes = dict(_setting(text) for text in settings or ())
    with fleet_database(data, database, read_only=not changes) as engine:
        if changes:
            typer.echo(configure(engine, name, changes) or "Nothing changed: it was so already.")
            return
        found = org_settings(engine, name)
    if as_json:
        typer.echo(json.dumps(found, indent=2))
        return
    rows = [(SETTINGS[setting], value) for setting, value in found.items()]
    lines = [{"setting": each.name, "value": each.shown(value), "meaning": each.title} for each, value in rows]
    show(table(lines, ("setting", "value", "meaning")))


@org.command("remove")
def remove_org(
    name: OrgName,
    data: Data = None,
    database: Database = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Remove an organisation with all it has: machines, samples, commands, keys. Its credentials are revoked."""
    from ingestor.admin.access import list_orgs as listed
    from ingestor.admin.access import remove_org as remove

    with fleet_database(data, database) as engine:
        machines = next((row["machines"] for row in listed(engine) if row["org"] == name), 0)
        if not yes:
            typer.confirm(f"Remove {name}, its {machines} machines and all that was stored of them?", abort=True)
        remove(engine, name, now=_now)


@token.command("create")
def create_token(
    data: Data = None,
    database: Database = None,
    org_name: Annotated[str, typer.Option("--org", help="The organisation whose machines it makes.")] = "home",
    uses: Annotated[int, typer.Option(help="How many machines it makes.", min=1)] = 1,
    expires: Annotated[str, typer.Option(help="For how long it is good, such as 15m, 1h or 7d.")] = "1h",
) -> None:
    """Make a token that machines enrol with, and print it, only this once."""
    from ingestor.admin.tokens import new_token
    from runtime.state_directory import StateDirectory

    with fleet_database(data, database) as engine:
        made = new_token(engine, org_name, uses=uses, seconds=to_seconds(expires), created_by=somebody(), now=_now)
    typer.echo(str(made))
    machines = "one machine" if uses == 1 else f"{uses} machines"
    typer.echo(f"That token makes {machines} of {org_name} within {expires}; it is shown only this once.", err=True)
    authority = StateDirectory(data_directory(data)).authority
    trust = f" --ca-file {authority.name}" if authority is not None else ""
    typer.echo("On the machine, in a clone of DashFleet; it asks for the token:", err=True)
    typer.echo(f"    pip install '.[agent]' && dashfleet agent enrol --server mqtts://SERVER{trust}", err=True)
    if authority is not None:
        typer.echo(f"Copy {authority} there first, so that it trusts this server.", err=True)


@token.command("list")
def list_tokens(data: Data = None, database: Database = None, org_name: OfOrg = None, as_json: Json = False) -> None:
    """List the tokens, without their secrets: what each may make and has made, and until when."""
    from ingestor.admin.tokens import list_tokens as listed

    with fleet_database(data, database, read_only=True) as engine:
        found = listed(engine, org_name)
    _show(found, ("token", "uses", "used", "expires", "created_by", "revoked"), as_json=as_json)


@token.command("revoke")
def revoke_token(
    name: Annotated[str, typer.Argument(metavar="TOKEN", help="As `dashfleet token list` shows it.")],
    data: Data = None,
    database: Database = None,
) -> None:
    """End a token before its time. The machines that it made stay."""
    from ingestor.admin.tokens import revoke_token as revoke

    with fleet_database(data, database) as engine:
        revoke(engine, name, now=_now)


@principal.command("add")
def add_principal(
    name: Annotated[str, typer.Argument(help="Its name: lower-case letters, digits, hyphens.")],
    role: Annotated[str, typer.Option(help="reader, operator or machine.")],
    data: Data = None,
    database: Database = None,
    org_name: Annotated[str, typer.Option("--org", help="The organisation.")] = "home",
) -> None:
    """Let a program connect to the topics, or a machine without enrolling. Prints the secret, only this once."""
    from broker.access.policy import Principal, Role
    from ingestor.admin.access import new_principal

    with fleet_database(data, database) as engine:
        secret = new_principal(engine, org_name, name, role, now=_now)
    _show_secret(Principal(Role(role), org_name, name).username, secret)


@principal.command("list")
def list_principals(
    data: Data = None, database: Database = None, org_name: OfOrg = None, as_json: Json = False
) -> None:
    """List who has a credential: user name, role, since when, and whether it is revoked."""
    from ingestor.admin.access import list_principals as listed

    with fleet_database(data, database, read_only=True) as engine:
        found = listed(engine, org_name)
    _show(found, ("username", "role", "org", "created", "previous_until", "revoked"), as_json=as_json)


@principal.command("rotate")
def rotate_principal(
    username: Username,
    data: Data = None,
    database: Database = None,
    overlap: Annotated[str, typer.Option(help="For how long the secret before stays good; 0 for not at all.")] = "1d",
) -> None:
    """Give somebody another secret and print it, only this once. The one before stays good for a while."""
    from ingestor.admin.access import rotate_principal as rotate

    with fleet_database(data, database) as engine:
        seconds = 0.0 if overlap == "0" else to_seconds(overlap)
        secret = rotate(engine, username, overlap_seconds=seconds, now=_now)
    _show_secret(username, secret)


@principal.command("revoke")
def revoke_principal(username: Username, data: Data = None, database: Database = None) -> None:
    """Let somebody connect no more. Sessions end within seconds; a machine is retired, and what it retained cleared."""
    from ingestor.admin.access import revoke_principal as revoke

    with fleet_database(data, database) as engine:
        revoke(engine, username, now=_now)


def _setting(text: str) -> tuple[str, float]:
    """The setting and the number that `SETTING=VALUE` says; a length of time as 90s or 2d. Raises UserError."""
    from runtime.errors import UserError
    from schemas.fleet.organisation import SETTINGS

    name, equals, value = text.partition("=")
    if not equals or name not in SETTINGS:
        raise UserError(f"{text!r} is no SETTING=VALUE: dashfleet org configure NAME lists the settings")
    if SETTINGS[name].kind == "duration":
        return name, to_seconds(value)
    try:
        return name, float(value)
    except ValueError:
        raise UserError(f"{name} is a number, not {value!r}") from None


def _show_secret(username: str, secret: str) -> None:
    typer.echo(secret)
    typer.echo(f"That is the secret of {username}, its user name and client id; it is shown only this once.", err=True)


def _show(found: list[dict[str, Any]], columns: tuple[str, ...], *, as_json: bool) -> None:
    """As JSON with times in milliseconds, or as a table with times that people read."""
    if as_json:
        show(found)
        return
    show(table([{name: _text(name, row[name]) for name in columns} for row in found], columns))


def _text(column: str, value: object) -> str:
    if value is None:
        return ""
    if column in _TIMES and isinstance(value, int):
        return datetime.fromtimestamp(value / 1000, UTC).strftime("%Y-%m-%d %H:%M Z")
    return str(value)


def _now() -> int:
    return time.time_ns() // 1_000_000


_TIMES = frozenset(("created", "expires", "revoked", "previous_until"))
