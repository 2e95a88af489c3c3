"""`dashfleet api-token`: tokens of programs that use the HTTP API."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.access.user import accounts, require_known_org
from cli.options import CLOCK, Data, Json, OnlyOrg, Org, to_seconds, user_name
from cli.output import note, show_rows

if TYPE_CHECKING:
    from sqlalchemy import Row

    from dashboard.api.tokens import ApiTokens

app = typer.Typer(help="Create, list and revoke tokens for the HTTP API.", no_args_is_help=True)

TokenName = Annotated[str, typer.Argument(metavar="NAME", help="Name of the program.")]


@app.command("create")
def create(
    name: TokenName,
    data: Data = None,
    org: Org = "home",
    role: Annotated[str, typer.Option(help="Role: viewer, operator or admin.")] = "viewer",
    expires: Annotated[str, typer.Option(help="Lifetime, such as 12h, 30d or 365d.")] = "365d",
) -> None:
    """Create a token for a program and print it. It is shown only once."""
    from dashboard.auth.passwords import AccountError
    from dashboard.auth.users import UserRole

    if role not in list(UserRole):
        raise AccountError(f"there is no role {role}: it is one of {', '.join(UserRole)}")
    seconds = to_seconds(expires)
    require_known_org(data, org)
    with _tokens(data) as tokens:
        token = tokens.create(org, name, UserRole(role), seconds=seconds, by=user_name())
    typer.echo(token)
    note(f"The token lets {name} read {org} over HTTP for {expires}. It is shown only once.")


@app.command("list")
def list_(data: Data = None, org: OnlyOrg = None, as_json: Json = False) -> None:
    """List tokens, without their secrets."""
    require_known_org(data, org)
    with _tokens(data) as tokens:
        found = [_row(row) for row in tokens.listed(org)]
    show_rows(found, ("org", "name", "role", "created", "created_by", "expires", "last_use"), as_json=as_json)


@app.command("revoke")
def revoke(name: TokenName, data: Data = None, org: Org = "home") -> None:
    """Revoke a token. Its program is rejected from the next request on."""
    with _tokens(data) as tokens:
        tokens.revoke(org, name, by=user_name())
    typer.echo(f"Revoked {name}.")


def _row(row: "Row[Any]") -> dict[str, Any]:
    times = {"created": row.created_at, "expires": row.expires_at, "last_use": row.used_at}
    return {"org": row.org, "name": row.name, "role": row.role, "created_by": row.created_by, **times}


@contextmanager
def _tokens(data: Path | None) -> "Iterator[ApiTokens]":
    from dashboard.api.tokens import ApiTokens

    with accounts(data) as engine:
        yield ApiTokens(engine, CLOCK)
