"""`dashfleet principal`: credentials of programs and machines."""

from typing import Annotated

import typer

from cli.options import CLOCK, Data, Database, Json, OnlyOrg, Org, to_seconds
from cli.output import note, show_rows
from cli.settings import fleet_database, require_known

app = typer.Typer(help="Manage the credentials of programs and machines.", no_args_is_help=True)

_OVERLAP = "valid for the overlap on the embedded broker; on Mosquitto, EMQX and NATS no longer valid"
Username = Annotated[str, typer.Argument(help="User name, as shown by `dashfleet principal list`, such as acme.attic.")]


@app.command("add")
def add(
    name: Annotated[str, typer.Argument(help="Name: lower-case letters, digits, hyphens.")],
    role: Annotated[str, typer.Option(help="Role: reader, operator, replay or machine.")],
    data: Data = None,
    database: Database = None,
    org: Org = "home",
) -> None:
    """Add a program, or a machine without enrolment, and print its secret. It is shown only once."""
    from broker.access.policy import Principal, Role
    from ingestor.admin.access import new_principal

    with fleet_database(data, database) as engine:
        secret = new_principal(engine, org, name, role, now=CLOCK.now)
    _show_secret(Principal(Role(role), org, name).username, secret)


@app.command("list")
def list_(data: Data = None, database: Database = None, org: OnlyOrg = None, as_json: Json = False) -> None:
    """List principals: user name, role, when created and revoked."""
    from ingestor.admin.access import list_principals

    with fleet_database(data, database, read_only=True) as engine:
        require_known(engine, org)
        found = list_principals(engine, org)
    show_rows(found, ("username", "role", "org", "created", "previous_until", "revoked"), as_json=as_json)
    if any(row["previous_until"] is not None for row in found):
        note(f"previous_until: {_OVERLAP}.")


@app.command("rotate")
def rotate(
    username: Username,
    data: Data = None,
    database: Database = None,
    overlap: Annotated[
        str, typer.Option(help="How long the previous secret remains valid; 0 revokes it at once.")
    ] = "1d",
) -> None:
    """Generate a new secret and print it. It is shown only once."""
    from ingestor.admin.access import rotate_principal

    with fleet_database(data, database) as engine:
        seconds = 0.0 if overlap == "0" else to_seconds(overlap)
        secret = rotate_principal(engine, username, overlap_seconds=seconds, now=CLOCK.now)
    _show_secret(username, secret)
    if seconds:
        note(f"The previous secret: {_OVERLAP}.")


@app.command("revoke")
def revoke(username: Username, data: Data = None, database: Database = None) -> None:
    """Revoke a credential. Sessions end within seconds; a machine is retired and its retained messages are cleared."""
    from ingestor.admin.access import revoke_principal

    with fleet_database(data, database) as engine:
        revoke_principal(engine, username, now=CLOCK.now)
    typer.echo(f"Revoked {username}. Its sessions end within seconds.")


def _show_secret(username: str, secret: str) -> None:
    typer.echo(secret)
    note(f"This is the secret of {username} (its user name and client id). It is shown only once.")
