"""`dashfleet token`: enrolment tokens."""

from typing import Annotated

import typer

from cli.options import CLOCK, Data, Database, Json, OnlyOrg, Org, to_seconds, user_name
from cli.output import note, show_rows
from cli.settings import data_directory, effective, fleet_database

app = typer.Typer(help="Create, list and revoke enrolment tokens.", no_args_is_help=True)


@app.command("create")
def create(
    data: Data = None,
    database: Database = None,
    org: Org = "home",
    uses: Annotated[int, typer.Option(help="Number of machines that may enrol.", min=1)] = 1,
    expires: Annotated[str, typer.Option(help="Lifetime, such as 15m, 1h or 7d.")] = "1h",
) -> None:
    """Create an enrolment token and print it. It is shown only once."""
    from ingestor.admin.tokens import new_token
    from runtime.settings.dashboard import DashboardSettings
    from runtime.state_directory import StateDirectory

    with fleet_database(data, database) as engine:
        token = new_token(engine, org, uses=uses, seconds=to_seconds(expires), created_by=user_name(), now=CLOCK.now)
    typer.echo(str(token))
    machines = "one machine" if uses == 1 else f"{uses} machines"
    note(f"The token enrols {machines} of {org} within {expires}. It is shown only once.")
    server = effective(DashboardSettings, data).machines_server or "mqtts://SERVER"
    authority = StateDirectory(data_directory(data)).authority
    trust = f" --ca-file {authority.name}" if authority is not None else ""
    note("On the machine, in a clone of DashFleet, run this command, which prompts for the token:")
    note(f"    pip install '.[agent]' && dashfleet agent enrol --server {server}{trust}")
    if authority is not None:
        note(f"Copy {authority} to the machine first: it is the CA certificate of this server.")


@app.command("list")
def list_(data: Data = None, database: Database = None, org: OnlyOrg = None, as_json: Json = False) -> None:
    """List enrolment tokens, without their secrets."""
    from ingestor.admin.tokens import list_tokens

    with fleet_database(data, database, read_only=True) as engine:
        found = list_tokens(engine, org)
    show_rows(found, ("token", "uses", "used", "expires", "created_by", "revoked"), as_json=as_json)


@app.command("revoke")
def revoke(
    name: Annotated[str, typer.Argument(metavar="TOKEN", help="Token, as shown by `dashfleet token list`.")],
    data: Data = None,
    database: Database = None,
) -> None:
    """Revoke an enrolment token. Machines enrolled with it stay enrolled."""
    from ingestor.admin.tokens import revoke_token

    with fleet_database(data, database) as engine:
        revoke_token(engine, name, now=CLOCK.now)
    typer.echo(f"Revoked {name}.")
