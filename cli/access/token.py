"""`dashfleet token`: enrolment tokens."""

from typing import Annotated

import typer

from cli.options import CLOCK, Data, Database, Json, OnlyOrg, Org, to_seconds, user_name
from cli.output import note, show_rows
from cli.settings import effective, fleet_database, require_known

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
    from dashboard.page.install_command import BrokerAddress
    from ingestor.admin.tokens import new_token
    from runtime.settings.dashboard import DashboardSettings

    with fleet_database(data, database) as engine:
        token = new_token(engine, org, uses=uses, seconds=to_seconds(expires), created_by=user_name(), now=CLOCK.now)
    typer.echo(str(token))
    machines = "one machine" if uses == 1 else f"{uses} machines"
    note(f"The token enrols {machines} of {org} within {expires}. It is shown only once.")
    broker = BrokerAddress.of(effective(DashboardSettings, data))
    note("On the machine, run this command, which asks for the token and installs the agent as a service:")
    note(f"    {broker.install_command}")
    note("On Windows, in PowerShell as an administrator:")
    note(f"    {broker.windows_command}")
    if not broker.is_dashboard_reachable:
        note(f"Replace {broker.dashboard} by the address of the dashboard, or set url_for_machines in [dashboard].")
    if not broker.is_known:
        note(f"Replace {broker.server} by the address of the broker, or set machines_server in [dashboard].")


@app.command("list")
def list_(data: Data = None, database: Database = None, org: OnlyOrg = None, as_json: Json = False) -> None:
    """List enrolment tokens, without their secrets."""
    from ingestor.admin.tokens import list_tokens

    with fleet_database(data, database, read_only=True) as engine:
        require_known(engine, org)
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
